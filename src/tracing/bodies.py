"""A body as the trace shows it: JSON where that loses nothing, else text, else base64 or a file.

JSON is written again, indented, so it must come out as the same value. It stays `text`, letter for
letter, where that is not sure: what orjson refuses (NaN, lone surrogates, nesting over 1,000),
integers over 64 bits, and repeated keys, of which parsers keep only one. A byte order mark is no
part of the value and is left out. Hash and length are always those of the wire.

The hash tells which of the usual ways of writing JSON it was. What is in none of them, laid out by
hand, is kept as it was sent too (`raw`), unless anything in it is masked or it is over 1 MiB. Of a
compressed body the hash tells nothing: all that is not compact or indented by two is kept so.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
from dataclasses import dataclass
from hashlib import sha256

import orjson

from ..utils.json_styles import RAW_BYTES, is_written
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
    """A body as the trace shows it: the schema's keys, and what was learned on the way.

    `parsed`: the JSON value or None; `file`: bytes that belong into a file beside the trace;
    `masked`: JSON pointers into `value`. `sha256` None: unknown.
    """

    __slots__ = (
        "content_encoding",
        "content_type",
        "decoded_bytes",
        "file",
        "kind",
        "masked",
        "parsed",
        "raw",
        "sha256",
        "truncated",
        "value",
        "wire_bytes",
    )

    def __init__(
        self,
        content_type: str | None,
        content_encoding: str | None,
        wire_bytes: int,
        sha256: str | None,
        truncated: dict[str, object] | None,
    ) -> None:
        self.kind = "empty"
        self.value: object = None
        self.raw: str | None = None
        self.content_type = content_type
        self.content_encoding = content_encoding
        self.wire_bytes = wire_bytes
        self.decoded_bytes: int | None = 0
        self.sha256 = sha256
        self.truncated = truncated
        self.parsed: object | None = None
        self.file: bytes | None = None
        self.masked: list[str] = []

    def fields(self) -> dict[str, object]:
        """The schema's keys."""
        return {
            "kind": self.kind,
            "value": self.value,
            "raw": self.raw,
            "content_type": self.content_type,
            "content_encoding": self.content_encoding,
            "wire_bytes": self.wire_bytes,
            "decoded_bytes": self.decoded_bytes,
            "sha256": self.sha256,
            "truncated": self.truncated,
        }

    def mask_more(self, pointers: list[str]) -> None:
        """More has been masked in the value."""
        if pointers:
            self.masked = sorted({*self.masked, *pointers})
            self.raw = None

    def omit(self, reason: str | None) -> None:
        """Leave the value out; without a reason where it stands elsewhere in the trace."""
        self.kind = "omitted"
        self.value = self.raw = None
        if reason is not None:
            self.truncated = {"kept_bytes": 0, "reason": reason}


def show(
    part: BodyPart,
    data: bytes,
    limits: Limits,
    *,
    mask: bool = False,
    masker: Masker | None = None,
) -> None:
    """Show what was kept of the body as it was on the wire.

    `mask`: hide string values under names like api_key and password. `masker`: what the
    configuration wants hidden.
    """
    if not data:
        if part.wire_bytes:
            part.kind, part.decoded_bytes = "omitted", None
        return
    if part.content_encoding is not None:
        decoded = _decode(part, data, limits)
        if decoded is None:
            if masker is not None:
                part.omit(UNSEARCHED)
            else:
                _show_binary(part, data)
            return
        data = decoded
    part.decoded_bytes = len(data) if part.truncated is None else None
    if masker is not None:
        _show_masked(part, data, mask, masker)
    elif not _show_json(part, data, mask):
        _show_plain(part, data, mask)


def _show_plain(part: BodyPart, data: bytes, mask: bool) -> None:
    if not _show_text(part, data, mask):
        _show_binary(part, data)


def _show_masked(part: BodyPart, data: bytes, mask: bool, masker: Masker) -> None:
    """The slow way: what the configuration wants hidden is hidden first, so that nothing that is
    read out of the body (a model, a session) can hold it."""
    masked = masker.mask_body(data, is_json="json" in (part.content_type or ""))
    if masked is None:
        part.omit(UNSEARCHED)
        return
    if not _show_json(part, masked, mask):
        _show_plain(part, masked, mask)
    if masked == data:
        return
    part.raw = None
    if part.kind == "json":
        before = render.loads(data.removeprefix(_BOM))
        part.masked = differences(before, part.parsed)
    else:
        part.masked = [""]


def _decode(part: BodyPart, data: bytes, limits: Limits) -> bytes | None:
    """The decoded body or its beginning; None if it cannot be decoded at all."""
    try:
        decoder = Decoder(part.content_encoding or "", limits.decoded_bytes, limits.decoded_ratio)
        return decoder.feed(data)
    except TooLarge as error:
        kept: bytes = error.args[0]
        part.truncated = {"kept_bytes": len(kept), "reason": "decoded, it is over the limit"}
        return kept
    except DecodeError:
        part.decoded_bytes = None  # shown as it was on the wire
        return None


def _show_json(part: BodyPart, data: bytes, mask: bool) -> bool:
    """Hot. True if the body is shown as JSON; `parsed` is set wherever it can be parsed."""
    first = data[0]
    text = data
    if first == 0xEF and data.startswith(_BOM):
        text = data[3:]
        first = text[0] if text else 0
    if first not in _JSON_BEGINS and "json" not in (part.content_type or ""):
        return False
    try:
        value = orjson.loads(text)
    except ValueError:
        _parse_anyhow(part, text)
        return False
    part.parsed = value
    if part.truncated is not None:
        return False
    usual = True
    try:
        written = orjson.dumps(value)
        if written != text:
            indented = orjson.dumps(value, option=orjson.OPT_INDENT_2)
            usual = indented == text
            if not usual and _loses(text, indented):
                return False
    except TypeError:
        return False
    if mask:
        part.masked = mask_fields(value)
    if not (usual or part.masked):
        part.raw = _laid_out(part, data, value)
    part.kind = "json"
    part.value = value
    return True


def _laid_out(part: BodyPart, data: bytes, value: object) -> str | None:
    """The text as it was sent, where `value` does not give it back."""
    if part.sha256 is None or len(data) > RAW_BYTES:
        return None
    if part.content_encoding is None and is_written(value, data):
        return None
    return data.decode()


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
    text = _text(data, part.content_type or "", part.truncated is not None)
    if text is None:
        return False
    if mask:
        text, found = mask_fields_in_text(text)
        if found:
            part.masked = [""]
    part.kind = "text"
    part.value = text
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
        part.kind = "file"
        part.file = data
        return
    part.kind = "base64"
    part.value = base64.b64encode(data).decode()
