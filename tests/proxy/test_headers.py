from __future__ import annotations

import pytest

from src.proxy.headers import (
    KIND,
    Kind,
    connection_tokens,
    content_length,
    end_to_end,
    response_framing,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"Content-Type", Kind.PASS),
        (b"CONTENT-LENGTH", Kind.CONTENT_LENGTH),
        (b"content-Length", Kind.CONTENT_LENGTH),
        (b"Transfer-Encoding", Kind.TRANSFER_ENCODING),
        (b"Connection", Kind.CONNECTION),
        (b"hOST", Kind.HOST),
        (b"TE", Kind.HOP),
        (b"Expect", Kind.EXPECT),
        (b"X-Llmtap-Session", Kind.OURS),
        (b"X_Api_Key", Kind.FORGED),
        (b"X-Api-Key", Kind.PASS),
        (b"session_id", Kind.PASS),  # Codex's own
        (b"", Kind.PASS),
        (b"\xff", Kind.PASS),
    ],
)
def test_kind_of_a_header_whatever_its_spelling(name: bytes, kind: Kind):
    assert KIND[name] is kind
    assert KIND[name] is kind, "the second time from the table"


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"12", 12),
        (b"9" * 18, int("9" * 18)),
        (b"9" * 19, None),
        (b"", None),
        (b"+1", None),
        (b"-1", None),
        (b"1_0", None),
        (b"0x1", None),
        (b" 1", None),
        (b"1, 1", None),
        (b"\xb2", None),
    ],
)
def test_content_length_is_digits_alone(value: bytes, length: int | None):
    """Reliability 2."""
    assert content_length(value) == length


def test_connection_tokens():
    assert connection_tokens(b"Keep-Alive, X-A ,") == {b"keep-alive", b"x-a", b""}


def test_answers_headers_pass_without_those_of_its_connection():
    """Reliability 13, 14."""
    given = [
        (b"Set-Cookie", b"a"),
        (b"Connection", b"close, X-Hop"),
        (b"X-Hop", b"1"),
        (b"x-hop", b"2"),
        (b"Set-Cookie", b"b"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Keep-Alive", b"timeout=1"),
        (b"Proxy-Authenticate", b"x"),
        (b"Date", b"now"),
    ]
    kept, has_length = end_to_end(given)
    assert kept == [(b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"Date", b"now")]
    assert not has_length


def test_answers_length_passes_though_connection_names_it():
    given = [(b"Connection", b"content-length"), (b"Content-Length", b"1")]
    assert end_to_end(given) == ([(b"Content-Length", b"1")], True)


CL, TE = b"Content-Length", b"Transfer-Encoding"


@pytest.mark.parametrize(
    ("given", "framed", "sound"),
    [
        ([], False, True),
        ([(b"A", b"b")], False, True),
        ([(CL, b"1")], True, True),
        ([(TE, b"chunked")], True, True),
        ([(TE, b" Chunked ")], True, True),
        ([(CL, b"1"), (CL, b"1")], True, False),
        ([(CL, b"1"), (TE, b"chunked")], True, False),
        ([(TE, b"chunked"), (CL, b"1")], True, False),
        ([(CL, b"x")], True, False),
        ([(TE, b"gzip")], True, False),
        ([(TE, b"chunked, chunked")], True, False),
        ([(TE, b"chunked"), (TE, b"chunked")], True, False),
    ],
)
def test_answers_framing_is_one_plain_way_or_refused(
    given: list[tuple[bytes, bytes]], framed: bool, sound: bool
):
    """Reliability 23."""
    found, problem = response_framing(given)
    assert found is framed
    assert (problem is None) is sound
