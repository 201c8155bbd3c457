"""A trace's document without its largest parts, for those who only want its row or its answer.

Parsing takes a nanosecond a byte, and nearly all bytes are the request's messages and the stream's
events. In a file as the recorder writes it, a key of the document begins a line after two spaces,
one of the body after six, and no value can hold a line break: both parts are found by a search for
bytes, ten times as fast. The request's `raw`, which stands after its value, goes with it. What does
not look like that is parsed as it is.
"""

from __future__ import annotations

from typing import Any

import orjson

_SMALL_BYTES = 16_384  # below it parsing all is no slower
_REQUEST = b'\n  "request": {'
_RESPONSE = b'\n  "response": '
_STREAM = b'\n  "stream": {'
_REDACTIONS = b'\n  "redactions": '
_VALUE = b'\n      "value": '
_VALUE_END = b',\n      "content_type": '
_EVENTS = b'\n    "events": ['
_EVENTS_END = b'],\n    "terminal": '


def loads(data: bytes) -> dict[str, Any]:
    """The whole document. Raises ValueError."""
    return _document(data)


def without_events(data: bytes) -> bytes:
    """The document's bytes with an empty list of stream events: `response.message` says the same.
    Unchanged where they are not found."""
    begin = data.rfind(_STREAM)
    if begin < 0:
        return data
    return _cut(data, _EVENTS, _EVENTS_END, begin, len(data), b"")


def skeleton(data: bytes) -> dict[str, Any]:
    """The document with the request's body null, no stream events and no body's `raw`. Raises
    ValueError."""
    if len(data) < _SMALL_BYTES:
        return _without_raw(_document(data))
    shorter = without_events(data)
    if found := request_value(shorter):
        shorter = b"".join((shorter[: found[0]], b"null", shorter[found[1] :]))
    return _without_raw(_document(shorter))


def request_value(data: bytes) -> tuple[int, int] | None:
    """Where the value of the request's body stands; None where that is not found. What ends it is
    looked for from the end: the value is nearly all there is."""
    begin, end = data.find(_REQUEST), data.rfind(_RESPONSE)
    start = data.find(_VALUE, begin, end) if 0 <= begin < end else -1
    stop = data.rfind(_VALUE_END, start, end) if start >= 0 else -1
    return (start + len(_VALUE), stop) if stop >= 0 else None


def _without_raw(document: dict[str, Any]) -> dict[str, Any]:
    for name in ("request", "response"):
        message = document.get(name)
        body = message.get("body") if isinstance(message, dict) else None
        if isinstance(body, dict) and body.get("raw") is not None:
            body["raw"] = None
    return document


def _document(data: bytes) -> dict[str, Any]:
    document = orjson.loads(data)
    if not isinstance(document, dict):
        raise TypeError("a trace is a JSON object")
    return document


def _cut(data: bytes, before: bytes, after: bytes, begin: int, end: int, instead: bytes) -> bytes:
    """`data` with what stands between `before` and `after` replaced."""
    start = data.find(before, begin, end)
    stop = data.find(after, start, end) if start >= 0 else -1
    if stop < 0:
        return data
    return b"".join((data[: start + len(before)], instead, data[stop:]))
