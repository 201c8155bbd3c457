"""Section 2 of the catalogue: streams, slow readers, uploads."""

from __future__ import annotations

import threading
import time

import pytest

from tests.conftest import StartTap
from tests.support import bodies, steps
from tests.support.client import Client, raw_call, status_of
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header

CHAT = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"

# name → (what the upstream sends, the pieces it is sent in, the raw text of each event)
STREAMS = {
    "lf": ([b"data: 1\n\ndata: 2\n\n", DONE], ["data: 1\n\n", "data: 2\n\n"]),
    "crlf": ([b"data: 1\r\n\r\ndata: 2\r\n\r\n", DONE], ["data: 1\r\n\r\n", "data: 2\r\n\r\n"]),
    "cr": ([b"data: 1\r\rdata: 2\r\r", DONE], ["data: 1\r\r", "data: 2\r\r"]),
    "crlf_cut": (
        [b"data: 1\r", b"\n\r", b"\ndata: 2\r\n\r\n", DONE],
        ["data: 1\r\n\r\n", "data: 2\r\n\r\n"],
    ),
    "bom": ([b"\xef\xbb\xbfdata: 1\n\n", DONE], ["\ufeffdata: 1\n\n"]),
    "comment": ([b": ping\n\n", b"data: 1\n\n", DONE], [": ping\n\n", "data: 1\n\n"]),
    "multi_line": ([b"event: x\ndata: 1\ndata: 2\nid: 7\n\n", DONE], None),
    "split_utf8": (["data: é—😀\n\n".encode()[:7], "data: é—😀\n\n".encode()[7:], DONE], None),
    "u2028": (["data: a\u2028b\u2029c\x0b\x85d\n\n".encode(), DONE], None),
    "odd_bytes": ([b"data: \xff\xfe\n\n", DONE], None),
    "empty_blocks": ([b"\n\n\n", b"data: 1\n\n\n\n", DONE], None),
}


@pytest.mark.parametrize("name", STREAMS)
def test_r28_events_in_the_trace_follow_the_standard(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], name: str
) -> None:
    pieces, expected = STREAMS[name]
    upstream.script(case, *steps.stream(pieces, gap_s=0.01))
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert answer.body == b"".join(pieces)
    trace = tap.trace(case)
    raws = [event["raw"] for event in trace["stream"]["events"]]
    if name != "odd_bytes":
        assert "".join(raws).encode() == b"".join(pieces)
    if expected is not None:
        assert raws == [*expected, DONE.decode()]
    assert trace["stream"]["terminal"] is True
    assert trace["termination"]["cause"] == "ok"


