"""The server's protocol, fed bytes: no sockets, the gateway behind it with one layer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from src.proxy.bodies import HIGH_WATER, ResponseBody
from src.proxy.errors import BodyError
from src.proxy.exchange import Cause, Exchange, Response
from src.proxy.server.connection import NEVER, Reading

from .kit import Header, Served, Source, request, serve, streamed, turns

LATER = 1e6  # seconds, when every deadline has passed


async def hello(exchange: Exchange) -> Response:
    return Response(200, [(b"X", b"1")], b"hello")


async def echo(exchange: Exchange) -> Response:
    body = await exchange.read_body()
    return Response(200, [(b"X-Path", exchange.path)], body or b"empty")


class Streams:
    """Answers each exchange with a stream that the test feeds."""

    def __init__(self, status: int = 200, *headers: Header) -> None:
        self.status = status
        self.headers = list(headers)
        self.bodies: list[ResponseBody] = []
        self.sources: list[Source] = []
        self.exchanges: list[Exchange] = []

    async def __call__(self, exchange: Exchange) -> Response:
        self.exchanges.append(exchange)
        self.sources.append(Source())
        self.bodies.append(ResponseBody(self.sources[-1]))
        exchange.upstream_body = self.bodies[-1]
        return Response(self.status, list(self.headers), self.bodies[-1])


def head_of(sent: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status line, headers by lower-case name, the rest."""
    head, _, rest = sent.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return first, {n.lower(): v for n, _, v in (line.partition(b": ") for line in lines)}, rest


def statuses(sent: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", sent)]


def no_leaks(served: Served) -> None:
    assert not served.gateway.in_flight
    assert not served.state.connections
    assert not served.sweeper._watched


async def test_every_layer_of_a_connection_has_slots() -> None:
    """One without gives each connection a dictionary of more names than share their keys."""
    protocol, _ = serve(hello).connect()
    assert not hasattr(protocol, "__dict__")


# --- the framing of answers ---


async def test_answer_and_keep_alive():
    served = serve(hello)
    protocol, wire = served.connect()
    for _ in range(3):
        protocol.data_received(request())
        await turns()
    first, headers, _ = head_of(wire.sent)
    assert first == b"HTTP/1.1 200 OK"
    assert headers[b"content-length"] == b"5"
    assert len(headers[b"x-llmtap-id"]) == 26
    assert b"connection" not in headers
    assert wire.sent.count(b"hello") == 3
    assert len(wire.writes) == 3, "head and body go out in one write"
    assert not wire.closed
    wire.lose()
    no_leaks(served)


FRAMING = [
    # request line version, method, upstream status and headers -> framing, close
    ("1.1", "GET", 200, [(b"Content-Length", b"2")], {b"content-length": b"2"}, b"ab", False),
    ("1.1", "GET", 200, [], {b"transfer-encoding": b"chunked"}, b"2\r\nab\r\n0\r\n\r\n", False),
    ("1.0", "GET", 200, [], {b"connection": b"close"}, b"ab", True),
    (
        "1.0",
        "GET",
        200,
        [(b"Content-Length", b"2")],
        {b"content-length": b"2", b"connection": b"close"},
        b"ab",
        True,
    ),
    ("1.1", "HEAD", 200, [(b"Content-Length", b"9")], {b"content-length": b"9"}, b"", False),
    ("1.1", "HEAD", 200, [], {}, b"", False),
    ("1.1", "GET", 204, [], {}, b"", False),
    ("1.1", "GET", 304, [(b"Content-Length", b"9")], {b"content-length": b"9"}, b"", False),
    (
        "1.1",
        "GET",
        200,
        [(b"Transfer-Encoding", b"chunked"), (b"Connection", b"X-Hop"), (b"X-Hop", b"1")],
        {b"transfer-encoding": b"chunked"},
        b"2\r\nab\r\n0\r\n\r\n",
        False,
    ),
]


@pytest.mark.parametrize(
    ("version", "method", "status", "given", "framing", "body", "closes"), FRAMING
)
async def test_answers_framing_follows_the_request(
    version: str,
    method: str,
    status: int,
    given: list[Header],
    framing: dict[bytes, bytes],
    body: bytes,
    closes: bool,
):
    """Reliability 13, 19."""
    streams = Streams(status, *given)
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request(method, version=version))
    await turns()
    if body:
        streams.bodies[0].feed(b"ab")
    streams.bodies[0].finish()
    await turns()
    _, headers, rest = head_of(wire.sent)
    del headers[b"x-llmtap-id"]
    assert headers == framing
    assert rest == body
    assert wire.closed is closes


