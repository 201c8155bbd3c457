"""JSON for people: header pairs and stream events one to a line, the rest indented by two.

`orjson.Fragment`s take the pre-rendered pieces into the document; each must know how deep it will
stand.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Final

import orjson

from ..utils.redaction import MASK_TEXT, Header
from .masking import mask_document
from .records import MASKED

Fragment = orjson.Fragment

_INDENT: Final = orjson.OPT_INDENT_2
_DOCUMENT: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_KEPT_LINES = 4096
_BODY_DEPTH = 3  # document, request or response, body
_DEPTH = 200  # orjson writes 254 levels
_MAX_INT = 2**63

EMPTY: Final = Fragment(b"[]")


class _MaskedLine(bytes):
    """A header's line whose value is masked."""


class HeaderLines:
    """Renders header blocks; lines that come again (most do) are looked up."""

    def __init__(self) -> None:
        self._lines: dict[Header, bytes] = {}
        self._names: dict[bytes, bytes] = {}

    def render(
        self, headers: tuple[Header, ...], pointer: str, redactions: list[str]
    ) -> orjson.Fragment:
        """The headers of a request or response, with a JSON pointer for each masked value. Hot."""
        if not headers:
            return EMPTY
        lines = [*map(self._lines.get, headers)]
        if None in lines:
            lines = [*map(self._line, headers)]
        for index, line in enumerate(lines):
            if type(line) is _MaskedLine:
                redactions.append(f"{pointer}/{index}/1")
        return _list(lines)  # type: ignore[arg-type] # no None is left in it

    def _line(self, header: Header) -> bytes:
        line = self._lines.get(header)
        if line is not None:
            return line
        if len(self._lines) >= _KEPT_LINES:
            self._lines.clear()
            self._names.clear()
        name, value = header
        if value.startswith(MASKED):
            line = _MaskedLine(_masked_pair(name, value))
        else:
            line = b"%b%b]" % (self._begin(name), orjson.dumps(value.decode("latin-1")))
        self._lines[header] = line
        return line

    def _begin(self, name: bytes) -> bytes:
        begin = self._names.get(name)
        if begin is None:
            begin = self._names[name] = b"[%b, " % orjson.dumps(name.decode("latin-1"))
        return begin


def _masked_pair(name: bytes, value: bytes) -> bytes:
    """A URL with only its parameter masked follows a question mark; else all of it is masked."""
    url = value.removeprefix(MASKED + b"?")
    return _pair(name.decode("latin-1"), url.decode("latin-1") if url != value else MASK_TEXT)


def _pair(name: str, value: str) -> bytes:
    return b"[" + orjson.dumps(name) + b", " + orjson.dumps(value) + b"]"


def event(t: bytes, raw: bytes, complete: bool) -> bytes:
    """One stream event as a line; `t` is a rendered number. Hot: once per event, 0.5 µs.

    What is no UTF-8 stands as `{"base64": …}`; what no client would have been given is marked.
    """
    try:
        text = orjson.dumps(raw.decode())
    except UnicodeDecodeError:
        text = _base64(raw)
    if complete:
        return b'{"t": %b, "raw": %b}' % (t, text)
    return b'{"t": %b, "raw": %b, "incomplete": true}' % (t, text)


def frame_event(
    t: bytes, sender: str, opcode: str, raw: bytes, *, code: int | None, complete: bool
) -> bytes:
    """One message of a WebSocket as a line. Binary ones stand as base64, whatever is in them."""
    line = event(t, raw, complete) if opcode != "binary" else _binary_event(t, raw, complete)
    told = b', "from": "%b", "opcode": "%b"' % (sender.encode(), opcode.encode())
    if code is not None:
        told += b', "code": %d' % code
    return line.replace(b', "raw"', told + b', "raw"', 1)


def _binary_event(t: bytes, raw: bytes, complete: bool) -> bytes:
    tail = b"" if complete else b', "incomplete": true'
    return b'{"t": %b, "raw": %b%b}' % (t, _base64(raw), tail)


def _base64(raw: bytes) -> bytes:
    return b'{"base64": "%b"}' % base64.b64encode(raw)


def events(lines: list[bytes]) -> orjson.Fragment:
    """The list of a stream's events."""
    return _list(lines) if lines else EMPTY


def _list(lines: list[bytes]) -> orjson.Fragment:
    return Fragment(b"[\n      %b\n    ]" % b",\n      ".join(lines))


def indented(value: object, depth: int) -> bytes:
    """A JSON value as it stands at this depth. Raises TypeError where orjson cannot write it."""
    return orjson.dumps(value, option=_INDENT).replace(b"\n", b"\n" + b"  " * depth)


def document(fields: dict[str, object]) -> bytes:
    """The whole document. What JSON or orjson cannot hold (NaN, huge integers, lone surrogates,
    nesting of thousands) is made plain: its original stands in the body or the events."""
    try:
        return orjson.dumps(fields, option=_DOCUMENT)
    except TypeError:
        _keep_bodies(fields)
        return orjson.dumps(plain(fields), option=_DOCUMENT)


def _keep_bodies(fields: dict[str, object]) -> None:
    """A body shown as JSON can be written, and stays as it is."""
    for name in ("request", "response"):
        message = fields[name]
        body = message["body"] if isinstance(message, dict) else {}
        if body.get("kind") == "json":
            body["value"] = Fragment(indented(body["value"], _BODY_DEPTH))


def masked_document(data: bytes, clean: Callable[[str], str]) -> bytes:
    """A rendered document again, with every text in it cleaned, and that told in `redactions`."""
    fields, pointers = mask_document(data, clean)
    redactions = fields["redactions"]
    assert isinstance(redactions, list)  # noqa: S101 - we have written it
    redactions += [pointer for pointer in pointers if pointer not in redactions]
    for part in ("request", "response"):
        message = fields[part]
        if isinstance(message, dict):
            message["headers"] = _one_per_line(message["headers"])
    stream = fields["stream"]
    if isinstance(stream, dict):
        stream["events"] = _one_per_line(stream["events"])
    return document(fields)


def _one_per_line(items: list[object]) -> orjson.Fragment:
    """Pairs or events again as they were: `["a", "b"]`, `{"t": 1.0, "raw": "…"}`."""
    return events([json.dumps(item, ensure_ascii=False).encode() for item in items])


def plain(value: object, depth: int = 0) -> object:
    """The value with everything replaced that orjson refuses."""
    if isinstance(value, (dict, list, tuple)):
        return _plain_items(value, depth)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -_MAX_INT <= value < _MAX_INT:
        return _digits(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    known = value is None or isinstance(value, (bool, int, float, orjson.Fragment))
    return value if known else str(value)


def _plain_items(
    value: dict[object, object] | list[object] | tuple[object, ...], depth: int
) -> object:
    if depth >= _DEPTH:
        return "[nested too deep for the trace: see the body]"
    if isinstance(value, dict):
        return {str(plain(str(k))): plain(v, depth + 1) for k, v in value.items()}
    return [plain(item, depth + 1) for item in value]


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # over 4,300 digits
        return hex(value)


def loads(data: bytes) -> object:
    """Parsed JSON, by the standard library where orjson refuses (NaN, lone surrogates, deep
    nesting). Raises ValueError."""
    try:
        return orjson.loads(data)
    except ValueError:
        pass
    try:
        parsed: object = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return parsed
