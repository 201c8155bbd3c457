"""What is searched in, and the tools that are called."""

from __future__ import annotations

from src.record.texts import Texts, texts_of, tools_called
from tests.record.kit import read


def call(name: str, number: int) -> dict[str, object]:
    return {"type": "tool_use", "id": f"t{number}", "name": name, "input": {"n": number}}


ASKED = {
    "system": "rules",
    "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, call("A", 1)]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "r"}]},
    ],
}
ANSWER = {
    "type": "message",
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "so"},
        {"type": "text", "text": "done"},
        call("B", 2),
        call("C", 3),
        call("B", 4),
    ],
}


def test_each_part_stands_with_its_kind() -> None:
    assert texts_of(read("messages", ASKED, ANSWER)) == Texts(
        system="rules",
        messages="go",
        tool_calls='A {"n":1}\nB {"n":2}\nC {"n":3}\nB {"n":4}',
        tool_results="r",
        thinking="hm\nso",
        answer="done",
    )


def test_tools_the_answer_calls_each_once_in_order() -> None:
    assert tools_called(read("messages", ASKED, ANSWER).answer) == ("B", "C")