async def test_refusal_of_a_head_request_has_no_body():
    async def refuses(exchange: Exchange) -> Response:
        return exchange.refuse(403, "no", "not you")

    protocol, wire = serve(refuses).connect()
    protocol.data_received(request("HEAD"))
    await turns()
    _, headers, rest = head_of(wire.sent)
    assert int(headers[b"content-length"]) > 0
    assert rest == b""


async def test_head_goes_out_before_the_first_piece_and_each_piece_as_it_comes():
    """Reliability 26, 27."""
    streams = Streams()
    protocol, wire = serve(streams).connect()
    protocol.data_received(request())
    await turns()
    assert len(wire.writes) == 1
    streams.bodies[0].feed(b"one")
    assert wire.writes[1:] == [b"3\r\none\r\n"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_cut_answer_has_no_clean_end(version: str):
    """Reliability 56: a body that ends with the connection is told from a whole one by a reset."""
    streams = Streams()
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request(version=version))
    await turns()
    streams.bodies[0].feed(b"part")
    streams.bodies[0].finish(BodyError("upstream_reset", "broken"))
    await turns()
    assert b"0\r\n\r\n" not in wire.sent
    assert wire.closed
    assert wire.aborted is (version == "1.0")
    assert served.finished[0].cause is Cause.UPSTREAM_RESET
    no_leaks(served)


async def test_own_answer_needs_no_gateway_and_keeps_the_connection():
    served = serve(hello, in_flight=0)
    protocol, wire = served.connect()
    protocol.data_received(request("GET", "/health?x=1") * 2)
    await turns()
    assert statuses(wire.sent) == [200, 200]
    assert wire.sent.count(b'{"status":"ok"}') == 2
    assert served.gateway.accepted == 0
    protocol.data_received(request("HEAD", "/health"))
    await turns()
    assert wire.sent.count(b'{"status":"ok"}') == 2
    protocol.data_received(request("POST", "/health"))
    await turns()
    assert served.gateway.accepted == 1


# --- what is no request ---

