"""The conversation in a trace, whatever the provider calls its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PartKind = Literal["text", "thinking", "tool_call", "tool_result", "image", "refusal", "other"]


@dataclass(slots=True, frozen=True)
class Part:
    """One piece of a turn.

    `text`: what it says; of a tool call its arguments and of a tool result its content as text
    (JSON where it is no text). `name` and `id` are a tool's and a call's.
    """

    kind: PartKind
    text: str
    name: str | None = None
    id: str | None = None


@dataclass(slots=True, frozen=True)
class Turn:
    """One message. `role`: system, user, assistant or tool."""

    role: str
    parts: tuple[Part, ...]


@dataclass(slots=True, frozen=True)
class Tool:
    """A tool the request offers. `schema`: its parameters as compact JSON."""

    name: str
    description: str
    schema: str


@dataclass(slots=True, frozen=True)
class Conversation:
    """A request's input and what was answered. `parameters`: all others of the request's fields, as
    compact JSON texts by name (temperature, max_tokens, tool_choice, …)."""

    system: tuple[Part, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    answer: tuple[Turn, ...] = ()  # one a choice
    parameters: dict[str, str] = field(default_factory=dict)
