"""Where two requests begin to differ, in the order that providers cache them: tools, system,
messages. Marks that ask for caching are no part of what is cached."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..record.conversation import body_value
from ..record.reading import Json, array, dump, mapping, without

_ORDER = (
    *("tools", "functions", "system", "instructions", "systemInstruction", "system_instruction"),
    *("messages", "contents", "input", "prompt"),
)
_MARK = re.compile(r',?"cache_control":\{[^{}]*\}')
_AROUND = 60


@dataclass(slots=True, frozen=True)
class Prefix:
    """`chars` of the former's `before_chars` begin the latter, too. `ends_at`: the place where they
    part, None where the whole former begins the latter; `was` and `now`: what stands there."""

    chars: int
    before_chars: int
    after_chars: int
    ends_at: str | None
    was: str
    now: str


def common_prefix(before: Mapping[str, Any], after: Mapping[str, Any]) -> Prefix:
    """Of two traces' requests."""
    former, latter = _segments(before), _segments(after)
    sizes = sum(len(text) for _, text in former), sum(len(text) for _, text in latter)
    chars = 0
    for number, (place, text) in enumerate(former):
        other = latter[number] if number < len(latter) else ("", "")
        if (place, text) == other:
            chars += len(text)
            continue
        if place != other[0]:  # something begins or ends here that does not there
            return Prefix(chars, *sizes, place, text[:_AROUND], _named(other))
        same = _same(text, other[1])
        begin = max(same - _AROUND // 2, 0)
        was, now = (each[begin : same + _AROUND] for each in (text, other[1]))
        return Prefix(chars + same, *sizes, f"{place} after {same:,} characters", was, now)
    return Prefix(chars, *sizes, None, "", "")


def _same(one: str, other: str) -> int:
    """How many characters both begin with, by halving: slices are compared at once."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _named(segment: tuple[str, str]) -> str:
    place, text = segment
    return f"{place}: {text[:_AROUND]}" if place else ""


def _segments(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(place, text) of each piece of what a model reads."""
    body = body_value(mapping(document.get("request")).get("body"))
    if not isinstance(body, dict):
        return [("body", dump(body))] if body is not None else []
    return [piece for name in _ORDER if name in body for piece in _pieces(name, body[name])]


def _pieces(name: str, value: object) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield name, _plain(value)
        return
    for number, entry in enumerate(value):
        place = f"{name}[{number}]"
        if isinstance(entry, dict) and "content" in entry:
            yield from _message(place, entry)
        else:
            yield place, _plain(entry)


def _message(place: str, message: Json) -> Iterator[tuple[str, str]]:
    """Block by block; a text alone is read as one block of it."""
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    role = message.get("role", "")
    for at, block in enumerate(array(content)):
        yield f"{place}.content[{at}] ({role})", _plain(block)
    if rest := without(message, "content", "role"):
        yield f"{place} ({role})", _plain(rest)


def _plain(value: object) -> str:
    text = dump(value)
    return _MARK.sub("", text) if '"cache_control"' in text else text