TE = b"Transfer-Encoding: "
CL = b"Content-Length: "
BAD_HEADS = {
    "length and chunked": request("POST", "/", TE + b"chunked", body=b"x"),
    "two lengths": request("POST", "/", CL + b"1", body=b"x"),
    "length with a sign": request("POST", "/", CL + b"+1"),
    "length in hex": request("POST", "/", CL + b"0x1"),
    "length of 23 digits": request("POST", "/", CL + b"1" * 23),
    "length empty": request("POST", "/", CL),
    "comma chunked": request("POST", "/", TE + b",chunked"),
    "gzip, chunked": request("POST", "/", TE + b"gzip, chunked"),
    "chunked twice": request("POST", "/", TE + b"chunked", TE + b"chunked"),
    "chunked in 1.0": request("POST", "/", TE + b"chunked", version="1.0"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": request("GET", "/", b"Host: b"),
    "connect": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/0.9": b"GET /\r\n\r\n",
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "space before the colon": request("GET", "/", b"A : b"),
    "fold": request("GET", "/", b"A: b\r\n c"),
    "nul": request("GET", "/", b"A: \0"),
    "underscores": request("GET", "/", b"X_Api_Key: a"),
    "lower case underscores": request("GET", "/", b"x_goog_api_key: a"),
}


@pytest.mark.parametrize("name", BAD_HEADS)
@pytest.mark.parametrize("cut", [False, True], ids=["at once", "byte by byte"])
async def test_what_is_no_request_is_400_once_and_the_connection_ends(name: str, cut: bool):
    """Reliability 1-9."""
    served = serve(hello)
    protocol, wire = served.connect()
    data = BAD_HEADS[name]
    for piece in [data[i : i + 1] for i in range(len(data))] if cut else [data]:
        protocol.data_received(piece)
    protocol.data_received(request("GET", "/smuggled"))
    await turns()
    assert statuses(wire.sent) == [400]
    assert wire.ended
    assert served.gateway.accepted == 0
    protocol.expire(LATER)
    await turns()
    assert wire.lost
    no_leaks(served)


LIMITS: dict[str, Any] = {"header_bytes": 1000, "header_count": 10, "url_bytes": 300}
TOO_LARGE = {
    "one header": (431, [request("GET", "/", b"A: " + b"a" * 1000)]),
    "headers in all": (431, [request("GET", "/", *[b"A: " + b"a" * 200] * 6)]),
    "number": (431, [request("GET", "/", *[b"A: b"] * 11)]),
    "unfinished": (431, [b"GET / HTTP/1.1\r\nA: ", b"a" * 500, b"a" * 500]),
    "target": (414, [request("GET", "/" + "a" * 300)]),
    "second in a read": (
        431,
        [request("GET", "/health") + request("GET", "/", b"A: " + b"a" * 999)],
    ),
}


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_head_over_a_limit_is_refused_however_it_is_cut(name: str):
    """Reliability 115."""
    status, pieces = TOO_LARGE[name]
    served = serve(hello, **LIMITS)
    protocol, wire = served.connect()
    for piece in pieces:
        protocol.data_received(piece)
    await turns()
    if name == "second in a read":  # what was asked first is answered, then the connection ends
        assert statuses(wire.sent) == [200]
        assert wire.closed
    else:
        assert statuses(wire.sent) == [status]
    assert served.gateway.accepted == 0


async def test_head_within_the_limits_is_not_counted_with_what_lies_beside_it():
    served = serve(echo, **LIMITS)
    protocol, wire = served.connect()
    large = request(body=b"x" * 5000)
    protocol.data_received(large + request("GET", "/second", b"A: " + b"a" * 500)[:-2])
    protocol.data_received(b"\r\n")
    await turns(20)
    assert statuses(wire.sent) == [200, 200]


async def test_what_comes_on_a_connection_too_many_is_refused():
    served = serve(hello, connections=1)
    served.connect()
    protocol, wire = served.connect()
    protocol.data_received(request())
    await turns()
    assert served.finished[0].refusal == (503, "overloaded", "1 connections are open")
    assert wire.closed
    assert len(served.state.connections) == 1


@pytest.mark.parametrize("connections", [1, 2])
async def test_health_is_exempt_from_the_limit_of_connections(connections: int):
    served = serve(hello, connections=1)
    for _ in range(connections):
        served.connect()
    protocol, wire = served.connect()
    protocol.data_received(request("GET", "/health"))
    await turns()
    assert statuses(wire.sent) == [200]
    assert wire.closed
    assert not served.finished


async def test_far_too_many_connections_are_refused_and_do_not_stay():
    served = serve(hello, connections=1)
    for _ in range(101):
        served.connect()
    protocol, wire = served.connect()
    assert statuses(wire.sent) == [503]
    assert head_of(wire.sent)[1][b"retry-after"] == b"1"
    assert len(served.state.connections) == 101
    assert served.server_counts.refused == 1
    protocol.expire(LATER)
    await turns()
    assert wire.lost
    assert len(served.sweeper._watched) == 101
    assert served.server_counts.connections == 101


# --- uploads ---


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


BAD_CHUNKS = [
    b"0x1\r\nx\r\n",
    b"1\nx\r\n",
    b"1\r\nxy\r\n",
    b"1" * 19 + b"\r\n",
    b"-1\r\nx\r\n",
    b"g\r\n",
]


@pytest.mark.parametrize("chunk", BAD_CHUNKS)
@pytest.mark.parametrize("when", ["at once", "while it is read", "while it is answered"])
async def test_malformed_chunk_ends_its_request_at_once(chunk: bytes, when: str):
    """Reliability 4."""
    streams = Streams()
    served = serve(streams if when == "while it is answered" else echo)
    protocol, wire = served.connect()
    head = request("POST", "/", TE + b"chunked")
    if when == "at once":
        protocol.data_received(head + chunk + chunked() + request("GET", "/smuggled"))
    else:
        protocol.data_received(head)
        await turns()
        protocol.data_received(chunk + chunked())
    await turns()
    if when == "while it is answered":
        assert served.gateway.in_flight
        streams.bodies[0].finish()
        await turns()
    else:
        assert statuses(wire.sent) == [400]
        assert served.finished[0].cause is Cause.REJECTED
    assert not served.gateway.in_flight
    assert len(served.finished) == 1
    protocol.expire(LATER)
    await turns()
    assert wire.lost
    no_leaks(served)


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_body_over_the_limit_is_413_and_its_rest_is_thrown_away(framing: str):
    """Reliability 37, 116."""
    served = serve(echo, body_bytes=100)
    protocol, wire = served.connect()
    if framing == "length":
        protocol.data_received(request("POST", "/", CL + b"101", b"Expect: 100-continue"))
        await turns()
        assert statuses(wire.sent) == [413], "refused by what is announced, nothing is read"
    else:
        protocol.data_received(request("POST", "/", TE + b"chunked"))
        protocol.data_received(b"ff\r\n" + b"x" * 101)
    await turns()
    assert statuses(wire.sent) == [413]
    assert b"connection: close" in wire.sent
    assert wire.ended
    assert not wire.closed, "a reset would overtake the answer while the client still sends"
    protocol.data_received(b"x" * 50 + request("GET", "/smuggled"))
    await turns()
    assert len(served.finished) == 1
    assert served.finished[0].body.size <= 101
    protocol.expire(LATER)
    await turns()
    assert wire.lost
    no_leaks(served)


async def test_trailers_reach_nobody():
    """Reliability 5."""
    served = serve(echo)
    protocol, wire = served.connect()
    data = request("POST", "/", TE + b"chunked") + b"1\r\nx\r\n0\r\nAuthorization: evil\r\n\r\n"
    protocol.data_received(data[:70])
    protocol.data_received(data[70:])
    await turns()
    assert statuses(wire.sent) == [200]
    assert not any(b"evil" in value for _, value in served.finished[0].headers)
    protocol.data_received(request())
    await turns()
    assert statuses(wire.sent) == [200, 200]


@pytest.mark.parametrize("piece", [b"a" * 400, b"A: b\r\n" * 60], ids=["one", "many"])
async def test_endless_trailers_end(piece: bytes):
    served = serve(echo, header_bytes=1000)
    protocol, wire = served.connect()
    protocol.data_received(request("POST", "/", TE + b"chunked") + b"1\r\nx\r\n0\r\n")
    for _ in range(10):
        protocol.data_received(piece)
    await turns()
    assert statuses(wire.sent) == [400]
    assert served.finished


async def test_large_body_in_small_pieces_is_no_endless_trailer():
    served = serve(echo, header_bytes=100)
    protocol, wire = served.connect()
    protocol.data_received(request("POST", "/", TE + b"chunked"))
    for _ in range(100):
        protocol.data_received(b"a;ext=1\r\n0123456789\r\n")
    protocol.data_received(b"0\r\n\r\n")
    await turns()
    assert statuses(wire.sent) == [200]


async def test_client_is_asked_for_its_body_when_it_is_wanted_and_only_then():
    served = serve(echo)
    protocol, wire = served.connect()
    protocol.data_received(request("POST", "/", CL + b"2", b"Expect: 100-continue"))
    assert wire.sent == b""
    await turns()
    assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    protocol.data_received(b"ab")
    await turns()
    assert statuses(wire.sent) == [100, 200]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_refused_request_is_not_asked_for_its_body(version: str):
    """Reliability 22."""

    async def refuses(exchange: Exchange) -> Response:
        return exchange.refuse(401, "no_key", "who are you")

    protocol, wire = serve(refuses if version == "1.1" else echo).connect()
    head = request("POST", "/", CL + b"2", b"Expect: 100-continue", version=version)
    protocol.data_received(head)
    await turns()
    if version == "1.0":  # RFC 9110 10.1.1: it would not understand
        assert wire.sent == b""
    else:
        assert statuses(wire.sent) == [401]


async def test_early_answer_to_an_upload_is_delivered_before_the_connection_ends():
    """Reliability 37."""
    streams = Streams(401, (b"content-length", b"2"))
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request("POST", "/", CL + b"100000"))
    protocol.data_received(b"x" * (HIGH_WATER + 1))
    assert not wire.reading
    await turns()
    streams.bodies[0].feed(b"no")
    streams.bodies[0].finish()
    await turns()
    assert wire.sent.endswith(b"\r\n\r\nno")
    assert b"connection: close" in wire.sent
    assert wire.ended
    assert wire.reading, "what still comes is read and dropped"
    assert not wire.closed
    protocol.data_received(b"x" * 10)
    wire.lose()
    no_leaks(served)


