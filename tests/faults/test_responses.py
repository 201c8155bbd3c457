"""Sections 1 and 4 of the catalogue: answers of an upstream that are wrong, or only look odd."""

from __future__ import annotations

import json
import time

import pytest

from tests.conftest import StartTap
from tests.support import bodies, steps
from tests.support.client import Answer, Client
from tests.support.tap import Document, LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import LAST_CHUNK, Ended, Header, chunked

CHAT = "/v1/chat/completions"
OK = b"HTTP/1.1 200 OK\r\n"


def answered(
    upstream: Upstream, tap: LLMTap, case: str, wire: bytes, *then: steps.Step
) -> tuple[Answer, Document]:
    """What the client got for these answer bytes, and the trace of it."""
    upstream.script(case, steps.read_body(), steps.send(wire), *(then or (steps.fin(),)))
    headers: list[Header] = [(b"X-Case", case.encode())]
    answer = tap.call("POST", CHAT, headers, bodies.chat_request(case), timeout=4)
    return answer, tap.trace(case)


def bad_gateway(upstream: Upstream, tap: LLMTap, case: str, wire: bytes) -> None:
    """A 502 of the proxy's own, the upstream connection dropped, the next caller unharmed."""
    answer, trace = answered(upstream, tap, case, wire, steps.until_closed(3))
    assert answer.status == 502, answer.head.raw + answer.body
    assert answer.complete
    assert json.loads(answer.body)["error"]["message"]
    assert answer.one("x-llmtap-id") == trace["id"].encode()
    assert trace["error"]["source"] == "proxy"
    assert trace["termination"]["cause"] in ("upstream_error", "upstream_reset", "upstream_eof")
    upstream.ended(case)
    assert tap.call("GET", "/v1/next").status == 200


# --- status lines (20, 21) ---


@pytest.mark.parametrize("status", [b"99", b"0", b"000", b"-1", b"20", b"2000", b"abc", b""])
def test_r20_status_that_is_none(upstream: Upstream, tap: LLMTap, case: str, status: bytes) -> None:
    wire = b"HTTP/1.1 " + status + b" Odd\r\nContent-Length: 2\r\n\r\n{}"
    bad_gateway(upstream, tap, case, wire)


@pytest.mark.parametrize("status", [529, 599, 600, 999])
def test_r20_unusual_statuses_pass_or_are_502(
    upstream: Upstream, tap: LLMTap, case: str, status: int
) -> None:
    wire = steps.head(status, (b"Content-Length", b"2"), reason=b"Odd") + b"{}"
    answer, trace = answered(upstream, tap, case, wire)
    assert answer.status in ((status,) if status < 600 else (status, 502))
    assert answer.complete
    assert trace["summary"]["status"] == answer.status


