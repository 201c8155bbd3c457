"""One upstream connection, fed bytes."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from src.proxy.bodies import HIGH_WATER
from src.proxy.errors import (
    BadResponse,
    BodyError,
    ClientDisconnected,
    HeadersTimeout,
    PayloadTooLarge,
    ProxyError,
    UpstreamClosed,
    UpstreamReset,
)
from src.proxy.exchange import Exchange, Response
from src.proxy.transport.http1 import Connection, State
from tests.proxy.kit import Source, Wire, turns

from .kit import Owner, attempted, connected, out

OK = b"HTTP/1.1 200 OK\r\n"
LEN2 = OK + b"Content-Length: 2\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def asked(
    method: bytes = b"POST", **limits: Any
) -> tuple[Connection, Wire, Owner, asyncio.Future[Response]]:
    """A connection on which a request has been sent."""
    connection, wire, owner = connected(**limits)
    head = connection.start(attempted(method), out(method))
    return connection, wire, owner, head


async def body_of(response: Response) -> bytes:
    assert not isinstance(response.body, bytes)
    got: list[bytes] = []
    await response.body.pipe(got.append)
    return b"".join(got)


# --- the request on the wire ---


async def test_head_and_whole_body_go_out_in_one_write():
    connection, wire, _ = connected()
    exchange = attempted(body=b"ab")
    connection.start(exchange, out(b"POST", None, (b"Content-Length", b"2")))
    assert wire.writes == [b"POST /v1/x HTTP/1.1\r\nHost: up\r\nContent-Length: 2\r\n\r\nab"]
    wire.lose()
    await turns()


async def test_replaced_body_goes_out_in_place_of_the_clients():
    connection, wire, _ = connected()
    connection.start(attempted(body=b"ab"), out(b"POST", b"new"))
    assert wire.sent.endswith(b"\r\n\r\nnew")


async def test_upload_is_framed_as_the_client_framed_it_and_flows_as_it_comes():
    connection, wire, _ = connected()
    exchange = attempted(body=None)
    exchange.body.chunked = True
    exchange.body.feed(b"one")
    connection.start(exchange, out())
    exchange.body.feed(b"three")
    assert wire.sent.endswith(b"\r\n\r\n3\r\none\r\n5\r\nthree\r\n")
    exchange.body.end()
    assert wire.sent.endswith(b"0\r\n\r\n")


async def test_upload_over_the_replay_size_is_not_kept():
    connection, _, _ = connected()
    exchange = attempted(body=b"x" * 100, replay=10)
    connection.start(exchange, out())
    assert exchange.body.discarded
    assert exchange.body.chunks == []


async def test_slow_upstream_slows_the_client():
    """Reliability 36."""
    connection, _, _ = connected()
    source = Source()
    exchange = attempted(body=None, source=source)
    connection.start(exchange, out())
    connection.pause_writing()
    assert not source.reading
    connection.resume_writing()
    assert source.reading


@pytest.mark.parametrize("error", [ClientDisconnected("left"), PayloadTooLarge("large")])
async def test_upload_that_breaks_off_is_not_ended_for_the_upstream(error: ProxyError):
    """Reliability 44."""
    connection, wire, owner = connected()
    exchange = attempted(body=None)
    exchange.body.chunked = True
    head = connection.start(exchange, out())
    exchange.body.feed(b"part")
    exchange.body.fail(error)
    with pytest.raises(type(error)):
        await head
    await turns()
    assert wire.aborted
    assert not wire.sent.endswith(b"0\r\n\r\n")
    assert owner.forgotten == [connection]


# --- the answer ---

ANSWERS = {
    "length": (LEN2 + b"ab", b"ab", True),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", b"", True),
    "chunked": (CHUNKED + b"1\r\na\r\n1;x=y\r\nb\r\n0\r\n\r\n", b"ab", True),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: 9\r\n\r\n", b"a", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "304 with a length": (b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", b"", True),
    "interim": (b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + LEN2 + b"ab", b"ab", True),
    "two interim": (b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + LEN2 + b"ab", b"ab", True),
    "close": (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nab", b"ab", False),
    "http/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", b"ab", False),
    "surplus answer": (LEN2 + b"ab" + LEN2 + b"xx", b"ab", False),
    "surplus garbage": (LEN2 + b"ab" + b"garbage", b"ab", False),
    "surplus after close": (
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nabgarbage",
        b"ab",
        False,
    ),
    "surplus after chunks": (CHUNKED + b"1\r\na\r\n0\r\n\r\nHTTP", b"a", False),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("cut", ["at once", "byte by byte"])
async def test_answer_arrives_whole_and_the_connection_is_reused_only_if_it_is_clean(
    name: str, cut: str
):
    """Reliability 19, 21, 24."""
    data, body, reused = ANSWERS[name]
    connection, wire, owner, head = asked()
    for piece in [data[i : i + 1] for i in range(len(data))] if cut != "at once" else [data]:
        connection.data_received(piece)
    response = await head
    assert response.status in {200, 204, 304}
    assert await body_of(response) == body
    await turns()
    assert not any(value == b"9" for n, value in response.headers if n != b"Content-Length")
    if reused:
        assert owner.given_back == [connection]
        assert connection.state is State.IDLE
    elif cut == "at once":
        assert owner.given_back == []
    if not reused:
        assert wire.closed


@pytest.mark.parametrize("rest", [b"", b"ab", LEN2 + b"ab"])
async def test_answer_to_head_ends_with_its_head(rest: bytes):
    connection, wire, owner, head = asked(b"HEAD")
    connection.data_received(LEN2 + rest)
    response = await head
    assert await body_of(response) == b""
    await turns()
    assert wire.lost
    assert owner.given_back == []


async def test_body_that_ends_with_the_connection_is_whole():
    """Reliability 60."""
    connection, wire, owner, head = asked()
    connection.data_received(OK + b"\r\nab")
    wire.lose()
    assert await body_of(await head) == b"ab"
    assert owner.forgotten == [connection]


BAD_HEADS = {
    "status 99": b"HTTP/1.1 099 X\r\n\r\n",
    "status 000": b"HTTP/1.1 000 X\r\n\r\n",
    "no http": b"ICY 200 OK\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length of letters": OK + b"Content-Length: x\r\n\r\n",
    "coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "header without a colon": OK + b"A b\r\n\r\n",
    "101": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "endless header": OK + b"A: " + b"a" * 2000,
    "endless headers": OK + b"A: b\r\n" * 400,
    "endless interim": b"HTTP/1.1 103 X\r\n\r\n" * 100,
}


@pytest.mark.parametrize("name", BAD_HEADS)
@pytest.mark.parametrize("cut", ["at once", "byte by byte"])
async def test_head_that_cannot_be_trusted_is_a_bad_gateway(name: str, cut: str):
    """Reliability 20, 23, 58."""
    connection, wire, owner, head = asked(head_bytes=1000)
    data = BAD_HEADS[name]
    for piece in [data[i : i + 1] for i in range(len(data))] if cut != "at once" else [data]:
        connection.data_received(piece)
    with pytest.raises(BadResponse) as caught:
        await asyncio.wait_for(head, 1)
    assert caught.value.status == 502
    await turns()
    assert wire.aborted
    assert owner.forgotten == [connection]


@pytest.mark.parametrize("status", [200, 429, 529, 599, 999])
async def test_unusual_statuses_pass_with_their_reason(status: int):
    connection, _, _, head = asked()
    connection.data_received(b"HTTP/1.1 %d My Own Words\r\nContent-Length: 0\r\n\r\n" % status)
    response = await head
    assert (response.status, response.reason) == (status, b"My Own Words")


async def test_headers_keep_order_case_and_repetition():
    connection, _, _, head = asked()
    connection.data_received(OK + b"B: 1\r\na: \xe9\r\nB: 2\r\nContent-Length: 0\r\n\r\n")
    headers = (await head).headers
    assert headers == [(b"B", b"1"), (b"a", b"\xe9"), (b"B", b"2"), (b"Content-Length", b"0")]


BROKEN = {
    "short length": (LEN2 + b"a", None, "upstream_eof"),
    "short chunks": (CHUNKED + b"5\r\na", None, "upstream_eof"),
    "no last chunk": (CHUNKED + b"1\r\na\r\n", None, "upstream_eof"),
    "reset": (LEN2 + b"a", ConnectionResetError("rst"), "upstream_reset"),
    "reset of an open end": (OK + b"\r\na", ConnectionResetError("rst"), "upstream_reset"),
    "bad chunk": (CHUNKED + b"1\r\na\r\nzz\r\n", None, "upstream_reset"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_body_that_breaks_off_is_an_error_after_what_came(name: str):
    """Reliability 56."""
    data, error, cause = BROKEN[name]
    connection, wire, owner, head = asked()
    connection.data_received(data)
    wire.lose(error)
    response = await head
    assert not isinstance(response.body, bytes)
    got: list[bytes] = []
    with pytest.raises(BodyError) as caught:
        await response.body.pipe(got.append)
    assert caught.value.cause == cause
    assert got == [b"a"]
    assert owner.given_back == []


@pytest.mark.parametrize("served", [1, 2])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("error", [None, ConnectionResetError("rst")])
async def test_close_without_an_answer_says_whether_the_connection_was_stale(
    served: int, begun: bool, error: Exception | None
):
    """Reliability 57, 66."""
    connection, wire, _ = connected()
    for _ in range(served - 1):
        connection.start(attempted(), out())
        connection.data_received(LEN2 + b"ab")
    head = connection.start(attempted(), out())
    if begun:
        connection.data_received(b"H")
    wire.lose(error)
    with pytest.raises(UpstreamReset if error else UpstreamClosed) as caught:
        await head
    assert caught.value.stale is (served == 2 and not begun)


async def test_bytes_nobody_asked_for_end_an_idle_connection():
    """Reliability 24."""
    connection, wire, owner = connected()
    connection.data_received(LEN2 + b"xx")
    assert wire.closed
    await turns()
    assert owner.forgotten == [connection]


async def test_connection_serves_one_after_another():
    connection, _, owner, head = asked()
    for n in range(3):
        connection.data_received(CHUNKED + b"1\r\n%d\r\n0\r\n\r\n" % n)
        assert await body_of(await head) == b"%d" % n
        head = connection.start(attempted(), out())
    assert connection.served == 4
    assert len(owner.given_back) == 3
    connection.abort()


async def test_answer_before_the_upload_is_over_costs_the_connection():
    """Reliability 37."""
    connection, wire, owner = connected()
    exchange = attempted(body=None)
    head = connection.start(exchange, out())
    exchange.body.feed(b"part")
    connection.data_received(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
    response = await head
    assert await body_of(response) == b"no"
    assert owner.given_back == []
    assert wire.closed
    writes = len(wire.writes)
    exchange.body.feed(b"more")
    exchange.body.end()
    assert len(wire.writes) == writes


async def test_connection_whose_upload_is_still_being_sent_is_not_reused():
    connection, _, owner, head = asked()
    connection.pause_writing()
    connection.data_received(LEN2 + b"ab")
    await head
    assert owner.given_back == []
    assert connection.state is State.CLOSED


# --- flow and deadlines ---


async def test_answer_that_nobody_takes_pauses_the_upstream():
    """Reliability 34."""
    connection, wire, _, head = asked()
    connection.data_received(OK + b"Content-Length: 1000000\r\n\r\n" + b"x" * (HIGH_WATER + 1))
    assert not wire.reading
    response = await head
    assert not isinstance(response.body, bytes)
    task = asyncio.ensure_future(response.body.pipe(lambda _: None))
    await turns()
    assert wire.reading
    response.body.pause()
    assert not wire.reading
    now = monotonic() + 1e6
    connection.expire(now)
    assert connection.deadline > now, "a client that is slow is no upstream that stalls"
    response.body.resume()
    connection.expire(now)
    with pytest.raises(BodyError) as caught:
        await task
    assert caught.value.cause == "timeout"
    await turns()
    assert wire.aborted


async def test_paused_connection_that_is_given_back_reads_again():
    connection, wire, owner, head = asked()
    connection.data_received(OK + b"Content-Length: 70000\r\n\r\n" + b"x" * (HIGH_WATER + 1))
    await head
    assert not wire.reading
    connection.data_received(b"x" * (70000 - HIGH_WATER - 1))
    assert owner.given_back == [connection]
    assert wire.reading


async def test_no_head_in_time_is_a_timeout():
    """Reliability 53."""
    connection, wire, _, head = asked(headers_s=10.0)
    connection.expire(monotonic() + 11)
    with pytest.raises(HeadersTimeout):
        await head
    await turns()
    assert wire.aborted


async def test_the_wait_for_the_head_begins_when_the_request_is_sent():
    """A client that is slow with its upload is not the upstream's fault."""
    connection, _, _ = connected(headers_s=10.0)
    exchange = attempted(body=None)
    head = connection.start(exchange, out())
    now = monotonic() + 1e6
    connection.expire(now)
    assert connection.deadline > now
    assert not head.done()
    connection.deadline = 0.0
    exchange.body.feed(b"x")
    assert connection.deadline > monotonic()
    connection.deadline = 0.0
    exchange.body.end()
    assert connection.deadline > monotonic()
    connection.expire(monotonic() + 11)
    with pytest.raises(HeadersTimeout):
        await head


