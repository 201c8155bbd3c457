"""Reading JSON that may be anything, into texts: nothing here raises."""

from __future__ import annotations

import json
from collections.abc import Mapping

import orjson

Json = Mapping[str, object]


def mapping(value: object) -> Json:
    """A JSON object as it is, {} for anything else."""
    return value if isinstance(value, dict) else {}


def array(value: object) -> list[object]:
    """A JSON array as it is, [] for anything else."""
    return value if isinstance(value, list) else []


def text(value: object) -> str | None:
    """A string that says something."""
    return value if isinstance(value, str) and value else None


def dump(value: object) -> str:
    """A string as it is, anything else as compact JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers over 64 bits, which only the lenient parser lets in
        return _dumped(value)


def _dumped(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return "[nested too deeply to be shown]"


def loads(source: str) -> object | None:
    """The JSON value in a text, or None. What orjson refuses (NaN, lone surrogates, deep nesting)
    is read leniently; halves of surrogate pairs are replaced, so that every text can be written."""
    try:
        value: object = orjson.loads(source)
        return value
    except ValueError:
        pass
    try:
        return _whole(json.loads(source))
    except (ValueError, RecursionError):
        return None


def _whole(value: object) -> object:
    """The value with each text writable as UTF-8, by way of the one text that it is written as."""
    written = json.dumps(value, ensure_ascii=False)
    mended: object = json.loads(
        written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
    return mended


def without(fields: Json, *names: str) -> dict[str, object]:
    """The object without some of its fields."""
    return {name: value for name, value in fields.items() if name not in names}
