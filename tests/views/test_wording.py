"""Texts compared by lines and words."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from src.views.wording import changes


def lines(before: str, after: str) -> list[str]:
    return [line.text for line in changes(before, after)]


def test_nothing_where_nothing_changed() -> None:
    assert lines("a\nb", "a\nb") == []


def test_a_reworded_line_between_its_neighbours() -> None:
    before = "1\n2\n3\nToday is 2026-11-20, be brief.\n4\n5\n6"
    assert lines(before, before.replace("11-20", "11-21")) == [
        "  2",
        "  3",
        "~ Today is 2026-11-[-20-]{+21+}, be brief.",
        "  4",
        "  5",
    ]


def test_lines_added_and_removed() -> None:
    assert lines("a\nb\nc", "a\nc") == ["  a", "- b", "  c"]
    assert lines("a\nc", "a\nb\nc") == ["  a", "+ b", "  c"]


def test_a_line_that_is_another_is_not_mended_word_by_word() -> None:
    assert lines("one two three", "quite another thing") == [
        "- one two three",
        "+ quite another thing",
    ]


def test_unchanged_lines_between_are_counted() -> None:
    middle = "\n".join(f"m{n}" for n in range(10))
    found = lines(f"a b c d\n{middle}\nx y z w", f"a b c e\n{middle}\nx y z v")
    assert "  … 6 lines unchanged" in found


def test_two_large_texts_that_have_nothing_in_common_take_no_time() -> None:
    began = time.perf_counter()
    found = lines("\n".join(f"a{n}" for n in range(50_000)), "\n".join("b" * 50_000))
    assert time.perf_counter() - began < 0.5
    assert found == ["- 50,000 lines", "+ 50,000 lines"]


def test_escapes_do_nothing() -> None:
    assert lines("a", "\x1b[2Jb") == ["- a", "+ \\x1b[2Jb"]


WORDS = st.lists(st.sampled_from(["a", "b", "c d", ""]), max_size=8).map("\n".join)


@given(WORDS, WORDS)
def test_something_is_said_where_and_only_where_something_changed(before: str, after: str) -> None:
    marked = [line for line in lines(before, after) if line[:1] in "-+~"]
    assert bool(marked) == (before != after)
