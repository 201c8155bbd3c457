"""A traced body as it was on the wire, from what the trace shows of it.

JSON is traced as a value, so its bytes are written again in each of the ways that clients write
JSON, and the hash tells which it was. Where none fits, the same value is given, and says so.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from ..utils.redaction import MASK_TEXT

_COMPACT = (",", ":")


@dataclass(slots=True, frozen=True)
class Sent:
    """`data`: None where the trace does not hold it. `note`: why it is not what was on the wire;
    None where it is, byte for byte."""

    data: bytes | None
    note: str | None = None


def sent(body: Mapping[str, Any] | None, beside: Path | None = None) -> Sent:
    """The body's bytes. `beside`: the folder the trace lies in, for bodies kept in a file."""
    if body is None or body["kind"] == "empty":
        return Sent(b"")
    if body["kind"] == "omitted":
        return Sent(None, f"the trace does not hold the body{_reason(body)}")
    shown = _shown(body, beside)
    if shown is None:
        return Sent(None, f"the body's file {body['value']} is not beside the trace")
    wanted = body["sha256"]
    for data in shown:
        if wanted is None or sha256(data).hexdigest() == wanted:
            return Sent(data, _lack(body) if wanted is None else None)
    return Sent(next(_shown(body, beside) or iter([b""])), _lack(body))


def _reason(body: Mapping[str, Any]) -> str:
    return f": {body['truncated']['reason']}" if body["truncated"] else ""


def _lack(body: Mapping[str, Any]) -> str:
    if body["truncated"]:
        return f"the body is cut off{_reason(body)}"
    if body["content_encoding"]:
        return f"the body is sent as it is, not as {body['content_encoding']}"
    if MASK_TEXT in str(body["value"]):
        return "secrets in the body are masked"
    if body["kind"] == "json":
        return "the body is the same JSON, but not written the same way"
    return "the body is not the one that was on the wire"


def _shown(body: Mapping[str, Any], beside: Path | None) -> Iterator[bytes] | None:
    """What the bytes may have been, the likeliest first; None where its file is gone."""
    kind, value = body["kind"], body["value"]
    if kind == "json":
        return _written(value, body["decoded_bytes"])
    if kind == "text":
        return _encoded(value, body["content_type"] or "")
    if kind == "base64":
        return iter([base64.b64decode(value)])
    path = beside / Path(value).name if beside is not None else None
    return iter([path.read_bytes()]) if path is not None and path.is_file() else None


def _encoded(value: str, content_type: str) -> Iterator[bytes]:
    yield value.encode("utf-8", "surrogatepass")
    _, found, charset = content_type.lower().partition("charset=")
    if found:
        try:
            yield value.encode(charset.strip(' "').partition(";")[0])
        except (LookupError, ValueError):
            return


def _written(value: object, size: int | None) -> Iterator[bytes]:
    """Compact (JavaScript, httpx), then as others write it; those of another length are left out,
    but for the first."""
    compact = orjson.dumps(value)
    yield compact
    for text in _styles(value, compact):
        for data in (text, text + b"\n", b"\xef\xbb\xbf" + text, text + b"\r\n"):
            if size is None or len(data) == size:
                yield data


def _styles(value: object, compact: bytes) -> Iterator[bytes]:
    yield compact
    yield json.dumps(value).encode()  # Python's, and what people type
    yield json.dumps(value, ensure_ascii=False).encode()
    yield json.dumps(value, separators=_COMPACT).encode()
    yield json.dumps(value, separators=_COMPACT, ensure_ascii=False).encode()
    yield compact.replace(b"/", b"\\/")  # PHP
    yield _escaped_for_html(compact)
    for indent in (2, 4, "\t", 1, 3):
        yield json.dumps(value, indent=indent, ensure_ascii=False).encode()
        yield json.dumps(value, indent=indent).encode()
    yield json.dumps(value, separators=(",", ": "), ensure_ascii=False).encode()
    yield json.dumps(value, separators=(", ", ":"), ensure_ascii=False).encode()


def _escaped_for_html(compact: bytes) -> bytes:
    """Go's encoding/json."""
    for char in (b"<", b">", b"&"):
        compact = compact.replace(char, b"\\u%04x" % char[0])
    return compact.replace("\u2028".encode(), b"\\u2028").replace("\u2029".encode(), b"\\u2029")
