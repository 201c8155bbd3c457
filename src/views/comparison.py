"""A difference for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..record.conversation import conversation_of
from ..utils.inert import inert_line
from . import facts, wording
from .difference import Change, Difference
from .lines import Fold, Line, Style, counted
from .prefix import Prefix
from .talk import call_names, turn_lines

_FOLD = Fold(12, 1200)
_SHORT = 120  # characters of a parameter's or header's value


def comparison(
    found: Difference, before: Mapping[str, Any], after: Mapping[str, Any], *, full: bool = False
) -> Iterator[Line]:
    """The whole view; nothing is said of what did not change. `full`: nothing is folded."""
    fold = None if full else _FOLD
    yield Line(f"- {found.before}  {before['timing']['received_at']}", Style.REMOVED)
    yield Line(f"+ {found.after}  {after['timing']['received_at']}", Style.ADDED)
    yield Line("")
    yield from _cache(found.prefix, before, after)
    yield from _pairs("parameters", found.parameters)
    yield from _pairs("headers", found.headers)
    yield from _texts("tools", found.tools)
    if found.system is not None:
        yield from _texts("system", (found.system,))
    yield Line("")
    yield Line(_messages(found), Style.TITLE)
    names = call_names(conversation_of(before)) | call_names(conversation_of(after))
    for turn in found.removed:
        yield from _all_of(turn_lines(turn, names, fold), "-", Style.REMOVED)
    for turn in found.added:
        yield from _all_of(turn_lines(turn, names, fold), "+", Style.ADDED)


def _cache(prefix: Prefix, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Line]:
    """How much could have been read from a cache, and how much was."""
    if prefix.ends_at is None:
        text = f"the whole former request ({prefix.before_chars:,} characters) begins the latter"
        yield Line(text, Style.GOOD)
    else:
        share = 100 * prefix.chars / prefix.before_chars if prefix.before_chars else 0.0
        yield Line(
            inert_line(
                f"the same for {prefix.chars:,} of {prefix.before_chars:,} characters"
                f" ({share:.1f}%), then {prefix.ends_at} differs"
            ),
            Style.BAD,
        )
        yield Line(inert_line(f"  - {prefix.was}"), Style.REMOVED)
        yield Line(inert_line(f"  + {prefix.now}"), Style.ADDED)
    for mark, document in (("-", before), ("+", after)):
        if used := facts.usage(document["usage"]):
            yield Line(f"{mark} {used}", Style.DIM)


def _pairs(title: str, changes: tuple[Change, ...]) -> Iterator[Line]:
    if not changes:
        return
    yield Line("")
    yield Line(f"── {title}", Style.TITLE)
    for change in changes:
        for mark, value, style in (
            ("-", change.before, Style.REMOVED),
            ("+", change.after, Style.ADDED),
        ):
            if value is not None:
                yield Line(inert_line(f"{mark} {change.name}: {_short(value)}"), style)


def _short(value: str) -> str:
    return value if len(value) <= _SHORT else f"{value[:_SHORT]}… ({len(value):,} characters)"


def _texts(title: str, changes: tuple[Change, ...]) -> Iterator[Line]:
    """Long ones: those that changed word by word, the others by their size."""
    if not changes:
        return
    yield Line("")
    yield Line(f"── {title}", Style.TITLE)
    for change in changes:
        name = inert_line(change.name)
        if change.before is None or change.after is None:
            mark, style = ("+", Style.ADDED) if change.before is None else ("-", Style.REMOVED)
            text = (change.after or change.before or "").strip()
            first = inert_line(_short(text.split("\n", 1)[0]))
            yield Line(f"{mark} {name}: {first} ({len(text):,} characters)", style)
            continue
        if name != title:
            yield Line(f"~ {name}", Style.CHANGED)
        yield from wording.changes(change.before, change.after)


def _messages(found: Difference) -> str:
    parts = [f"{counted(found.kept, 'message')} the same"]
    if found.removed:
        parts.append(f"{len(found.removed):,} removed")
    if found.added:
        answer = ", the former answer first" if found.answered else ""
        parts.append(f"{len(found.added):,} added{answer}")
    return f"── {', '.join(parts)}"


def _all_of(lines: Iterator[Line], mark: str, style: Style) -> Iterator[Line]:
    for line in lines:
        if line.text:
            yield Line(f"{mark} {line.text}", style if line.style is Style.PLAIN else line.style)
