"""What changed from one request to the next: system, tools, parameters, headers, messages; and how
much of the former could be read from a cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..record.conversation import Conversation, Tool, Turn, conversation_of
from .prefix import Prefix, common_prefix

# Headers that say nothing about the request itself, or differ each time.
_PASSING = frozenset({"content-length", "host", "traceparent", "tracestate", "x-request-id"})


@dataclass(slots=True, frozen=True)
class Change:
    """One thing by name: `before` None where it was added, `after` None where it was removed."""

    name: str
    before: str | None
    after: str | None


@dataclass(slots=True, frozen=True)
class Difference:
    """`before` and `after` are the traces' ids. `kept`: messages that both begin with; those after
    them were `removed` and `added`. `answered`: the former's answer is the first message added."""

    before: str
    after: str
    prefix: Prefix
    parameters: tuple[Change, ...]
    headers: tuple[Change, ...]
    tools: tuple[Change, ...]
    system: Change | None
    kept: int
    removed: tuple[Turn, ...]
    added: tuple[Turn, ...]
    answered: bool

    def as_json(self) -> dict[str, Any]:
        """For other programs."""
        return asdict(self)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """Of two traces."""
    old, new = conversation_of(before), conversation_of(after)
    kept = 0
    for was, now in zip(old.turns, new.turns, strict=False):
        if was != now:
            break
        kept += 1
    added = new.turns[kept:]
    return Difference(
        before["id"],
        after["id"],
        common_prefix(before, after),
        tuple(_named(old.parameters, new.parameters)),
        tuple(_named(_headers(before), _headers(after))),
        tuple(_named(_tools(old), _tools(new))),
        _system(old, new),
        kept,
        old.turns[kept:],
        added,
        _is_answer(added, old),
    )


def _named(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name, value in before.items():
        if after.get(name) != value:
            yield Change(name, value, after.get(name))
    for name, value in after.items():
        if name not in before:
            yield Change(name, None, value)


def _headers(document: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in document["request"]["headers"]:
        lower = name.lower()
        if lower not in _PASSING:
            found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found


def _tools(said: Conversation) -> dict[str, str]:
    """By name; of two of one name the later counts on."""
    found: dict[str, str] = {}
    for tool in said.tools:
        name, number = tool.name, 2
        while name in found:
            name, number = f"{tool.name} ({number})", number + 1
        found[name] = _tool_text(tool)
    return found


def _tool_text(tool: Tool) -> str:
    return f"{tool.description}\n{tool.schema}" if tool.description else tool.schema


def _system(old: Conversation, new: Conversation) -> Change | None:
    was, now = ("\n\n".join(part.text for part in each.system) for each in (old, new))
    return None if was == now else Change("system", was or None, now or None)


def _is_answer(added: tuple[Turn, ...], old: Conversation) -> bool:
    """Do the calls and texts of the former's answer come first among what was added? Thinking is
    often left out, and an item a turn is how some forms have it."""
    answer = [
        part
        for turn in old.answer[:1]
        for part in turn.parts
        if part.kind in {"text", "tool_call", "refusal"}
    ]
    parts = [
        part
        for turn in added
        if turn.role == "assistant"
        for part in turn.parts
        if part.kind in {"text", "tool_call", "refusal"}
    ]
    return bool(answer) and parts[: len(answer)] == answer
