"""The ways in which JSON is written: by JavaScript, Python, PHP, Go, and by people's indents.

One list, for who records a body (is it one of these?) and for who writes it again (which one?).
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

RAW_BYTES = 1 << 20
"""JSON in none of these ways is kept in a trace as it was sent, up to this size."""
_BOM = codecs.BOM_UTF8
_FRAMES = ((b"", b""), (b"", b"\n"), (_BOM, b""), (b"", b"\r\n"))  # before it, after it


@dataclass(slots=True, frozen=True)
class _Style:
    """`ascii`: everything else is escaped. `escaped`: what must not stand as it is, in strings.
    `fast`: written by orjson, whose floats (1e-7) are not Python's (1e-07)."""

    colon: str = ": "
    comma: str = ","
    indent: str | None = None
    ascii: bool = False
    escaped: tuple[tuple[bytes, bytes], ...] = ()
    fast: bool = False

    def write(self, value: object) -> bytes:
        if self.fast:
            data = orjson.dumps(value, option=orjson.OPT_INDENT_2 if self.indent else None)
        else:
            separators, indent = (self.comma, self.colon), self.indent
            data = json.dumps(
                value, ensure_ascii=self.ascii, indent=indent, separators=separators
            ).encode()
        for char, written in self.escaped:
            data = data.replace(char, written)
        return data

    def head(self, value: object) -> bytes:
        """How it begins, as far as its first string, number or empty container."""
        text, line = b"", ""
        while value and isinstance(value, dict | list):
            line = (line or "\n") + self.indent if self.indent is not None else ""
            if isinstance(value, dict):
                key, value = next(iter(value.items()))
                text += b"{" + line.encode() + self.write(key) + self.colon.encode()
            else:
                text += b"[" + line.encode()
                value = value[0]
        return text


_SLASH = ((b"/", b"\\/"),)
_HTML = tuple(
    (char.encode(), b"\\u%04x" % ord(char)) for char in ("<", ">", "&", "\u2028", "\u2029")
)
_COMPACT = _Style(":", fast=True)  # JavaScript, httpx
# The likeliest first. Each that escapes all but ASCII has one beside it that does not.
_STYLES = (
    _COMPACT,
    _Style(indent="  ", fast=True),
    _Style(comma=", ", ascii=True),  # Python's own, and what people type
    _Style(comma=", "),
    _Style(":", ascii=True),
    _Style(":"),
    _Style(":", escaped=_HTML, fast=True),  # Go's encoding/json
    _Style(":", ascii=True, escaped=_SLASH),  # PHP
    _Style(":", escaped=_SLASH, fast=True),
    *(
        _Style(indent=indent, ascii=ascii_only)
        for indent in ("  ", "    ", "\t", " ", "   ")
        for ascii_only in (False, True)
    ),
    _Style(),
    _Style(":", ", "),
)


def written(value: object, size: int | None = None) -> Iterator[bytes]:
    """The value in all ways: the compact one, then the likeliest first; of these, those of another
    `size` in bytes are left out."""
    compact = orjson.dumps(value)
    yield compact
    for style in _different(compact):
        text = style.write(value)
        for before, after in _FRAMES:
            if size is None or len(before) + len(text) + len(after) == size:
                yield before + text + after


def is_written(value: object, data: bytes) -> bool:
    """Is `data`, from which the value was parsed, one of these ways to write it? Most are ruled out
    by how it begins: of a large value one or two are written."""
    text = data
    for before, after in _FRAMES[1:]:
        if data.startswith(before) and data.endswith(after):
            text = data[len(before) : len(data) - len(after)]
    plain = text.isascii()
    for style in _different(orjson.dumps(value)):
        if style.ascii and not plain:
            continue
        if text.startswith(style.head(value)) and style.write(value) == text:
            return True
    return False


def _different(compact: bytes) -> Iterator[_Style]:
    """Without those that write this value as the one beside them does."""
    same = compact.isascii() and b"\x7f" not in compact
    return (style for style in _STYLES if not (same and style.ascii))
