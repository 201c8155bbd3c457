"""Where the common beginning of two requests ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.views.prefix import Prefix, _same, common_prefix
from tests.record.kit import document


def prefix(before: dict[str, Any], after: dict[str, Any]) -> Prefix:
    return common_prefix(document("messages", before), document("messages", after))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


ASKED = {"system": "rules", "tools": [{"name": "a"}, {"name": "b"}], "messages": [user("one")]}


def test_a_continued_conversation_begins_with_the_whole_former() -> None:
    found = prefix(ASKED, ASKED | {"messages": [user("one"), user("two")]})
    assert found.ends_at is None
    assert found.chars == found.before_chars < found.after_chars


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"tools": [{"name": "a"}, {"name": "c"}]}, "tools[1] after 9 characters"),
        ({"tools": [{"name": "a"}]}, "tools[1]"),
        ({"system": "rulez"}, "system after 4 characters"),
        ({"system": [{"type": "text", "text": "rules"}]}, "system"),
        ({"messages": [user("one more")]}, "messages[0].content[0] (user) after 26 characters"),
        ({"messages": []}, "messages[0].content[0] (user)"),
    ],
)
def test_the_place_of_the_first_change_in_the_order_of_caching(
    changed: dict[str, Any], place: str
) -> None:
    assert prefix(ASKED, ASKED | changed).ends_at == place


def test_marks_for_the_cache_and_texts_as_blocks_are_no_change() -> None:
    block = {"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}
    marked = ASKED | {"messages": [{"role": "user", "content": [block]}]}
    assert prefix(ASKED, marked).ends_at is None


def test_what_stands_there_is_shown_with_its_surroundings() -> None:
    long = "x" * 500
    found = prefix({"system": long + "old" + long}, {"system": long + "new" + long})
    assert "old" in found.was
    assert "new" in found.now
    assert len(found.was) < 120


def test_calls_beside_a_text_count() -> None:
    call = {"role": "assistant", "content": "x", "tool_calls": [{"id": "1"}]}
    other = call | {"tool_calls": [{"id": "2"}]}
    assert prefix({"messages": [call]}, {"messages": [other]}).ends_at is not None


@given(st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_halving_finds_what_counting_does(one: str, other: str) -> None:
    pairs = zip(one, other, strict=False)
    slow = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    assert _same(one, other) == slow
