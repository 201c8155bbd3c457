"""The native transport over real loopback connections."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

import pytest

from src.proxy.bodies import ResponseBody
from src.proxy.errors import BodyError, ClientDisconnected, UpstreamClosed
from src.proxy.exchange import Exchange, Phase, Response
from src.proxy.transport.base import TransportLimits
from src.proxy.transport.native import NativeTransport, tls_context
from src.utils.tasks import Sweeper
from tests.proxy.kit import Source, turns

from .kit import REPLY, Handler, Loopback, attempted, loopback, out, read_request, replies


def native(**limits: Any) -> NativeTransport:
    return NativeTransport(TransportLimits(**limits), Sweeper())


async def send(transport: NativeTransport, box: Loopback, exchange: Exchange) -> Response:
    request = out(exchange.method, None, *exchange.headers[1:])
    return await transport.send(exchange, box.upstream, request)


async def taken(response: Response) -> bytes:
    assert isinstance(response.body, ResponseBody)
    got: list[bytes] = []
    await response.body.pipe(got.append)
    return b"".join(got)


async def stopped(transport: NativeTransport) -> None:
    await transport.stop()
    for _ in range(200):
        if not any(pool.size for pool in transport._pools.values()):
            break
        await asyncio.sleep(0)
    assert not any(pool.size for pool in transport._pools.values())
    assert not transport._sweeper._watched
    transport._sweeper.stop()


async def test_request_and_answer_and_reuse_with_their_times():
    async with loopback(replies) as box:
        transport = native()
        first, second = attempted(), attempted()
        assert await taken(await send(transport, box, first)) == b"ok"
        assert await taken(await send(transport, box, second)) == b"ok"
        assert (first.reused, second.reused) == (False, True)
        assert box.opened == 1
        times = [first.t_connect_start, first.t_connected, first.t_sent, first.t_headers]
        assert times == sorted(t for t in times if t is not None)
        assert second.t_connect_start is None
        assert first.phase is Phase.HEADERS
        await stopped(transport)


async def test_upload_cut_over_many_reads_arrives_whole():
    got: list[bytes] = []

    async def keeps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append((await read_request(reader))[1])
        writer.write(REPLY)

    async with loopback(keeps) as box:
        transport = native()
        exchange = attempted(
            body=None, headers=((b"Host", b"a"), (b"Content-Length", b"300000")), limit=1 << 30
        )
        sending = asyncio.ensure_future(send(transport, box, exchange))
        data = os.urandom(300_000)
        for at in range(0, len(data), 7001):
            exchange.body.feed(data[at : at + 7001])
            await asyncio.sleep(0)
        exchange.body.end()
        assert await taken(await sending) == b"ok"
        assert got == [data]
        await stopped(transport)


def dies_at_the_second(times: list[int]) -> Handler:
    """Each connection serves one request, reads the next and closes without an answer."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        times.append(1)
        await read_request(reader)
        writer.write(REPLY)
        await reader.readuntil(b"\r\n\r\n")
        times[-1] += 1

    return handler


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE"])
async def test_stale_connection_is_replaced_where_repeating_is_harmless(method: bytes):
    """Reliability 66, 72."""
    times: list[int] = []
    async with loopback(dies_at_the_second(times)) as box:
        transport = native()
        await taken(await send(transport, box, attempted(method)))
        exchange = attempted(method)
        assert await taken(await send(transport, box, exchange)) == b"ok"
        assert times == [2, 1]
        assert exchange.reused is False
        assert [a.error for a in exchange.attempts] == ["upstream_closed", None]
        assert exchange.attempts[0].started < exchange.attempts[1].started
        await stopped(transport)


async def test_post_on_a_stale_connection_is_not_repeated():
    """Reliability 65, 66."""
    times: list[int] = []
    async with loopback(dies_at_the_second(times)) as box:
        transport = native()
        await taken(await send(transport, box, attempted()))
        exchange = attempted()
        with pytest.raises(UpstreamClosed):
            await send(transport, box, exchange)
        assert times == [2]
        assert len(exchange.attempts) == 1
        await stopped(transport)


@pytest.mark.parametrize(("replay", "repeated"), [(1 << 16, True), (10, False)])
async def test_body_that_has_partly_come_is_repeated_the_same_or_not_at_all(
    replay: int, repeated: bool
):
    """Reliability 67."""
    bodies: list[bytes] = []
    seen = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if box.opened == 1:
            await read_request(reader)
            writer.write(REPLY)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(8)
            seen.set()
            return
        bodies.append((await read_request(reader))[1])
        writer.write(REPLY)

    async with loopback(handler) as box:
        transport = native()
        await taken(await send(transport, box, attempted(b"GET")))
        head = ((b"Host", b"a"), (b"Content-Length", b"20"))
        exchange = attempted(b"PUT", body=None, headers=head, replay=replay)
        exchange.body.feed(b"abcdefgh")
        sending = asyncio.ensure_future(send(transport, box, exchange))
        await seen.wait()
        exchange.body.feed(b"ijkl")
        await turns(20)
        if not repeated:
            exchange.body.feed(b"mnopqrst")
            exchange.body.end()
            with pytest.raises(UpstreamClosed):
                await sending
        else:
            exchange.body.feed(b"mnopqrst")
            exchange.body.end()
            assert await taken(await sending) == b"ok"
            assert bodies == [b"abcdefghijklmnopqrst"]
        await stopped(transport)


