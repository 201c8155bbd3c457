"""Bodies as they were on the wire, found again among the ways JSON is written."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from src.views.wire import Sent, sent

VALUE = {"a": "é <&> /\u2028", "n": [1, 2.5, True, None], "b": {}}


def traced(data: bytes, kind: str, value: object, **more: object) -> dict[str, Any]:
    return {
        "kind": kind,
        "value": value,
        "content_type": None,
        "content_encoding": None,
        "wire_bytes": len(data),
        "decoded_bytes": len(data),
        "sha256": sha256(data).hexdigest(),
        "truncated": None,
        **more,
    }


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(VALUE, separators=(",", ":"), ensure_ascii=False).encode(),
        json.dumps(VALUE).encode() + b"\n",
        b"\xef\xbb\xbf" + json.dumps(VALUE, indent=4).encode(),
        json.dumps(VALUE, indent="\t", ensure_ascii=False).encode(),
        json.dumps(VALUE, separators=(",", ":"), ensure_ascii=False).replace("/", "\\/").encode(),
    ],
    ids=["JavaScript", "Python, ended", "indented, marked", "tabs", "PHP"],
)
def test_json_is_found_as_it_was_written(data: bytes) -> None:
    assert sent(traced(data, "json", VALUE)).data == data
    assert sent(traced(data, "json", VALUE)).note is None


def test_json_written_by_hand_is_the_same_value_and_says_so() -> None:
    data = b'{"a" :1 }'
    found = sent(traced(data, "json", {"a": 1}))
    assert found.data == b'{"a":1}'
    assert found.note == "the body is the same JSON, but not written the same way"


def test_json_written_by_hand_is_known_where_the_trace_keeps_its_text() -> None:
    data = b'\xef\xbb\xbf{"a" :1 }\n'
    assert sent(traced(data, "json", {"a": 1}, raw=data.decode())) == Sent(data)
    packed = traced(b"packed", "json", {"a": 1}, raw=data.decode(), content_encoding="br")
    assert sent(packed) == Sent(data, "the body is sent as it is, not as br")


def test_compressed_json_is_told_by_its_length() -> None:
    data = json.dumps(VALUE, indent=2, ensure_ascii=False).encode()
    packed = traced(b"packed", "json", VALUE, decoded_bytes=len(data), content_encoding="br")
    assert sent(packed).data == data


def test_text_in_another_charset() -> None:
    data = "é".encode("latin-1")
    body = traced(data, "text", "é", content_type="text/plain; charset=ISO-8859-1")
    assert sent(body).data == data


def test_base64_and_files(tmp_path: Path) -> None:
    data = b"\x00\xff"
    assert sent(traced(data, "base64", base64.b64encode(data).decode())).data == data
    (tmp_path / "x.request.bin").write_bytes(data)
    assert sent(traced(data, "file", "x.request.bin"), tmp_path).data == data
    gone = sent(traced(data, "file", "y.request.bin"), tmp_path)
    assert gone.data is None
    assert gone.note == "the body's file y.request.bin is not beside the trace"


def test_a_file_is_only_looked_for_beside_the_trace(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "day").mkdir()
    assert sent(traced(b"x", "file", "../secret"), tmp_path / "day").data is None


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"truncated": {"kept_bytes": 2, "reason": "over 10 MB"}}, "cut off: over 10 MB"),
        ({"content_encoding": "zstd"}, "not as zstd"),
    ],
)
def test_what_is_lost_is_told(more: dict[str, object], note: str) -> None:
    found = sent(traced(b"something else", "text", "ab", **more))
    assert found.data == b"ab"
    assert found.note is not None
    assert note in found.note


def test_omitted_bodies_are_none() -> None:
    cut = {"kept_bytes": 0, "reason": "the queue was full"}
    found = sent(traced(b"x", "omitted", None, truncated=cut))
    assert found.data is None
    assert found.note == "the trace does not hold the body: the queue was full"