async def test_upload_that_stalls_is_408():
    served = serve(echo)
    protocol, wire = served.connect()
    protocol.data_received(request("POST", "/", CL + b"10") + b"abc")
    await turns()
    assert protocol.deadline < monotonic() + 61
    protocol.expire(LATER)
    await turns()
    assert statuses(wire.sent) == [408]
    assert served.finished[0].cause is Cause.TIMEOUT


async def test_upload_that_drips_is_408_at_the_same_deadline():
    """Reliability 115: a byte now and then is no progress."""
    served = serve(echo, body_s=1.0)
    protocol, wire = served.connect()
    protocol.data_received(request("POST", "/", CL + b"10000"))
    deadline = protocol.deadline
    for _ in range(100):
        protocol.data_received(b"x")
    assert protocol.deadline == deadline
    protocol.expire(deadline)
    await turns()
    assert statuses(wire.sent) == [408]
    assert served.server_counts.slow == 1


async def test_upload_that_is_slow_yet_moves_gets_its_time():
    served = serve(echo, body_s=1.0)
    protocol, wire = served.connect()
    protocol.data_received(request("POST", "/", CL + b"480"))
    deadline = protocol.deadline
    protocol.data_received(b"x" * 239)
    assert protocol.deadline == deadline
    protocol.data_received(b"x")
    assert protocol.deadline > deadline
    protocol.data_received(b"x" * 240)
    await turns()
    assert statuses(wire.sent) == [200]


