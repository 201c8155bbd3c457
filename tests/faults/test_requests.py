"""Section 1 of the catalogue: requests that are wrong, or only look odd."""

from __future__ import annotations

import time

import pytest

from tests.conftest import StartTap
from tests.support import steps
from tests.support.client import Client, raw_call, status_of
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import LAST_CHUNK, Header, chunked

PATH = b"/v1/chat/completions"
SECOND = b"GET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def refused(
    upstream: Upstream, tap: LLMTap, data: bytes, *, statuses: tuple[int, ...] = (400,)
) -> None:
    """A 4xx within a second, the connection closed, nothing of it at the upstream."""
    before = upstream.hits("")
    began = time.monotonic()
    answer, how = raw_call(tap.address, data)
    took = time.monotonic() - began
    assert status_of(answer) in statuses, answer[:300]
    assert how in ("fin", "rst"), "the connection stays open"
    assert took < 1
    assert answer.count(b"HTTP/1.1 ") == 1, "something after the bad request was answered"
    time.sleep(0.02)
    assert upstream.hits("") == before, "it reached the upstream"
    assert tap.call("GET", "/v1/next").status == 200


def post(*lines: bytes, body: bytes = b"") -> bytes:
    first = b"POST " + PATH + b" HTTP/1.1"
    return b"\r\n".join([first, b"Host: a", *lines]) + b"\r\n\r\n" + body


CL_WITH_TE = [
    post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=LAST_CHUNK + SECOND),
    post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=LAST_CHUNK + SECOND),
    post(b"Content-Length: 0", b"transfer-encoding: Chunked", body=LAST_CHUNK + SECOND),
]


@pytest.mark.parametrize("data", CL_WITH_TE, ids=["cl_te", "te_cl", "case"])
def test_r01_content_length_with_transfer_encoding(
    upstream: Upstream, tap: LLMTap, data: bytes
) -> None:
    refused(upstream, tap, data)


BAD_LENGTHS = [b"+1", b"-48", b"1_0", b"0x1", b"", b"1" * 23, b"1 1", b"1,2", b"1;1", b"\xb2"]
BAD_LENGTHS += [b"5, 6", b"five", b"5.0", b"18446744073709551616", b"1\x0b", b"\x001"]


@pytest.mark.parametrize("value", BAD_LENGTHS, ids=repr)
def test_r02_content_length_that_is_no_number(
    upstream: Upstream, tap: LLMTap, value: bytes
) -> None:
    refused(upstream, tap, post(b"Content-Length: " + value, body=b"x"), statuses=(400, 413))


@pytest.mark.parametrize("second", [b"6", b"1"])
def test_r02_conflicting_content_lengths(upstream: Upstream, tap: LLMTap, second: bytes) -> None:
    refused(upstream, tap, post(b"Content-Length: 5", b"Content-Length: " + second, body=b"12345"))


BAD_CODINGS = [b",chunked", b"gzip, chunked", b"chunked, chunked", b"\xa0chunked", b"xchunked"]
BAD_CODINGS += [b"chunked;a", b"identity", b"chunked, identity", b"", b"gzip", b"\x0bchunked"]
BAD_CODINGS += [b'"chunked"', b"chunked\x00"]


@pytest.mark.parametrize("value", BAD_CODINGS, ids=repr)
def test_r03_transfer_encoding_that_is_not_chunked(
    upstream: Upstream, tap: LLMTap, value: bytes
) -> None:
    data = post(b"Transfer-Encoding: " + value, body=LAST_CHUNK)
    refused(upstream, tap, data, statuses=(400, 501))


def test_r03_transfer_encoding_said_twice(upstream: Upstream, tap: LLMTap) -> None:
    twice = post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=LAST_CHUNK)
    refused(upstream, tap, twice, statuses=(400, 501))


def test_r03_transfer_encoding_in_http_1_0(upstream: Upstream, tap: LLMTap) -> None:
    data = b"POST /v1/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST_CHUNK
    refused(upstream, tap, data, statuses=(400, 501))


