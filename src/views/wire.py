"""A traced body as it was on the wire, from what the trace shows of it.

JSON is traced as a value, so its bytes are written again in each of the ways that clients write
JSON, and the hash tells which it was. Of what is in none of them the trace keeps the text beside
the value, up to 1 MiB and where nothing in it is masked; else the same value is given, and says so.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..utils.json_styles import RAW_BYTES, written
from ..utils.redaction import MASK_TEXT


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
    tried = list(shown)
    for data in tried:
        if sha256(data).hexdigest() == body["sha256"]:
            return Sent(data)
    return Sent(_likeliest(tried, body), _lack(body))


def _likeliest(tried: list[bytes], body: Mapping[str, Any]) -> bytes:
    """Of a compressed body no hash tells which it was, but its length when decoded."""
    size = body["decoded_bytes"] if body["content_encoding"] else None
    return next((data for data in tried if len(data) == size), tried[0])


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
        large = (body["decoded_bytes"] or 0) > RAW_BYTES
        why = ": laid out by hand, it is over 1 MiB" if large else ""
        return f"the body is the same JSON, but not written the same way{why}"
    return "the body is not the one that was on the wire"


def _shown(body: Mapping[str, Any], beside: Path | None) -> Iterator[bytes] | None:
    """What the bytes may have been, the likeliest first; None where its file is gone."""
    kind, value = body["kind"], body["value"]
    if kind == "json":
        raw = body.get("raw")
        return iter([raw.encode()]) if raw is not None else written(value, body["decoded_bytes"])
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
