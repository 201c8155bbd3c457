"""Reading JSON that may be anything: each function gives the value of its type or None."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import orjson


def loads(data: bytes) -> object | None:
    """The JSON value, or None. What orjson refuses (lone surrogates, NaN, bad UTF-8) is retried."""
    try:
        value: object = orjson.loads(data)
        return value
    except orjson.JSONDecodeError:
        return _loads_leniently(data)


def _loads_leniently(data: bytes) -> object | None:
    if data[:1] not in b"{[ \n\r\t":
        return None
    try:
        value: object = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value


def joined(pieces: Iterable[str]) -> str:
    """The pieces as one text. Servers cut between the halves of a surrogate pair: it is mended."""
    text = "".join(pieces)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def mapping(value: object) -> dict[str, object]:
    """A JSON object as it is, {} for anything else."""
    return value if isinstance(value, dict) else {}


def entries(value: object) -> list[dict[str, object]]:
    """The objects of a JSON array, [] for anything else."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def text(value: object) -> str | None:
    """A string that says something."""
    return value if isinstance(value, str) and value else None


def code(value: object) -> str | None:
    """An error code as text: providers write strings or numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value)


def count(value: object) -> int | None:
    """A number of tokens: whole and not negative."""
    if type(value) is int:
        return value if 0 <= value < 1 << 53 else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value >= 0 and value == value // 1 and value < 1 << 53 else None


def amount(value: object) -> float | None:
    """A sum of money: finite and not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e12 else None


def total(*counts: int | None) -> int | None:
    """The sum of what is known; None if nothing is."""
    known = [number for number in counts if number is not None]
    return sum(known) if known else None


def index(value: object) -> int:
    """A position in a list; 0 where it is left out, as by many compatible servers."""
    return value if isinstance(value, int) else 0


def merge_known(target: dict[str, object], source: Mapping[str, object]) -> None:
    """Take over what is not null: usage is repeated with fields left out or null."""
    target.update({key: value for key, value in source.items() if value is not None})