async def test_who_never_asks_or_never_ends_its_head_is_counted_as_slow():
    served = serve(hello)
    for data in (b"", b"GET / HT"):
        protocol, _ = served.connect()
        if data:
            protocol.data_received(data)
        protocol.expire(LATER)
    asked, _ = served.connect()
    asked.data_received(request())
    await turns()
    asked.expire(LATER)
    await turns()
    assert (served.server_counts.slow, served.server_counts.refused) == (2, 0)


async def test_upload_that_waits_for_the_upstream_is_no_stall():
    async def slow(exchange: Exchange) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    served = serve(slow)
    protocol, wire = served.connect()
    protocol.data_received(request("POST", "/", CL + b"1000000"))
    protocol.data_received(b"x" * (HIGH_WATER + 1))
    assert not wire.reading
    now = monotonic()
    protocol.expire(now)
    assert protocol.deadline == now + 60
    assert not wire.sent
    wire.lose()
    await turns()
    no_leaks(served)


# --- one connection, several requests ---


async def test_pipelined_requests_are_answered_in_order_one_at_a_time():
    streams = Streams(200, (b"content-length", b"1"))
    served = serve(streams)
    protocol, wire = served.connect()
    data = b"".join(request("POST", f"/{n}", body=b"ab") for n in range(3))
    for byte in data:
        protocol.data_received(bytes([byte]))
    await turns()
    for n in range(3):
        assert [e.path for e in streams.exchanges] == [b"/%d" % i for i in range(n + 1)]
        assert streams.exchanges[n].t_request_body is not None
        streams.bodies[n].feed(b"%d" % n)
        streams.bodies[n].finish()
        await turns()
    assert [part[-1:] for part in wire.sent.split(b"HTTP/1.1")[1:]] == [b"0", b"1", b"2"]


