"""What was said, part by part, as texts to search in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .parts import Conversation, Turn


class Texts(NamedTuple):
    """Parts are apart by a line's end. `messages`: the request's, whoever's; `answer`: what this
    request was answered, without thinking and calls, which stand with the request's own."""

    system: str
    messages: str
    tool_calls: str
    tool_results: str
    thinking: str
    answer: str


def texts_of(conversation: Conversation) -> Texts:
    """The texts of a conversation, each "" where there is none."""
    messages: list[str] = []
    calls: list[str] = []
    results: list[str] = []
    thinking: list[str] = []
    answer: list[str] = []
    for turns, said in ((conversation.turns, messages), (conversation.answer, answer)):
        for turn in turns:
            for part in turn.parts:
                if part.kind == "tool_call":
                    calls.append(f"{part.name or ''} {part.text}")
                elif not part.text:
                    continue
                elif part.kind == "tool_result":
                    results.append(part.text)
                elif part.kind == "thinking":
                    thinking.append(part.text)
                else:
                    said.append(part.text)
    system = [part.text for part in conversation.system if part.text]
    return Texts(*map("\n".join, (system, messages, calls, results, thinking, answer)))


def tools_called(answer: Iterable[Turn]) -> tuple[str, ...]:
    """The tools that an answer calls, each once, in order."""
    calls = [part.name for turn in answer for part in turn.parts if part.kind == "tool_call"]
    return tuple(dict.fromkeys(filter(None, calls)))
