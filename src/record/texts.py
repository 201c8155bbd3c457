"""What was said, part by part, as texts to search in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .parts import Conversation, Part, PartKind

_SAID: tuple[PartKind, ...] = ("text", "refusal", "image", "other")


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
    asked = [part for turn in conversation.turns for part in turn.parts]
    answered = [part for turn in conversation.answer for part in turn.parts]
    both = asked + answered
    return Texts(
        system=_joined(conversation.system),
        messages=_joined(part for part in asked if part.kind in _SAID),
        tool_calls="\n".join(f"{p.name or ''} {p.text}" for p in both if p.kind == "tool_call"),
        tool_results=_joined(part for part in both if part.kind == "tool_result"),
        thinking=_joined(part for part in both if part.kind == "thinking"),
        answer=_joined(part for part in answered if part.kind in _SAID),
    )


def tools_called(conversation: Conversation) -> tuple[str, ...]:
    """The tools that the answer calls, each once, in order."""
    parts = [part for turn in conversation.answer for part in turn.parts]
    return tuple(dict.fromkeys(p.name for p in parts if p.kind == "tool_call" and p.name))


def _joined(parts: Iterable[Part]) -> str:
    return "\n".join(part.text for part in parts if part.text)