async def test_malformed_second_request_lets_the_first_be_answered_and_ends():
    streams = Streams(200, (b"content-length", b"1"))
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request())
    protocol.data_received(b"GARBAGE\r\n\r\n" + request())
    await turns()
    assert 400 not in statuses(wire.sent)
    assert not wire.closed
    streams.bodies[0].feed(b"1")
    streams.bodies[0].finish()
    await turns()
    assert statuses(wire.sent) == [200]
    assert wire.lost
    no_leaks(served)


async def test_malformed_upload_of_the_next_request_does_not_cut_the_stream_before_it():
    streams = Streams()
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request() + request("POST", "/two", TE + b"chunked") + b"1\r\nx")
    await turns()
    protocol.data_received(b"not the end of a chunk")
    assert protocol.deadline == NEVER, "no deadline of what is not read any more"
    streams.bodies[0].feed(b"1")
    streams.bodies[0].finish()
    await turns()
    assert wire.sent.endswith(b"1\r\n1\r\n0\r\n\r\n")
    assert statuses(wire.sent) == [200]
    assert wire.lost
    no_leaks(served)


@pytest.mark.parametrize("stray", [b"\r\n", b"GET /next HT"], ids=["crlf", "half a head"])
async def test_bytes_behind_a_request_do_not_cut_its_stream(stray: bytes):
    streams = Streams()
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request() + stray)
    protocol.data_received(stray[:0] or b"" if stray == b"\r\n" else b"TP")
    await turns()
    assert protocol.deadline == NEVER
    streams.bodies[0].feed(b"1")
    streams.bodies[0].finish()
    await turns()
    assert wire.sent.endswith(b"0\r\n\r\n")
    assert protocol.deadline <= monotonic() + 10, "now the rest of that head is due"
    protocol.expire(LATER)
    await turns()
    assert statuses(wire.sent) == [200, 408]


async def test_stalled_upload_of_the_next_request_does_not_cut_the_stream_before_it():
    streams = Streams()
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request() + request("POST", "/two", CL + b"10") + b"abc")
    await turns()
    protocol.expire(LATER)
    await turns()
    assert not wire.closed
    streams.bodies[0].finish()
    await turns()
    assert len(streams.exchanges) == 2
    assert streams.exchanges[1].body.error is not None


async def test_pipelining_without_end_is_bounded():
    streams = Streams()
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request("GET") * 20)
    assert not wire.reading
    for n in range(3):  # each answer takes one from the queue, which is still long
        await turns()
        streams.bodies[n].finish()
        await turns()
        assert not wire.reading
        assert len(protocol._queue) == 18 - n
    wire.lose()
    await turns()
    no_leaks(served)


async def test_connection_close_of_the_client_is_obeyed():
    served = serve(hello)
    protocol, wire = served.connect()
    protocol.data_received(request("GET", "/", b"Connection: close"))
    await turns()
    assert b"connection: close" in wire.sent
    assert wire.lost
    no_leaks(served)