def test_r29_last_event_without_its_blank_line_is_kept_and_marked(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    pieces = [*bodies.chat_events(done=False), b"data: unfin"]
    upstream.script(case, *steps.stream(pieces))
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert answer.body == b"".join(pieces)
    trace = tap.trace(case)
    last = trace["stream"]["events"][-1]
    assert last["raw"] == "data: unfin"
    assert {k: v for k, v in last.items() if k not in ("t", "raw")}, "it is not marked"
    assert trace["termination"]["cause"] == "upstream_eof"


def test_r34_client_that_does_not_read_throttles_the_upstream(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    tap.call("GET", "/v1/models")
    sent = [0]
    piece = b"data: " + b"x" * 65530 + b"\n\n"

    def pump(connection: steps.Connection) -> None:
        for _ in range(1000):
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            sent[0] += len(piece)

    upstream.script(case, *steps.stream([], end=pump), steps.end_chunks())
    before = tap.memory_kb()
    with Client(tap.address, timeout=20, receive_buffer=65536) as client:
        client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
        client.answer_head()
        time.sleep(0.7)
        first = sent[0]
        time.sleep(0.3)
        assert sent[0] == first, "the upstream still sends though the client does not read"
        assert first < 24 << 20
        held = tap.memory_kb() - before
        assert held < 24_000, f"{held} kB more for one slow client"
        total = 0
        while data := client.wire.chunk():
            total += len(data)
    assert total == 1000 * len(piece)
    assert tap.trace(case, timeout=10)["response"]["body"]["wire_bytes"] == total


def test_r35_client_stalled_past_the_limit_is_let_go(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(config=settings(upstream.url, timeouts={"client_write_s": 0.5}, quiet=True))
    upstream.script(
        case,
        *steps.stream([], end=steps.write_until_closed(b"8000\r\n" + bytes(32768) + b"\r\n", 0)),
    )
    with Client(tap.address, receive_buffer=4096) as client:
        client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
        upstream.ended(case, timeout=4)
        trace = tap.trace(case, timeout=10)
    assert trace["termination"]["cause"] in ("timeout", "client_disconnected")
    assert trace["termination"]["phase"] == "body"


@pytest.mark.parametrize("status", [401, 413])
@pytest.mark.parametrize("closes", [True, False])
def test_r37_early_answer_during_an_upload_is_delivered(
    upstream: Upstream, tap: LLMTap, case: str, status: int, closes: bool
) -> None:
    body = b'{"error":{"message":"early"}}'
    early = steps.head(status, steps.JSON_TYPE, (b"Content-Length", b"%d" % len(body))) + body
    end = steps.fin() if closes else steps.read(15_000_000 - 1000)
    upstream.script(case, steps.read(1000), steps.send(early), end)
    head = f"POST /v1/files?{case} HTTP/1.1\r\nHost: a\r\nContent-Length: 15000000\r\n\r\n".encode()
    with Client(tap.address, timeout=5) as client:
        pump = threading.Thread(target=client.send_what_it_takes, args=(head + bytes(15_000_000),))
        pump.start()
        answer = client.answer()
        assert (answer.status, answer.body) == (status, body)
        pump.join(5)
        if client.wire.ended_within(0.3) is None:  # it took the whole upload: then it serves on
            client.wire.sock.settimeout(3)
            client.request("GET", "/v1/next")
            assert client.answer().status == 200
    trace = tap.trace(case)
    assert trace["summary"]["status"] == status
    assert trace["termination"]["cause"] == "upstream_error"


def test_r36_upload_to_an_upstream_that_reads_slowly_is_held_back(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    go = threading.Event()
    upstream.script(case, steps.wait(go), steps.read_body(keep=False), *steps.reply())
    before, sent = tap.memory_kb(), 0
    with Client(tap.address, timeout=0.4) as client:
        client.send(
            f"POST /v1/x?{case} HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n".encode()
        )
        try:
            while sent < 50_000_000:
                sent += client.wire.sock.send(bytes(min(65536, 50_000_000 - sent)))
        except TimeoutError:
            pass
        assert sent < 24_000_000, "the proxy took it all though the upstream took nothing"
        assert tap.memory_kb() - before < 24_000
        go.set()
        client.wire.sock.settimeout(20)
        client.send(bytes(50_000_000 - sent))
        assert client.answer().status == 200
    assert upstream.request(case).body_bytes == 50_000_000


def test_r48_client_that_half_closes_after_its_request(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    """Either it is served, or it is taken for gone; never a hang, never a lie in the trace."""
    upstream.script(case, steps.read_body(), steps.pause(0.1), *steps.reply(200, b"{}"))
    with Client(tap.address, timeout=3) as client:
        client.request("POST", CHAT, tagged, bodies.chat_request(case))
        client.half_close()
        client.wire.ended_within(2)
        status = status_of(bytes(client.wire.buffer))
    cause = tap.trace(case)["termination"]["cause"]
    assert (status, cause) in ((200, "ok"), (0, "client_disconnected"))


def test_slow_request_bytes_one_by_one(upstream: Upstream, tap: LLMTap, case: str) -> None:
    data = f"POST {CHAT}?{case} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    with Client(tap.address) as client:
        for n in range(len(data)):
            client.send(data[n : n + 1])
        assert client.answer().status == 200
    assert bytes(upstream.request(case).body) == b"{}"


def test_connection_close_of_the_client_is_obeyed(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    head = f"GET /v1/x?{case} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    answer, how = raw_call(tap.address, head)
    assert status_of(answer) == 200
    assert how == "fin"


def test_http_1_0_client_gets_no_chunks(upstream: Upstream, tap: LLMTap, case: str) -> None:
    upstream.script(case, *steps.stream([b"one", b"two"]))
    head = f"GET /v1/x?{case} HTTP/1.0\r\nHost: a\r\n\r\n".encode()
    answer, how = raw_call(tap.address, head)
    assert status_of(answer) == 200
    assert answer.partition(b"\r\n\r\n")[2] == b"onetwo"
    assert b"transfer-encoding" not in answer.partition(b"\r\n\r\n")[0].lower()
    assert how == "fin"