BAD_CHUNKS = {
    "0x": b"0x1\r\nx\r\n",
    "underscore": b"0_1\r\nx\r\n",
    "bare_lf": b"1\nx\n0\n\n",
    "no_crlf_after": b"1\r\nxy\r\n",
    "19_digits": b"1" * 19 + b"\r\nx\r\n",
    "negative": b"-1\r\nx\r\n",
    "plus": b"+1\r\nx\r\n",
    "empty_size": b"\r\nx\r\n",
    "not_hex": b"g\r\nx\r\n",
    "space_before": b" 1\r\nx\r\n",
    "cr_in_extension": b"1;a\rb\r\nx\r\n",
    "lf_in_extension": b"1;a\nb\r\nx\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_r04_chunk_that_is_malformed(upstream: Upstream, tap: LLMTap, case: str, name: str) -> None:
    upstream.script(case, steps.read_body(), *steps.reply())
    data = post(b"X-Case: " + case.encode(), b"Transfer-Encoding: chunked", body=BAD_CHUNKS[name])
    began = time.monotonic()
    answer, how = raw_call(tap.address, data + LAST_CHUNK + SECOND)
    assert time.monotonic() - began < 1
    assert status_of(answer) == 400, answer[:200]
    assert how in ("fin", "rst")
    assert answer.count(b"HTTP/1.1 ") == 1
    time.sleep(0.02)
    assert not any(request.complete for request in upstream.requests(case))
    assert upstream.hits("/v1/smuggled") == 0


@pytest.mark.parametrize("name", ["Authorization", "X-Forwarded-User", "Content-Length", "Host"])
def test_r05_trailers_reach_nobody(upstream: Upstream, tap: LLMTap, case: str, name: str) -> None:
    trailer = f"{name}: 99trailed\r\n".encode()
    with Client(tap.address, timeout=3) as client:
        client.send(
            post(b"X-Case: " + case.encode(), b"Transfer-Encoding: chunked", b"Trailer: X-T")
            + chunked(b"{}")
            + b"0\r\n"
            + trailer
            + b"\r\n"
        )
        assert client.answer().status in (200, 400)
    for request in upstream.requests(case):
        assert b"99trailed" not in request.connection.received
    for _, trace in tap.documents(case):
        assert "99trailed" not in str(trace["request"]["headers"])


BAD_LINES = {
    "space_before_colon": b"X-A : 1",
    "tab_before_colon": b"X-A\t: 1",
    "no_colon": b"X-A",
    "empty_name": b": 1",
    "nul_in_value": b"X-A: a\x00b",
    "nul_in_name": b"X\x00A: 1",
    "bare_cr": b"X-A: a\rX-B: b",
    "bare_cr_at_the_end": b"X-A: a\r",
    "bare_lf": b"X-A: a\nX-B: b",
    "obs_fold": b"X-A: a\r\n b",
    "obs_fold_tab": b"X-A: a\r\n\tb",
    "space_in_name": b"X A: 1",
    "quotes_in_name": b'"X": 1',
    "control_in_value": b"X-A: \x01",
    "del_in_value": b"X-A: \x7f",
    "utf8_name": "X-Ä: 1".encode(),
    "leading_space": b" X-A: 1",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_r06_header_line_that_is_malformed(upstream: Upstream, tap: LLMTap, name: str) -> None:
    refused(upstream, tap, post(BAD_LINES[name], b"Content-Length: 0"))


def test_r06_malformed_first_header_line(upstream: Upstream, tap: LLMTap) -> None:
    refused(upstream, tap, b"GET /v1/x HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize("name", [b"X_Api_Key", b"x_api_key", b"API_KEY", b"X_Goog_Api_Key"])
def test_r07_underscores_in_identity_headers(upstream: Upstream, tap: LLMTap, name: bytes) -> None:
    refused(upstream, tap, post(b"X-Api-Key: right", name + b": wrong", b"Content-Length: 0"))


BAD_HOSTS = {
    "none": b"GET /v1/x HTTP/1.1\r\n\r\n",
    "two": b"GET /v1/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "same_twice": b"GET /v1/x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_HOSTS)
def test_r08_host_missing_or_repeated(upstream: Upstream, tap: LLMTap, name: str) -> None:
    refused(upstream, tap, BAD_HOSTS[name])


NOT_HTTP = {
    "http_0.9": b"GET /\r\n\r\n",
    "connect": b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
    "pri": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0",
    "http_2_version": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "http_1_2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "lower_case_protocol": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "space_in_target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no_target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown_protocol": b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    "control_in_target": b"GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n",
    "nul_in_target": b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n",
    "noise": bytes(range(256)) * 4,
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_r09_what_is_not_http_1_1(upstream: Upstream, tap: LLMTap, name: str) -> None:
    refused(upstream, tap, NOT_HTTP[name], statuses=(400, 405, 501, 505))


@pytest.mark.parametrize("first", [b"GET /v1/x RTSP/1.0", b"SOURCE /v1/x ICE/1.0"])
def test_r09_other_protocols_however_they_are_cut(
    upstream: Upstream, tap: LLMTap, first: bytes
) -> None:
    """llhttp takes them for HTTP/1.0."""
    before = upstream.hits("")
    with Client(tap.address, timeout=3) as client:
        for at in range(len(first)):
            client.send(first[at : at + 1])
            time.sleep(0.001)
        client.send(b"\r\nHost: a\r\n\r\n")
        assert client.answer().status == 400
    assert upstream.hits("") == before


def test_r09_spaces_in_the_first_line_are_refused_or_mean_nothing(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    """RFC 9112 3 allows either; what goes on has one space."""
    first = b"GET  /v1/x?" + case.encode() + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer, _ = raw_call(tap.address, first)
    assert status_of(answer) in (200, 400)
    for request in upstream.requests(case):
        assert request.head.first == f"GET /v1/x?{case} HTTP/1.1".encode()


def test_r09_tls_hello_on_the_plain_port(upstream: Upstream, tap: LLMTap) -> None:
    hello = bytes.fromhex("16030100c4010000c00303") + bytes(185)
    before = upstream.hits("")
    answer, how = raw_call(tap.address, hello)
    assert how in ("fin", "rst")
    assert status_of(answer) in (0, 400)
    assert upstream.hits("") == before


@pytest.mark.parametrize(
    "target", [b"http://evil.test/v1/x", b"https://evil.test/", b"http://127.0.0.1:1/v1/x"]
)
def test_r10_absolute_target_goes_to_the_configured_upstream_only(
    upstream: Upstream, tap: LLMTap, case: str, target: bytes
) -> None:
    answer, _ = _one(tap, b"GET " + target + b" HTTP/1.1\r\nHost: evil.test\r\n", case)
    assert status_of(answer) in (200, 400, 404)
    for request in upstream.requests(case):
        assert not request.target.startswith(b"http")
        assert b"evil" not in b"".join(request.head.all("host"))


@pytest.mark.parametrize("target", [b"*", b"evil.test:80", b"//evil.test/x", b"?q", b"@evil.test/"])
def test_r10_odd_targets_stay_with_the_configured_upstream(
    upstream: Upstream, tap: LLMTap, case: str, target: bytes
) -> None:
    answer, _ = _one(tap, b"OPTIONS " + target + b" HTTP/1.1\r\nHost: a\r\n", case)
    assert status_of(answer) in (200, 400, 404)
    for request in upstream.requests(case):
        assert request.head.one("host") == f"127.0.0.1:{upstream.port}".encode()


def _one(tap: LLMTap, head: bytes, case: str) -> tuple[bytes, str]:
    return raw_call(
        tap.address, head + b"X-Case: " + case.encode() + b"\r\nConnection: close\r\n\r\n"
    )


def test_r13_connection_cannot_name_away_the_injected_key(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:

    tap = start_tap(config=settings(upstream.url, upstream={"api_key": "own-key-1234"}, quiet=True))
    headers: list[Header] = [
        (b"X-Case", case.encode()),
        (b"Authorization", b"Bearer theirs"),
        (b"Connection", b"close, authorization, Authorization"),
    ]
    tap.call("POST", PATH, headers, b"{}")
    assert upstream.request(case).head.all("authorization") == [b"Bearer own-key-1234"]


def test_r16_one_date_and_one_server(upstream: Upstream, tap: LLMTap, case: str) -> None:
    theirs: list[Header] = [(b"Date", b"Sat, 21 Nov 2026 00:00:00 GMT"), (b"Server", b"theirs")]
    upstream.script(case, *steps.reply(200, b"{}", *theirs))
    head = tap.call("GET", f"/v1/x?{case}").head
    assert head.all("date") == [theirs[0][1]]
    assert head.all("server") == [theirs[1][1]]


def test_r17_latin_1_in_headers_passes_both_ways(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    value = b"caf\xe9 \xff \xc3\xa9"
    upstream.script(case, *steps.reply(200, b"{}", (b"X-Their", value)))
    answer = tap.call("GET", "/v1/x", [(b"X-Case", case.encode()), (b"X-Mine", value)])
    assert answer.status in (200, 502)
    assert upstream.request(case).head.all("x-mine") == [value]
    if answer.status == 200:
        assert answer.head.all("x-their") == [value]
    assert tap.trace(case)["summary"]["status"] == answer.status


def test_r22_expect_on_a_refused_request_gets_no_100(upstream: Upstream, tap: LLMTap) -> None:
    with Client(tap.address, timeout=3) as client:
        client.send(post(b"Content-Length: 99999999999", b"Expect: 100-continue"))
        head = client.wire.head()
        assert head.first.split(b" ")[1] == b"413"


@pytest.mark.parametrize("chunks", [True, False])
def test_r116_body_over_the_limit_is_413(
    upstream: Upstream, start_tap: StartTap, case: str, chunks: bool
) -> None:

    tap = start_tap(config=settings(upstream.url, limits={"body_bytes": 1000}, quiet=True))
    mark = b"X-Case: " + case.encode()
    data = (
        post(mark, b"Transfer-Encoding: chunked", body=chunked(b"x" * 1001) + LAST_CHUNK)
        if chunks
        else post(mark, b"Content-Length: 1001", body=b"x" * 1001)
    )
    answer, _ = raw_call(tap.address, data)
    assert status_of(answer) == 413
    assert not any(request.complete for request in upstream.requests(case))
    trace = tap.trace(case)
    assert trace["summary"]["status"] == 413


BIG = {
    "header_block": (post(b"X-Big: " + b"x" * 70_000), (431, 400)),
    "header_count": (post(*[b"X-%d: 1" % n for n in range(101)]), (431, 400)),
    "url": (b"GET /" + b"u" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", (414, 400)),
    "unfinished_header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 300_000, (431, 400)),
    "unfinished_url": (b"GET /" + b"x" * 300_000, (414, 431, 400)),
}


@pytest.mark.parametrize("name", BIG)
def test_r115_heads_over_the_limits_are_refused(upstream: Upstream, tap: LLMTap, name: str) -> None:
    data, statuses = BIG[name]
    refused(upstream, tap, data, statuses=statuses)


def test_head_within_the_limits_passes(upstream: Upstream, tap: LLMTap, case: str) -> None:
    headers = [(b"X-Case", case.encode()), (b"X-Big", b"x" * 60_000)]
    assert tap.call("GET", "/" + "u" * 4_000, headers).status == 200
    assert upstream.request(case).head.one("x-big") == b"x" * 60_000


def test_slow_head_is_ended_at_its_deadline(upstream: Upstream, start_tap: StartTap) -> None:

    tap = start_tap(
        config=settings(
            upstream.url, timeouts={"request_head_s": 0.4, "request_body_s": 0.4}, quiet=True
        )
    )
    for begin in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n"):
        with Client(tap.address) as client:
            began = time.monotonic()
            client.send(begin)
            assert client.wire.ended_within(2) is not None, begin
            assert time.monotonic() - began < 1.2
    with Client(tap.address) as client:
        client.send(post(b"Content-Length: 10", body=b"half"))
        assert client.wire.ended_within(2) is not None
        assert status_of(bytes(client.wire.buffer)) in (0, 400, 408)


@pytest.mark.parametrize("framing", ["length", "chunked", "a byte at a time"])
def test_a_body_behind_an_upgrade_that_is_not_granted_is_forwarded(
    upstream: Upstream, tap: LLMTap, case: str, framing: str
) -> None:
    """Java's client asks for h2c with every POST; llhttp reads no body behind an Upgrade."""
    body = b'{"model": "m"}'
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    )
    head += b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX-Case: " + case.encode() + b"\r\n"
    if framing == "chunked":
        data = (
            head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body[:5], body[5:]) + LAST_CHUNK
        )
    else:
        data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    step = 1 if framing == "a byte at a time" else len(data)
    with Client(tap.address, timeout=3) as client:
        for at in range(0, len(data), step):
            client.send(data[at : at + step])
        assert client.answer().status == 200
    request = upstream.request(case)
    assert bytes(request.body) == body
    assert request.head.one("upgrade") is None
    assert tap.trace(case)["request"]["body"]["value"] == {"model": "m"}