async def test_idle_connection_ends_at_its_deadline():
    served = serve(hello)
    protocol, wire = served.connect()
    assert protocol.deadline <= monotonic() + 10
    protocol.data_received(request())
    await turns()
    assert monotonic() + 70 < protocol.deadline <= monotonic() + 75
    protocol.expire(LATER)
    await turns()
    assert wire.lost
    no_leaks(served)


async def test_slow_head_is_408():
    served = serve(hello)
    protocol, wire = served.connect()
    protocol.data_received(b"GET / HTTP/1.1\r\n")
    due = protocol.deadline
    protocol.data_received(b"A: b\r\n")
    assert protocol.deadline == due, "more of it does not move its deadline"
    protocol.expire(LATER)
    await turns()
    assert statuses(wire.sent) == [408]


# --- clients that leave or do not read ---


async def waits(exchange: Exchange) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def reads(exchange: Exchange) -> Response:
    await exchange.read_body()
    return await waits(exchange)


@pytest.mark.parametrize("layer", [waits, reads], ids=["waiting", "reading the body"])
@pytest.mark.parametrize("part", [b"", b"abc", b"abcdefghij"])
@pytest.mark.parametrize("before_the_first_step", [False, True])
async def test_client_that_leaves_before_the_answer(
    layer: Callable[[Exchange], Any], part: bytes, before_the_first_step: bool
):
    """Reliability 42-44."""
    served = serve(layer)
    protocol, wire = served.connect()
    protocol.data_received(request("POST", "/", CL + b"10") + part)
    if not before_the_first_step:
        await turns()
    wire.lose()
    await turns()
    assert [e.cause for e in served.finished] == [Cause.CLIENT_DISCONNECTED]
    assert served.finished[0].status is None
    no_leaks(served)


async def test_client_with_a_large_body_is_heard_leaving_while_it_waits():
    """Reliability 43."""
    served = serve(waits, body_bytes=1 << 30)
    protocol, wire = served.connect()
    protocol.data_received(request(body=b"x" * 200_000))
    await turns()
    assert wire.reading, "else its FIN would not be seen"
    wire.lose()
    await turns()
    no_leaks(served)


async def test_client_that_leaves_mid_stream_lets_the_upstream_go():
    """Reliability 41."""
    streams = Streams()
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request())
    await turns()
    streams.bodies[0].feed(b"1")
    wire.lose(ConnectionResetError())
    await turns()
    assert streams.sources[0].aborted
    assert served.finished[0].cause is Cause.CLIENT_DISCONNECTED
    assert served.finished[0].status == 200
    no_leaks(served)


async def test_client_that_leaves_with_requests_queued_leaves_nothing():
    streams = Streams()
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request() * 3)
    await turns()
    wire.lose()
    await turns()
    assert len(served.finished) == 1
    no_leaks(served)


async def test_slow_client_slows_the_upstream_and_is_let_go_when_it_stalls():
    """Reliability 34, 35."""
    streams = Streams()
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request())
    await turns()
    streams.bodies[0].feed(b"1")
    protocol.pause_writing()
    assert not streams.sources[0].reading
    assert protocol.deadline <= monotonic() + 60
    protocol.resume_writing()
    assert streams.sources[0].reading
    assert protocol.deadline == NEVER
    protocol.pause_writing()
    protocol.expire(LATER)
    await turns()
    assert wire.aborted
    assert served.finished[0].cause is Cause.CLIENT_DISCONNECTED
    assert "read nothing" in (served.finished[0].detail or "")
    assert streams.sources[0].aborted
    no_leaks(served)


@pytest.mark.parametrize(
    "more", [b"\r\n", b"GARBAGE\r\n\r\n", request(), request("POST", "/", CL + b"10") + b"abc"]
)
async def test_client_cannot_put_off_its_write_deadline_by_sending_more(more: bytes):
    streams = Streams()
    served = serve(streams)
    protocol, _ = served.connect()
    protocol.data_received(request())
    await turns()
    protocol.pause_writing()
    due = protocol.deadline
    protocol.data_received(more)
    assert protocol.deadline == due


