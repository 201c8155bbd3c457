"""What a conversation is made of, whatever the provider calls it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PartKind = Literal["text", "thinking", "tool_call", "tool_result", "image", "refusal", "other"]


@dataclass(slots=True, frozen=True)
class Part:
    """One piece of a turn.

    `text`: what it says; of a tool call its arguments and of a tool result its content as text
    (JSON where it is no text); of an image what kind it is and how large, or where it lies. `name`
    and `id` are a tool's and a call's; of `other` the name is the provider's type.
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
    """A tool the request offers. `schema`: its parameters as compact JSON; of a tool that runs at
    the provider all its settings."""

    name: str
    description: str
    schema: str


@dataclass(slots=True, frozen=True)
class Conversation:
    """A request's input and what was answered. `parameters`: all others of the request's fields, as
    compact JSON texts by name (model, temperature, max_tokens, tool_choice, …); those that a
    provider nests by their path (generationConfig.temperature)."""

    system: tuple[Part, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    answer: tuple[Turn, ...] = ()  # one a choice
    parameters: dict[str, str] = field(default_factory=dict)
