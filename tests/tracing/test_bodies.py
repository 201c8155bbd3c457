"""Whatever a body holds, the trace is valid JSON and loses nothing in silence (reliability 92)."""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib

import brotli
import orjson
import pytest
import zstandard

from src.tracing.bodies import Limits
from tests.tracing.building import build, build_document

DEEP = b"[" * 100_000 + b"]" * 100_000


def request_body(body: bytes, *headers: tuple[bytes, bytes], **kwargs: object) -> dict:
    return build(body, request_headers=headers, **kwargs)["request"]["body"]


def response_body(body: bytes, content_type: bytes = b"application/json", **kwargs: object) -> dict:
    return build(chunks=[body], content_type=content_type, **kwargs)["response"]["body"]


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": 1, "a": 2}',
        b'{"a": [{"b": 1, "b": 1}]}',
        b'{"n": 123456789012345678901234567890}',
        b'{"n": -9223372036854775809}',
        b'{"n": 18446744073709551616}',
        b'{"n": ' + b"7" * 5000 + b"}",
        DEEP,
        b'{"a": 1',
        b"[1,2]]",
        b'{"a": "line\nbreak"}',
    ],
    ids=lambda text: text[:24].decode(),
)
def test_json_that_would_lose_something_is_kept_as_text_to_the_letter(text: bytes) -> None:
    body = request_body(text)
    assert (body["kind"], body["value"].encode()) == ("text", text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "b": {"a": 1}}',
        b'{"quote": "\\u0022", "slash": "\\u005c", "e": "\\u00e9", "x": "a\\\\"}',
        b'{"n": 18446744073709551615, "m": -9223372036854775808}',
        b'{"f": 0.12345678901234567890123, "g": 1e25}',
        b'{"digits": "12345678901234567890"}',
        b'{\n  "a": [\n    1\n  ]\n}',
        b'{"a":"\xe2\x80\xa8"}',
        b" [] ",
    ],
)
def test_ordinary_json_is_shown_as_json(text: bytes) -> None:
    body = request_body(text)
    assert (body["kind"], body["value"]) == ("json", json.loads(text))


def test_nesting_that_orjson_reads_but_does_not_write_is_text() -> None:
    text = b"[" * 600 + b"]" * 600
    assert request_body(text)["kind"] == "text"


@pytest.mark.parametrize("depth", [250, 251, 253, 254])
def test_nesting_that_only_just_fits_is_json(depth: int) -> None:
    """The document around it is deeper than orjson writes, the body alone is not."""
    body = request_body(b"[" * depth + b"]" * depth)
    assert body["kind"] == "json"
    assert json.dumps(body["value"]) == "[" * depth + "]" * depth


def test_numbers_of_64_bits_stay_numbers_where_another_part_is_made_plain() -> None:
    document = build(b'{"seed":18446744073709551615}', ext=b'{"x":NaN}')
    assert document["request"]["body"]["value"] == {"seed": 18446744073709551615}


def test_a_byte_order_mark_is_no_part_of_the_value_but_of_the_hash() -> None:
    body = request_body(b"\xef\xbb\xbf" + b'{"model":"m"}')
    assert (body["kind"], body["value"]) == ("json", {"model": "m"})
    assert body["wire_bytes"] == 16


def test_what_is_not_utf8_is_base64() -> None:
    body = response_body(b"\x89PNG\xff\xfe", b"image/png")
    assert body["kind"] == "base64"
    assert base64.b64decode(body["value"]) == b"\x89PNG\xff\xfe"


def test_a_declared_charset_is_honoured_where_it_can_be_undone() -> None:
    body = response_body("déjà".encode("latin-1"), b"text/plain; charset=latin-1")
    assert (body["kind"], body["value"]) == ("text", "déjà")


def test_binary_over_64_kib_lies_beside_the_trace() -> None:
    image = bytes(range(256)) * 400
    document = build_document(chunks=[image], content_type=b"image/png")
    body = json.loads(document.data)["response"]["body"]
    assert body["kind"] == "file"
    assert document.files == [(body["value"], image)]
    assert body["value"] == document.name.removesuffix(".json") + ".response.bin"


