"""A body as the trace shows it: JSON where that loses nothing, else text, else base64 or a file.

JSON is written again, indented, so it must come out as the same value. It stays `text`, letter for
letter, where that is not sure: what orjson refuses (NaN, lone surrogates, nesting over 1,000),
integers over 64 bits, and repeated keys, of which parsers keep only one. A byte order mark is no
part of the value and is left out. Hash and length are always those of the wire.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
from dataclasses import dataclass
from hashlib import sha256

import orjson

from . import render
from .decoding import DecodeError, Decoder, TooLarge
from .masking import differences, mask_fields, mask_fields_in_text
from .rules import Masker

FILE_BYTES = 64 << 10
UNSEARCHED = "it cannot be looked through for what is to be masked"
EMPTY_SHA256 = sha256(b"").hexdigest()
_BOM = codecs.BOM_UTF8
_JSON_BEGINS = frozenset(b"{[")

_DIGITS = bytes.maketrans(
    bytes(range(256)), bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
)
_MANY_DIGITS = b"0" * 19


@dataclass(slots=True, frozen=True)
class Limits:
    """Bounds of what is decoded."""

    decoded_bytes: int = 20 << 20
    decoded_ratio: int = 200


class BodyPart:
    """A body as shown, and what was learned on the way.

    `fields`: the schema's keys; `parsed`: the JSON value or None; `file`: bytes that belong into a
    file beside the trace; `masked`: JSON pointers into `value`.
    """

    __slots__ = ("fields", "file", "masked", "parsed")

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields
        self.parsed: object | None = None
        self.file: bytes | None = None
        self.masked: list[str] = []


@dataclass(slots=True)
class Wire:
    """What is known of a body on the wire. `sha256` None: unknown; `lost`: why `data` is short."""

    data: bytes
    wire_bytes: int
    sha256: str | None
    content_type: str | None
    content_encoding: str | None
    lost: str | None = None


def body_part(
    wire: Wire, limits: Limits, depth: int, mask: bool = False, masker: Masker | None = None
) -> BodyPart:
    """The body's part of the document, its JSON value indented for `depth`.

    `mask`: hide string values under names like api_key and password. `masker`: what the
    configuration wants hidden.
    """
    truncated = None
    if wire.lost is not None:
        truncated = {"kept_bytes": len(wire.data), "reason": wire.lost}
    fields: dict[str, object] = {
        "kind": "empty",
        "value": None,
        "content_type": wire.content_type,
        "content_encoding": wire.content_encoding,
        "wire_bytes": wire.wire_bytes,
        "decoded_bytes": 0,
        "sha256": wire.sha256,
        "truncated": truncated,
    }
    part = BodyPart(fields)
    if not wire.data:
        if wire.wire_bytes:
            fields["kind"], fields["decoded_bytes"] = "omitted", None
        return part
    data = wire.data
    if wire.content_encoding is not None:
        decoded = _decode(wire, limits, fields)
        if decoded is None:
            if masker is not None:
                omitted(fields, UNSEARCHED)
            else:
                _show_binary(part, data)
            return part
        data = decoded
    fields["decoded_bytes"] = len(data) if fields["truncated"] is None else None
    if masker is not None:
        _show_masked(part, data, depth, mask, masker)
        return part
    _show(part, data, depth, mask)
    return part


def _show(part: BodyPart, data: bytes, depth: int, mask: bool) -> None:
    if not _show_json(part, data, depth, mask) and not _show_text(part, data, mask):
        _show_binary(part, data)


def _show_masked(part: BodyPart, data: bytes, depth: int, mask: bool, masker: Masker) -> None:
    """The slow way: what the configuration wants hidden is hidden first, so that nothing that is
    read out of the body (a model, a session) can hold it."""
    masked = masker.mask_body(data, is_json="json" in str(part.fields["content_type"]))
    if masked is None:
        omitted(part.fields, UNSEARCHED)
        return
    _show(part, masked, depth, mask)
    if masked == data:
        return
    if part.fields["kind"] == "json":
        before = render.loads(data.removeprefix(_BOM))
        part.masked = differences(before, part.parsed)
    else:
        part.masked = [""]


def omitted(fields: dict[str, object], reason: str | None) -> None:
    """Leave a body's value out; without a reason where it stands elsewhere in the trace."""
    fields["kind"] = "omitted"
    fields["value"] = None
    if reason is not None:
        fields["truncated"] = {"kept_bytes": 0, "reason": reason}