async def test_stream_begun_to_a_client_that_is_slow_already_is_held_back():
    streams = Streams()
    protocol, _ = serve(streams).connect()
    protocol.data_received(request())
    protocol.pause_writing()  # the answer before this one is still in the buffer
    await turns()
    assert not streams.sources[0].reading
    protocol.resume_writing()
    assert streams.sources[0].reading


async def test_client_that_is_slow_from_the_first_piece_holds_the_upstream_back():
    source = Source()

    async def answers(_: Exchange) -> Response:
        return Response(200, [], streamed(source, b"x" * 100_000))

    protocol, wire = serve(answers).connect()
    real = wire.write

    def fills(data: bytes) -> None:
        real(data)
        protocol.pause_writing()  # as asyncio does, from within the write

    wire.write = fills  # type: ignore[method-assign]
    protocol.data_received(request())
    await turns()
    assert wire.sent.count(b"x" * 100_000) == 1
    assert not source.reading
    protocol.resume_writing()
    assert source.reading


@pytest.mark.parametrize("how", ["connection: close", "cut", "linger"])
async def test_client_that_never_takes_the_rest_cannot_keep_a_closing_connection(how: str):
    streams = Streams(200, (b"content-length", b"1"))
    served = serve(streams)
    protocol, wire = served.connect()
    wire.stuck = True
    if how == "linger":
        protocol.data_received(b"no http\r\n\r\n")
    else:
        protocol.data_received(request("GET", "/", b"Connection: close"))
        await turns()
        if how == "connection: close":
            streams.bodies[0].feed(b"1")
        streams.bodies[0].finish(BodyError("upstream_eof", "x") if how == "cut" else None)
        await turns()
    assert protocol.deadline < NEVER
    protocol.expire(LATER)
    protocol.expire(LATER)
    await turns()
    assert wire.aborted
    no_leaks(served)


# --- stopping ---


async def test_shutdown_closes_idle_connections_and_lets_answers_end():
    streams = Streams(200, (b"content-length", b"1"))
    served = serve(streams)
    idle, idle_wire = served.connect()
    busy, busy_wire = served.connect()
    busy.data_received(request())
    await turns()
    idle.shutdown()
    busy.shutdown()
    await turns()
    assert not idle_wire.lost, "its first request may be on its way"
    assert idle.deadline <= monotonic() + 0.25
    idle.expire(idle.deadline)
    await turns()
    assert idle_wire.lost
    assert not busy_wire.closed
    assert not served.gateway.ready
    streams.bodies[0].feed(b"1")
    streams.bodies[0].finish()
    await turns()
    assert busy_wire.lost
    assert served.finished[0].cause is Cause.OK
    no_leaks(served)


async def test_shutdown_serves_who_has_just_connected_and_closes_who_was_served():
    streams = Streams(200, (b"content-length", b"1"))
    served = serve(streams)
    fresh, fresh_wire = served.connect()
    fresh.shutdown()
    fresh.data_received(request())
    await turns()
    streams.bodies[0].feed(b"1")
    streams.bodies[0].finish()
    await turns()
    assert fresh_wire.sent.startswith(b"HTTP/1.1 200")
    assert fresh_wire.lost
    no_leaks(served)


async def test_drain_cuts_what_is_still_answered():
    streams = Streams()
    served = serve(streams)
    protocol, wire = served.connect()
    protocol.data_received(request() * 2)
    await turns()
    await served.gateway.drain(1)
    await turns()
    assert wire.lost
    assert [e.cause for e in served.finished] == [Cause.SHUTDOWN]
    no_leaks(served)


async def test_answer_that_cannot_be_framed_is_a_500(caplog: pytest.LogCaptureFixture):
    async def nonsense(_: Exchange) -> Response:
        return Response(42, [], streamed())

    protocol, wire = serve(nonsense).connect()
    protocol.data_received(request())
    await turns()
    assert statuses(wire.sent) == [500]
    assert protocol._reading is Reading.IDLE