def test_an_empty_body() -> None:
    body = build(b"", method=b"GET")["request"]["body"]
    assert (body["kind"], body["value"], body["wire_bytes"]) == ("empty", None, 0)
    assert body["sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


ENCODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_compressed_bodies_are_decoded_for_the_trace(name: str) -> None:
    text = b'{"model":"gpt-4o","input":"' + b"word " * 200 + b'"}'
    packed = ENCODINGS[name](text)
    document = build(packed, request_headers=[(b"Content-Encoding", name.encode())])
    body = document["request"]["body"]
    assert (body["kind"], body["value"]) == ("json", json.loads(text))
    assert (body["wire_bytes"], body["decoded_bytes"]) == (len(packed), len(text))
    assert document["summary"]["model"] == "gpt-4o"


def test_codings_are_undone_last_first() -> None:
    packed = brotli.compress(gzip.compress(b'{"a":1}'))
    body = request_body(packed, (b"Content-Encoding", b"gzip, br"))
    assert body["value"] == {"a": 1}


@pytest.mark.parametrize("name", ["gzip", "br", "zstd", "deflate", "lzma"])
def test_what_cannot_be_decoded_is_shown_as_it_was_on_the_wire(name: str) -> None:
    body = request_body(b"\x00this is nothing", (b"Content-Encoding", name.encode()))
    assert (body["kind"], body["decoded_bytes"]) == ("base64", None)
    assert base64.b64decode(body["value"]) == b"\x00this is nothing"


@pytest.mark.parametrize("layers", [5, 10_000])
def test_codings_within_codings_are_undone_four_deep(layers: int) -> None:
    """Each would have buffers, and a bomb, of its own."""
    packed = b"{}"
    for _ in range(min(layers, 20)):
        packed = gzip.compress(packed)
    names = b",".join([b"gzip"] * layers)
    body = request_body(packed, (b"Content-Encoding", names))
    assert base64.b64decode(body["value"]) == packed


@pytest.mark.parametrize("name", ["gzip", "br", "zstd", "deflate"])
def test_a_decompression_bomb_is_cut_and_says_so(name: str) -> None:
    bomb = ENCODINGS[name](b" " * 50_000_000)
    body = request_body(
        bomb, (b"Content-Encoding", name.encode()), limits=Limits(decoded_bytes=3_000_000)
    )
    assert body["truncated"]["kept_bytes"] <= 3_000_000
    assert body["decoded_bytes"] is None
    assert len(body["value"]) == body["truncated"]["kept_bytes"]


@pytest.mark.parametrize("name", ["gzip", "br", "zstd", "deflate"])
def test_a_bomb_is_cut_by_its_ratio_however_much_of_it_comes_at_once(name: str) -> None:
    """Not by its whole length on the wire: it would fill the disk with what is in a part of it."""
    noise = random.Random(1).randbytes(500_000)
    bomb = ENCODINGS[name](b" " * 50_000_000 + noise)
    body = request_body(bomb, (b"Content-Encoding", name.encode()))
    assert body["truncated"]["kept_bytes"] <= 1 << 20
    assert len(body["value"]) == body["truncated"]["kept_bytes"]


def test_a_large_compressed_body_is_whole() -> None:
    text = json.dumps([random.Random(1).randbytes(300_000).hex()]).encode()
    body = request_body(gzip.compress(text), (b"Content-Encoding", b"gzip"))
    assert (body["value"], body["decoded_bytes"]) == (json.loads(text), len(text))


def test_a_compressed_body_that_was_cut_shows_what_there_is() -> None:
    packed = gzip.compress(b"hello " * 1000)[:40]
    body = request_body(packed, (b"Content-Encoding", b"gzip"), (b"Content-Type", b"text/plain"))
    assert body["value"].startswith("hello ")


def test_a_capped_body_keeps_length_and_says_what_is_missing() -> None:
    body = request_body(b'{"a": "xxxx', wire_bytes=(5000, 0))
    assert body["kind"] == "text"
    assert body["wire_bytes"] == 5000
    assert body["truncated"] == {"kept_bytes": 11, "reason": "over the limit of body_bytes"}


def test_a_capped_text_may_end_within_a_character() -> None:
    body = request_body("é".encode()[:1], wire_bytes=(100, 0))
    assert body["kind"] in {"text", "base64"}


def test_secret_fields_of_a_request_are_masked_with_their_pointers() -> None:
    tools = [{"type": "mcp", "authorization": "Bearer abcdefgh", "headers": {"X-Api-Key": "k" * 9}}]
    asked = {"model": "m", "api_key": "abcdefgh", "password": "p", "tools": tools, "max_tokens": 3}
    document = build(json.dumps(asked).encode())
    assert document["request"]["body"]["value"]["tools"][0]["authorization"] == "[REDACTED]"
    assert "/request/body/value/api_key" in document["redactions"]
    assert "/request/body/value/tools/0/headers/X-Api-Key" in document["redactions"]
    assert b"abcdefgh" not in orjson.dumps(document)
    assert document["request"]["body"]["value"]["max_tokens"] == 3


def test_secret_fields_are_masked_in_json_that_is_shown_as_text() -> None:
    body = request_body(b'{"a":1,"a":2,"api_key":"abc\\"defgh"}')
    assert body["value"] == '{"a":1,"a":2,"api_key":"[REDACTED]"}'


def test_a_schema_that_speaks_of_passwords_is_left_alone() -> None:
    asked = {"properties": {"password": {"type": "string"}}}
    assert request_body(json.dumps(asked).encode())["value"] == asked