def _decode(wire: Wire, limits: Limits, fields: dict[str, object]) -> bytes | None:
    """The decoded body or its beginning; None if it cannot be decoded at all."""
    try:
        decoder = Decoder(wire.content_encoding or "", limits.decoded_bytes, limits.decoded_ratio)
        return decoder.feed(wire.data)
    except TooLarge as error:
        kept: bytes = error.args[0]
        fields["truncated"] = {"kept_bytes": len(kept), "reason": "decoded, it is over the limit"}
        return kept
    except DecodeError:
        fields["decoded_bytes"] = None  # shown as it was on the wire
        return None


def _show_json(part: BodyPart, data: bytes, depth: int, mask: bool) -> bool:
    """Hot. True if the body is shown as JSON; `parsed` is set wherever it can be parsed."""
    first = data[0]
    text = data
    if first == 0xEF and data.startswith(_BOM):
        text = data[3:]
        first = text[0] if text else 0
    if first not in _JSON_BEGINS and "json" not in str(part.fields["content_type"]):
        return False
    try:
        value = orjson.loads(text)
    except ValueError:
        _parse_anyhow(part, text)
        return False
    part.parsed = value
    if part.fields["truncated"] is not None:
        return False
    try:
        rendered = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    except TypeError:
        return False
    if rendered != text and orjson.dumps(value) != text and _loses(text, rendered):
        return False
    if mask and (masked := mask_fields(value)):
        part.masked = masked
        rendered = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    part.fields["kind"] = "json"
    part.fields["value"] = orjson.Fragment(rendered.replace(b"\n", b"\n" + b"  " * depth))
    return True


def _parse_anyhow(part: BodyPart, text: bytes) -> None:
    """For what the trace wants to know (the model, whether it streams), not for what it shows."""
    try:
        part.parsed = render.loads(text)
    except ValueError:
        part.parsed = None


def _loses(text: bytes, rendered: bytes) -> bool:
    """Would showing `rendered` for `text` lose something? Not asked where they are the same, as
    most providers' and clients' JSON is, indented or compact.

    A repeated key takes its quotes with it, so count those (escaped ones apart: they may have been
    written differently). Cheap and never wrong when equal; else the slow look decides.
    """
    same = text.count(b'"') - text.count(b'\\"') == rendered.count(b'"') - rendered.count(b'\\"')
    if same and _MANY_DIGITS not in text.translate(_DIGITS):
        return False
    try:
        json.loads(text, object_pairs_hook=_refuse_repeated, parse_int=_refuse_huge)
    except (ValueError, RecursionError):
        return True
    return False


def _refuse_repeated(items: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(items)
    if len(value) != len(items):
        raise ValueError("a key is repeated")
    return value


def _refuse_huge(digits: str) -> int:
    value = int(digits)
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("over 64 bits")
    return value


def _show_text(part: BodyPart, data: bytes, mask: bool) -> bool:
    text = _text(data, str(part.fields["content_type"] or ""), part.fields["truncated"] is not None)
    if text is None:
        return False
    if mask:
        text, found = mask_fields_in_text(text)
        if found:
            part.masked = [""]
    part.fields["kind"] = "text"
    part.fields["value"] = text
    return True


def _text(data: bytes, content_type: str, cut: bool) -> str | None:
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
    except UnicodeDecodeError:
        pass
    charset = re.search(r"charset=\"?([A-Za-z0-9._-]{1,40})", content_type)
    if charset is None:
        return None
    try:
        text = data.decode(charset[1])
        return text if text.encode(charset[1]) == data else None
    except (LookupError, ValueError):
        return None


def _show_binary(part: BodyPart, data: bytes) -> None:
    if len(data) > FILE_BYTES:
        part.fields["kind"] = "file"
        part.file = data
        return
    part.fields["kind"] = "base64"
    part.fields["value"] = base64.b64encode(data).decode()
