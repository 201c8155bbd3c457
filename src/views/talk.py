"""A trace as a conversation for people: system, messages, calls with their results, the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..record.conversation import Conversation, Part, Turn, conversation_of
from ..record.reading import dump, loads
from ..utils.inert import inert_line
from . import facts
from .lines import Fold, Line, Style, counted, folded

_LONG = Fold(40, 4000)  # of the answer and what the user says last
_SHORT = Fold(6, 600)
_FIRST, _LAST = 1, 8  # of many messages these are shown
_STYLES = {"user": Style.USER, "assistant": Style.ASSISTANT, "tool": Style.TOOL}


def talk(document: Mapping[str, Any], *, full: bool = False) -> Iterator[Line]:
    """The whole view. `full`: nothing is folded."""
    said = conversation_of(document)
    names = call_names(said)
    yield from facts.head(document)
    yield from _offer(said, full=full)
    if said.system:
        yield from _part_lines("system", said.system, names, None if full else _SHORT)
    yield from _turns(said.turns, names, full=full)
    if not said.turns and document["request"]["body"]["kind"] == "omitted":
        yield from _not_kept("request", document["request"]["body"])
    for number, turn in enumerate(said.answer, 1):
        title = "answer" if len(said.answer) == 1 else f"answer {number}"
        yield from _part_lines(title, turn.parts, names, None if full else _LONG)
    yield from _unanswered(document, said)
    yield Line("")
    yield from facts.end(document)


def call_names(said: Conversation) -> dict[str, str]:
    """The tool of each call, by its id: results name only that."""
    turns = (*said.turns, *said.answer)
    return {
        part.id: part.name
        for turn in turns
        for part in turn.parts
        if part.kind == "tool_call" and part.id and part.name
    }


def turn_lines(turn: Turn, names: Mapping[str, str], fold: Fold | None) -> Iterator[Line]:
    """One message under its role."""
    yield from _part_lines(turn.role, turn.parts, names, fold)


def _offer(said: Conversation, *, full: bool) -> Iterator[Line]:
    """The parameters, and the tools by name; in full with what they say of themselves."""
    short = {k: v for k, v in said.parameters.items() if full or len(v) <= 100}
    if short:
        yield Line(inert_line(" ".join(f"{name}={value}" for name, value in short.items())))
    if not said.tools:
        return
    names = ", ".join(tool.name for tool in said.tools)
    yield Line(inert_line(f"{counted(len(said.tools), 'tool')}: {names}"), Style.DIM)
    for tool in said.tools if full else ():
        yield Line(inert_line(f"  {tool.name} {tool.schema}"), Style.DIM)
        yield from folded(tool.description, None, Style.DIM, "    ")


def _turns(turns: Sequence[Turn], names: Mapping[str, str], *, full: bool) -> Iterator[Line]:
    hidden = range(_FIRST, len(turns) - _LAST) if not full else range(0)
    for number, turn in enumerate(turns):
        if number in hidden:
            if number == hidden.start:
                yield Line("")
                yield Line(_left_out([turns[at] for at in hidden]), Style.DIM)
            continue
        last = number == len(turns) - 1
        yield from turn_lines(turn, names, None if full else _LONG if last else _SHORT)


def _left_out(turns: Sequence[Turn]) -> str:
    parts = [part for turn in turns for part in turn.parts]
    calls = sum(part.kind == "tool_call" for part in parts)
    size = sum(len(part.text) for part in parts)
    return (
        f"… {counted(len(turns), 'message')} with {counted(calls, 'tool call')},"
        f" {size:,} characters (--full shows them)"
    )


def _part_lines(
    title: str, parts: Sequence[Part], names: Mapping[str, str], fold: Fold | None
) -> Iterator[Line]:
    yield Line("")
    yield Line(inert_line(f"── {title}"), _STYLES.get(title, Style.TITLE))
    for part in parts:
        yield from _one(part, names, fold)


def _one(part: Part, names: Mapping[str, str], fold: Fold | None) -> Iterator[Line]:
    if part.kind == "text":
        yield from folded(part.text, fold, Style.PLAIN)
        return
    label = inert_line(_label(part, names))
    yield Line(f"  {label}", Style.TOOL if part.kind.startswith("tool") else Style.DIM)
    if part.kind == "image":
        return
    text = _arguments(part.text) if part.kind == "tool_call" else part.text
    style = Style.DIM if part.kind == "thinking" else Style.PLAIN
    yield from folded(text, fold, style, "    ")


def _label(part: Part, names: Mapping[str, str]) -> str:
    name = part.name or names.get(part.id or "") or ""
    if part.kind == "tool_call":
        return " ".join(word for word in ("→", name, part.id) if word)
    if part.kind == "tool_result":
        return " ".join(word for word in ("←", name, part.id) if word)
    if part.kind == "image":
        return f"[image: {part.text[:200]}]"
    return f"[{part.name or part.kind}]"


def _arguments(text: str) -> str:
    """One argument a line, texts as they are: a program in a call is read, not deciphered."""
    value = loads(text)
    if not isinstance(value, dict):
        return text
    return "\n".join(f"{name}: {_argument(each)}" for name, each in value.items())


def _argument(value: object) -> str:
    if isinstance(value, str):
        return value if "\n" not in value else "\n" + value
    return dump(value)


def _not_kept(title: str, body: Mapping[str, Any]) -> Iterator[Line]:
    """What is in no trace, and why."""
    yield Line("")
    reason = (body["truncated"] or {}).get("reason") or "left out of the trace"
    text = f"── {title}: {body['wire_bytes']:,} bytes, not kept: {reason}"
    yield Line(inert_line(text), Style.TITLE)


def _unanswered(document: Mapping[str, Any], said: Conversation) -> Iterator[Line]:
    """Where no answer can be shown: what there is instead."""
    response = document["response"]
    if said.answer or response is None:
        return
    body = response["body"]
    if body["kind"] == "omitted":
        yield from _not_kept("answer", body)
    elif document["stream"] is not None:
        events = counted(len(document["stream"]["events"]), "event")
        yield Line("")
        yield Line(f"── answer: {events} that make no message (--events shows them)", Style.TITLE)
    elif body["wire_bytes"]:
        kind = body["content_type"] or "unknown type"
        yield Line("")
        size = f"{body['wire_bytes']:,} bytes"
        yield Line(
            inert_line(f"── answer: {kind}, {size} (--raw response shows them)"), Style.TITLE
        )