async def test_an_upstream_that_takes_no_more_of_an_upload_is_late():
    connection, _, _ = connected(headers_s=10.0)
    exchange = attempted(body=None)
    head = connection.start(exchange, out())
    exchange.body.feed(b"x")
    connection.pause_writing()
    connection.expire(monotonic() + 11)
    with pytest.raises(HeadersTimeout):
        await head


async def test_each_piece_of_an_answer_moves_its_deadline():
    """Reliability 54, 55."""
    connection, _, _, head = asked(idle_s=7.0)
    connection.data_received(OK + b"\r\n")
    await head
    connection.deadline = 0.0
    connection.data_received(b"x")
    assert connection.deadline == pytest.approx(monotonic() + 7, abs=1)
    connection.abort()


async def test_idle_connection_ends_at_its_deadline():
    connection, wire, owner = connected()
    connection.expire(0)
    assert wire.closed
    await turns()
    assert owner.forgotten == [connection]


# --- giving up ---


async def test_giving_up_ends_the_connection_in_every_state():
    for data in (b"", OK, OK + b"\r\nx"):
        connection, wire, owner = connected()
        exchange = attempted()
        head = connection.start(exchange, out())
        connection.data_received(data) if data else None
        connection.abandon(exchange)
        await turns()
        assert wire.aborted
        assert owner.forgotten == [connection]
        head.cancel()


async def test_giving_up_an_answer_that_has_come_does_not_touch_whoever_is_next():
    connection, wire, _ = connected()
    first, second = attempted(), attempted()
    connection.start(first, out())
    connection.data_received(LEN2 + b"ab")  # and in the same turn the first one's client leaves
    head = connection.start(second, out())
    connection.abandon(first)
    assert not wire.closed
    connection.data_received(LEN2 + b"cd")
    assert await body_of(await head) == b"cd"


async def test_answer_for_a_cancelled_wait_is_no_error():
    connection, _, owner, head = asked()
    head.cancel()
    connection.data_received(LEN2 + b"ab")
    assert owner.given_back == [connection]


def test_exchange_times_are_noted() -> None:
    async def scenario() -> Exchange:
        connection, _, _ = connected()
        exchange = attempted()
        connection.start(exchange, out())
        connection.data_received(LEN2 + b"ab")
        return exchange

    assert asyncio.run(scenario()).t_headers is not None