async def test_stale_connection_with_a_discarded_body_is_not_repeated():
    times: list[int] = []
    async with loopback(dies_at_the_second(times)) as box:
        transport = native()
        await taken(await send(transport, box, attempted(b"PUT")))
        head = ((b"Host", b"a"), (b"Content-Length", b"20"))
        exchange = attempted(b"PUT", body=b"x" * 20, headers=head, replay=10)
        with pytest.raises(UpstreamClosed):
            await send(transport, box, exchange)
        assert times == [2]
        await stopped(transport)


# --- cancelled at every await ---


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1 << 20)
    await reader.read()


async def test_cancelled_at_any_turn_leaves_no_connection():
    """Reliability 41-43, 45."""
    async with loopback(silent) as box:
        transport = native(connections=1)
        for steps in range(15):
            task = asyncio.ensure_future(send(transport, box, attempted()))
            await turns(steps)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await turns(4)
        assert transport._pools["up"].size == 0
        await stopped(transport)


async def test_upload_that_fails_before_it_is_sent_leaves_no_connection():
    async with loopback(silent) as box:
        transport = native(connections=1)
        exchange = attempted(body=None)
        exchange.body.fail(ClientDisconnected("left"))
        with pytest.raises(ClientDisconnected):
            await send(transport, box, exchange)
        await turns(20)
        assert transport._pools["up"].size == 0
        await stopped(transport)


async def test_body_let_go_closes_its_connection():
    ended = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nstart")
        await reader.read()
        ended.set()

    async with loopback(endless) as box:
        transport = native()
        response = await send(transport, box, attempted())
        assert isinstance(response.body, ResponseBody)
        response.body.abort()
        await asyncio.wait_for(ended.wait(), 2)
        await turns()
        assert transport._pools["up"].size == 0
        await stopped(transport)


async def test_answer_nobody_reads_holds_the_upstream_back():
    """Reliability 34: memory stays flat however much there is to come."""
    written = 0

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while written < 100_000_000:
            writer.write(b"x" * 1_000_000)
            written += 1_000_000
            await writer.drain()

    async with loopback(floods) as box:
        transport = native()
        response = await send(transport, box, attempted())
        before = -1
        while before != written:
            before = written
            await turns(200)
        assert written < 50_000_000
        assert isinstance(response.body, ResponseBody)
        assert response.body._held < 1_000_000
        response.body.abort()
        await stopped(transport)


async def test_upload_to_an_upstream_that_does_not_read_holds_the_client_back():
    """Reliability 36."""
    async with loopback(silent_until_closed) as box:
        transport = native()
        source = Source()
        head = ((b"Host", b"a"), (b"Content-Length", b"100000000"))
        exchange = attempted(body=None, headers=head, source=source, limit=1 << 30)
        sending = asyncio.ensure_future(send(transport, box, exchange))
        await turns(30)
        fed = 0
        while source.reading and fed < 100_000_000:
            exchange.body.feed(b"x" * 100_000)
            fed += 100_000
            await asyncio.sleep(0)
        assert fed < 50_000_000
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await stopped(transport)


async def silent_until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # to read nothing at all
    while not writer.transport.is_closing():
        await asyncio.sleep(0)


# --- the end ---


async def test_stop_ends_what_is_open_and_is_safe_without_a_start():
    transport = native()
    await transport.stop()
    async with loopback(replies) as box:
        await taken(await send(transport, box, attempted()))
        assert transport._pools["up"].size == 1
        await stopped(transport)
        await transport.stop()


async def test_cut_of_an_answer_is_an_error_of_its_body():
    async def cuts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    async with loopback(cuts) as box:
        transport = native()
        response = await send(transport, box, attempted())
        with pytest.raises(BodyError) as caught:
            await taken(response)
        assert caught.value.cause == "upstream_eof"
        await stopped(transport)


def test_tls_verifies_and_speaks_http_1() -> None:
    context = tls_context(None)
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] > 0


def test_tls_falls_back_to_certifi_where_the_system_has_no_authorities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bare(**_: object) -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(ssl, "create_default_context", bare)
    assert tls_context(None).cert_store_stats()["x509_ca"] > 0