def test_r20_reason_that_is_missing_or_odd(upstream: Upstream, tap: LLMTap, case: str) -> None:
    for number, first in enumerate((b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 200 \xe9t\xe9")):
        name = f"{case}-{number}."
        answer, _ = answered(upstream, tap, name, first + b"\r\nContent-Length: 2\r\n\r\n{}")
        assert (answer.status, answer.body) == (200, b"{}")


BAD_HEADS = {
    "no_http": b"hello\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http_2": b"HTTP/2 200\r\n\r\n",
    "http_3_1": b"HTTP/3.1 200 OK\r\n\r\n",
    "space_before_colon": OK + b"X-A : 1\r\nContent-Length: 2\r\n\r\n{}",
    "nul": OK + b"X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    "no_colon": OK + b"X-A\r\nContent-Length: 2\r\n\r\n{}",
    "empty_name": OK + b": a\r\nContent-Length: 2\r\n\r\n{}",
    "bare_cr": OK + b"X-A: a\rb\r\nContent-Length: 2\r\n\r\n{}",
    "nul_in_reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\n{}",
    "http_0_9": b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "noise": bytes(range(256)),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_r17_head_that_is_malformed(upstream: Upstream, tap: LLMTap, case: str, name: str) -> None:
    bad_gateway(upstream, tap, case, BAD_HEADS[name])


def test_obs_fold_is_one_value_or_502(upstream: Upstream, tap: LLMTap, case: str) -> None:
    wire = OK + b"X-A: a\r\n b\r\nContent-Length: 2\r\n\r\n{}"
    answer, _ = answered(upstream, tap, case, wire)
    assert answer.status in (200, 502)
    if answer.status == 200:
        assert all(b"\n" not in value and b"\r" not in value for _, value in answer.headers)


# --- framing (23, 24) ---

ONE_CHUNK = b"2\r\n{}\r\n0\r\n\r\n"
BAD_FRAMING = {
    "two_lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "same_length_twice": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length_list": b"Content-Length: 2, 3\r\n\r\n{}",
    "length_and_chunked": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + ONE_CHUNK,
    "chunked_and_length": b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n" + ONE_CHUNK,
    "negative": b"Content-Length: -2\r\n\r\n{}",
    "plus": b"Content-Length: +2\r\n\r\n{}",
    "hex": b"Content-Length: 0x2\r\n\r\n{}",
    "empty": b"Content-Length:\r\n\r\n{}",
    "huge": b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "te_gzip": b"Transfer-Encoding: gzip\r\n\r\n{}",
    "te_xchunked": b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "te_gzip_chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "te_chunked_twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "te_comma": b"Transfer-Encoding: ,chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "te_identity_chunked": b"Transfer-Encoding: identity, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_FRAMING)
def test_r23_framing_that_is_ambiguous(
    upstream: Upstream, tap: LLMTap, case: str, name: str
) -> None:
    bad_gateway(upstream, tap, case, OK + BAD_FRAMING[name])


@pytest.mark.parametrize("framing", ["length", "chunked", "204", "head"])
@pytest.mark.parametrize("late", [False, True], ids=["at_once", "later"])
def test_r24_surplus_bytes_never_reach_the_next_caller(
    upstream: Upstream, tap: LLMTap, case: str, framing: str, late: bool
) -> None:
    poison = OK + b"Content-Length: 6\r\n\r\npoison"
    wire = {
        "length": OK + b"Content-Length: 2\r\n\r\n{}",
        "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"{}") + LAST_CHUNK,
        "204": b"HTTP/1.1 204 No Content\r\n\r\n",
        "head": OK + b"Content-Length: 6\r\n\r\n",
    }[framing]
    together = [steps.send(wire), steps.pause(0.05), steps.send(poison)]
    script = together if late else [steps.send(wire + poison)]
    upstream.script(case + "-a.", steps.read_body(), *script)
    upstream.script(case + "-b.", *steps.reply(200, b"clean"))
    method = "HEAD" if framing == "head" else "GET"
    first = tap.call(method, f"/v1/x?{case}-a.")
    assert first.complete
    assert first.body in (b"{}", b"")
    if late:
        time.sleep(0.1)
    for _ in range(3):
        assert tap.call("GET", f"/v1/x?{case}-b.").body == b"clean"
    poisoned = upstream.request(f"{case}-a.").connection.number
    after = {r.connection.number for r in upstream.requests(f"{case}-b.")}
    assert poisoned not in after


def test_connection_close_of_the_upstream_is_obeyed(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    upstream.script(case, *steps.reply(200, b"{}", (b"Connection", b"close")), steps.until_closed())
    assert tap.call("GET", f"/v1/x?{case}").complete
    assert upstream.ended(case).fate.startswith("peer")
    for _ in range(3):
        assert tap.call("GET", "/v1/next").status == 200


def test_r23_chunks_in_http_1_0_are_502(upstream: Upstream, tap: LLMTap, case: str) -> None:
    """RFC 9112 6.1: framing that is faulty."""
    head = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    bad_gateway(upstream, tap, case, head + ONE_CHUNK)


def test_http_1_0_upstream_is_served(upstream: Upstream, tap: LLMTap, case: str) -> None:
    wire = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}"
    answer, trace = answered(upstream, tap, case, wire)
    assert (answer.status, answer.body, answer.complete) == (200, b"{}", True)
    assert trace["response"]["http_version"].endswith("1.0")


# --- bodies that break off (56) ---

BAD_CHUNKS = {
    "short": b"5\r\nab",
    "size_not_hex": b"2\r\n{}\r\nzz\r\nab\r\n0\r\n\r\n",
    "no_crlf": b"2\r\n{}xx0\r\n\r\n",
    "huge_size": b"2\r\n{}\r\n" + b"f" * 17 + b"\r\nab",
    "negative": b"2\r\n{}\r\n-1\r\n\r\n",
    "end_without_last_crlf": b"2\r\n{}\r\n0\r\n",
    "end_without_last_chunk": b"2\r\n{}\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
@pytest.mark.parametrize("keep", [False, True], ids=["close", "stay_open"])
def test_r56_chunks_that_break_off_cut_the_client_too(
    upstream: Upstream, start_tap: StartTap, tap: LLMTap, case: str, name: str, keep: bool
) -> None:
    stays = keep and name in ("size_not_hex", "no_crlf", "huge_size", "negative")
    end = steps.until_closed(3) if stays else steps.fin()
    wire = OK + b"Transfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[name]
    answer, trace = answered(upstream, tap, case, wire, end)
    assert answer.status in (200, 502)
    if answer.status == 200:
        assert answer.end == "cut"
        assert answer.body[:2] in (b"", b"{}", b"ab")
    assert trace["termination"]["cause"] in ("upstream_eof", "upstream_reset", "upstream_error")
    assert trace["termination"]["phase"] in ("headers", "body")


def test_r56_reset_after_a_part_of_the_length(upstream: Upstream, tap: LLMTap, case: str) -> None:
    wire = OK + b"Content-Length: 100\r\n\r\npart"
    answer, trace = answered(upstream, tap, case, wire, steps.pause(0.05), steps.rst())
    assert (answer.end, answer.body) == ("cut", b"part")
    assert (trace["termination"]["cause"], trace["termination"]["phase"]) == (
        "upstream_reset",
        "body",
    )


def test_r56_client_of_http_1_0_can_tell_a_cut_stream_from_a_whole_one(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    """Its body ends with the connection: only a reset says that this one is not whole."""
    upstream.script(case, *steps.stream([b"data: 1\n\n"], end=steps.rst()))
    with Client(tap.address) as client:
        client.send(f"GET /v1/x?{case} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
        answer = client.answer()
        assert (answer.framing, answer.end, answer.how) == ("close", "cut", "rst")


def test_r57_answer_lost_in_the_read_that_brought_its_head_is_502(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    """Nothing has gone out yet, so there is still an answer."""
    bad_gateway(upstream, tap, case, OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")


@pytest.mark.parametrize("at", range(1, 60, 7))
@pytest.mark.parametrize("how", ["rst", "fin"])
def test_r57_head_that_breaks_off(
    upstream: Upstream, tap: LLMTap, case: str, at: int, how: str
) -> None:
    head = steps.head(200, steps.JSON_TYPE, (b"Content-Length", b"2"))
    end = (steps.pause(0.02), steps.rst()) if how == "rst" else (steps.fin(),)
    answer, trace = answered(upstream, tap, case, head[:at], *end)
    assert (answer.status, answer.complete) == (502, True)
    assert trace["termination"]["cause"] == ("upstream_reset" if how == "rst" else "upstream_eof")
    assert trace["termination"]["phase"] == "headers"
    assert upstream.hits(case) == 1, "sent again though the upstream had begun to answer"


# --- huge heads (58, 59) ---


def test_r58_endless_headers_are_502_and_bounded(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    before = tap.memory_kb()
    line = b"X-More: " + b"y" * 4000 + b"\r\n"
    upstream.script(
        case, steps.read_body(), steps.send(OK), steps.write_until_closed(line, 0, timeout=3)
    )
    answer = tap.call("GET", f"/v1/x?{case}", timeout=5)
    assert answer.status == 502
    assert upstream.ended(case).fate.startswith("peer")
    assert tap.memory_kb() - before < 8_000


def test_r58_one_endless_header_line(upstream: Upstream, tap: LLMTap, case: str) -> None:
    upstream.script(
        case,
        steps.read_body(),
        steps.send(OK + b"X-Long: "),
        steps.write_until_closed(b"z" * 65536, 0, timeout=3),
    )
    assert tap.call("GET", f"/v1/x?{case}", timeout=5).status == 502
    assert upstream.ended(case).fate.startswith("peer")


def test_r59_header_of_9_kb_passes(upstream: Upstream, tap: LLMTap, case: str) -> None:
    value = b"z" * 9216
    upstream.script(case, *steps.reply(200, b"{}", (b"Content-Security-Policy", value)))
    answer = tap.call("GET", f"/v1/x?{case}")
    assert answer.status == 200
    assert answer.one("content-security-policy") == value


# --- statuses that switch protocols or never end ---


def test_101_that_was_not_asked_for_is_502(upstream: Upstream, tap: LLMTap, case: str) -> None:
    wire = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
    bad_gateway(upstream, tap, case, wire)


def test_r21_endless_informational_answers_are_bounded(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    tap = start_tap(config=settings(upstream.url, timeouts={"headers_s": 1}, quiet=True))
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    upstream.script(case, steps.read_body(), steps.write_until_closed(hints, 0.005, timeout=6))
    began = time.monotonic()
    answer = tap.call("GET", f"/v1/x?{case}", timeout=5)
    assert answer.status in (502, 504)
    assert time.monotonic() - began < 2.5


def test_answer_before_the_request_is_not_taken_for_one(start_tap: StartTap, case: str) -> None:
    """A server that speaks first: its bytes belong to no request (reliability 24)."""
    with Upstream(default=steps.reply(200, b"true")) as upstream:
        upstream.on_accept = (
            steps.send(OK + b"Content-Length: 6\r\n\r\npoison"),
            steps.pause(0.05),
        )
        tap = start_tap(base_url=upstream.url, args=["--quiet"])
        with tap.client(timeout=3) as client:
            client.request("GET", f"/v1/x?{case}")
            try:
                answer = client.answer()
            except Ended:
                return
        assert answer.status in (200, 502)
        bodies_seen = [answer.body]
        upstream.on_accept = ()
        bodies_seen += [tap.call("GET", "/v1/next").body for _ in range(3)]
        assert b"poison" not in bodies_seen[1:]


def test_garbage_on_an_idle_connection_is_not_the_next_answer(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    upstream.script(
        case,
        *steps.reply(200, b"first"),
        steps.pause(0.05),
        steps.send(OK + b"Content-Length: 6\r\n\r\npoison"),
    )
    with Client(tap.address) as client:
        client.request("GET", f"/v1/x?{case}")
        assert client.answer().body == b"first"
        time.sleep(0.15)
        client.request("GET", "/v1/next")
        assert client.answer().body == b'{"ok":true}'
    assert upstream.ended(case).fate.startswith("peer")
