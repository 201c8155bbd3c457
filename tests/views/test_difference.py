"""What changed from one request to the next."""

from __future__ import annotations

from typing import Any

from src.views.comparison import comparison
from src.views.difference import Change, Difference, difference
from tests.record.kit import body, example


def trace(asked: dict[str, Any], answered: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    found = example()
    found["request"]["body"] = body(asked)
    found["response"]["message"] = {
        "type": "message",
        "role": "assistant",
        "content": answered or [{"type": "text", "text": "done"}],
    }
    return found


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def diff(before: dict[str, Any], after: dict[str, Any]) -> Difference:
    return difference(trace(before), trace(after))


def shown(before: dict[str, Any], after: dict[str, Any], **options: bool) -> list[str]:
    found = difference(before, after)
    return [line.text for line in comparison(found, before, after, **options)]


def test_the_next_turn_adds_the_answer_and_a_message() -> None:
    found = diff({"messages": [user("a")]}, {"messages": [user("a"), said("done"), user("b")]})
    assert (found.kept, len(found.removed), len(found.added)) == (1, 0, 2)
    assert found.answered
    assert (found.parameters, found.tools, found.headers, found.system) == ((), (), (), None)


def test_an_answer_that_was_rewritten_is_not_the_answer() -> None:
    found = diff({"messages": [user("a")]}, {"messages": [user("a"), said("other"), user("b")]})
    assert not found.answered


def test_a_history_that_was_edited() -> None:
    found = diff(
        {"messages": [user("a"), said("b"), user("c")]}, {"messages": [user("a"), user("d")]}
    )
    assert (found.kept, len(found.removed), len(found.added)) == (1, 2, 1)


def test_parameters_added_removed_and_changed() -> None:
    found = diff(
        {"messages": [], "max_tokens": 10, "top_p": 1}, {"messages": [], "max_tokens": 20, "x": "1"}
    )
    assert found.parameters == (
        Change("max_tokens", "10", "20"),
        Change("top_p", "1", None),
        Change("x", None, '"1"'),
    )


def test_tools_added_removed_and_changed() -> None:
    def tool(name: str, text: str = "") -> dict[str, Any]:
        return {"name": name, "description": text, "input_schema": {}}

    found = diff(
        {"messages": [], "tools": [tool("a"), tool("b", "old")]},
        {"messages": [], "tools": [tool("b", "new"), tool("c")]},
    )
    assert found.tools == (
        Change("a", "{}", None),
        Change("b", "old\n{}", "new\n{}"),
        Change("c", None, "{}"),
    )


def test_headers_but_for_those_that_always_differ() -> None:
    before, after = trace({"messages": []}), trace({"messages": []})
    after["request"]["headers"] = [
        ["Content-Length", "9"],
        ["X-New", "1"],
        *(pair for pair in before["request"]["headers"] if pair[0] != "Content-Length"),
    ]
    assert difference(before, after).headers == (Change("x-new", None, "1"),)


def test_view_says_where_the_cache_is_missed_and_what_was_reworded() -> None:
    before = trace({"system": "Be brief.\nToday is Monday.", "messages": [user("a")]})
    after = trace({"system": "Be brief.\nToday is Tuesday.", "messages": [user("a")]})
    text = "\n".join(shown(before, after))
    assert "then system after" in text
    assert "tokens 1,812 in (1,800 from the cache)" in text
    assert "~ Today is [-Monday-]{+Tuesday+}." in text
    assert "── 1 message the same" in text


def test_view_of_the_next_turn() -> None:
    before = trace({"messages": [user("a")]})
    after = trace({"messages": [user("a"), said("done"), user("b\nc")]})
    lines = shown(before, after)
    assert any(line.startswith("the whole former request") for line in lines)
    assert "── 1 message the same, 2 added, the former answer first" in lines
    assert "+   b" in lines
    assert "+   c" in lines


def test_requests_that_are_no_conversations() -> None:
    before, after = example(), example()
    before["request"]["body"] = body(None, "empty")
    after["request"]["body"] = body("some text", "text")
    found = difference(before, after)
    assert (found.kept, len(found.added)) == (0, 1)


def test_as_json_has_all_of_it() -> None:
    found = diff({"messages": [user("a")]}, {"messages": [user("b")]}).as_json()
    assert found["prefix"]["ends_at"] == "messages[0].content[0] (user) after 23 characters"
    assert found["added"][0]["parts"][0]["text"] == "b"
