"""The httpx transport: mapping by respx, the wire by real loopback servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import respx

from src.proxy.bodies import HIGH_WATER, ResponseBody
from src.proxy.errors import (
    BadResponse,
    BodyError,
    ClientDisconnected,
    ConnectFailed,
    HeadersTimeout,
    PoolTimeout,
    ProxyError,
    TLSFailed,
    UpstreamClosed,
)
from src.proxy.exchange import Exchange, Header, Response
from src.proxy.transport.base import TransportLimits
from src.proxy.transport.httpx import HttpxTransport, mapped
from tests.proxy.kit import make_upstream, turns

from .kit import REPLY, Handler, Loopback, attempted, loopback, out, read_request, replies


@asynccontextmanager
async def started(
    *, proxy: str | None = None, http2: bool = False, **limits: Any
) -> AsyncIterator[HttpxTransport]:
    transport = HttpxTransport(TransportLimits(**limits), proxy=proxy, http2=http2)
    await transport.start()
    try:
        yield transport
    finally:
        for _ in range(200):
            if transport._slots._value == transport._limits.connections:
                break
            await asyncio.sleep(0)
        assert transport._slots._value == transport._limits.connections, "a slot was lost"
        await transport.stop()


async def send(
    transport: HttpxTransport,
    box: Loopback,
    exchange: Exchange,
    *headers: Header,
    body: bytes | None = None,
) -> Response:
    up = box.upstream
    request = out(exchange.method, body, *headers, target=exchange.target)
    request.headers[0] = (b"Host", up.host_header)
    return await transport.send(exchange, up, request)


async def taken(response: Response) -> bytes:
    assert isinstance(response.body, ResponseBody)
    got: list[bytes] = []
    await response.body.pipe(got.append)
    return b"".join(got)


def answering(data: bytes, seen: list[tuple[bytes, bytes]] | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if seen is not None:
            seen.append(request)
        writer.write(data)

    return handler


async def test_request_goes_out_as_given_and_nothing_is_added():
    """Reliability 11, 15, 18."""
    seen: list[tuple[bytes, bytes]] = []
    async with loopback(answering(REPLY, seen)) as box, started() as transport:
        exchange = attempted(b"GET", target=b"/v1/../%2F//x?a=%zz")
        response = await send(transport, box, exchange, (b"x-CASE", b"1"))
        assert await taken(response) == b"ok"
        head = seen[0][0]
        assert head == (
            b"GET /v1/../%%2F//x?a=%%zz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nx-CASE: 1\r\n\r\n"
            % box.port
        )
        assert (response.status, response.reason, response.http_version) == (200, b"OK", b"1.1")
        assert exchange.t_sent is not None
        assert exchange.t_headers is not None


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE"])
async def test_request_without_a_body_gets_no_framing(method: bytes):
    seen: list[tuple[bytes, bytes]] = []
    async with loopback(answering(REPLY, seen)) as box, started() as transport:
        for body in (b"", None):  # complete, or (behind a stock server) not yet known to be
            exchange = attempted(method, body=body)
            await taken(await send(transport, box, exchange))
            assert b"content-length" not in seen[-1][0].lower()
            assert b"transfer-encoding" not in seen[-1][0].lower()


@pytest.mark.parametrize("framing", [b"Content-Length", b"Transfer-Encoding"])
async def test_upload_flows_with_the_clients_framing(framing: bytes):
    seen: list[tuple[bytes, bytes]] = []
    async with loopback(answering(REPLY, seen)) as box, started() as transport:
        exchange = attempted(body=None)
        chunked = framing == b"Transfer-Encoding"
        exchange.body.chunked = chunked
        value = b"chunked" if chunked else b"6"
        sending = asyncio.ensure_future(send(transport, box, exchange, (framing, value)))
        for piece in (b"ab", b"cd", b"ef"):
            await turns()
            exchange.body.feed(piece)
        exchange.body.end()
        assert await taken(await sending) == b"ok"
        head, body = seen[0]
        assert head.lower().count(framing.lower()) == 1
        assert body == (b"2\r\nab\r\n2\r\ncd\r\n2\r\nef\r\n0\r\n\r\n" if chunked else b"abcdef")


@pytest.mark.parametrize("new", [b"new", b""])
async def test_replaced_body_goes_out_in_place_of_the_clients(new: bytes):
    seen: list[tuple[bytes, bytes]] = []
    async with loopback(answering(REPLY, seen)) as box, started() as transport:
        length = (b"content-length", b"%d" % len(new))
        await taken(await send(transport, box, attempted(body=b"old"), length, body=new))
        assert seen[0][1] == new


async def test_upload_that_breaks_off_is_not_ended_for_the_upstream():
    """Reliability 44."""
    got: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())

    async with loopback(handler) as box, started() as transport:
        exchange = attempted(body=None)
        exchange.body.chunked = True
        sending = asyncio.ensure_future(
            send(transport, box, exchange, (b"Transfer-Encoding", b"chunked"))
        )
        await turns(20)
        exchange.body.feed(b"part")
        await turns()
        exchange.body.fail(ClientDisconnected("left"))
        with pytest.raises(ClientDisconnected):
            await sending
        while not got:
            await asyncio.sleep(0)
        assert not got[0].endswith(b"0\r\n\r\n")


async def test_headers_pass_in_order_and_cookies_are_not_kept():
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-b: 1\r\nSet-Cookie: b=2\r\n"
    seen: list[tuple[bytes, bytes]] = []
    handler = answering(answer + b"Content-Length: 0\r\n\r\n", seen)
    async with loopback(handler) as box, started() as transport:
        response = await send(transport, box, attempted(b"GET"))
        await taken(response)
        names = [name for name, _ in response.headers]
        assert names == [b"Set-Cookie", b"X-b", b"Set-Cookie", b"Content-Length"]
        await taken(await send(transport, box, attempted(b"GET")))
        assert b"cookie" not in seen[1][0].lower()


async def test_redirects_and_compressed_bytes_pass():
    answer = (
        b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n"
    )
    async with loopback(answering(answer + b"\r\n\x1f\x8bx")) as box, started() as transport:
        response = await send(transport, box, attempted(b"GET"))
        assert response.status == 302
        assert await taken(response) == b"\x1f\x8bx"
        assert box.opened == 1


BAD = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "both": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no http": b"nonsense\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD)
async def test_answer_that_cannot_be_trusted_is_a_bad_gateway(name: str):
    """Reliability 23."""
    async with loopback(answering(BAD[name])) as box, started() as transport:
        with pytest.raises(BadResponse):
            await send(transport, box, attempted(b"GET"))


BROKEN = {
    "short length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
    "short chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n5\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_body_that_breaks_off_is_an_error(name: str):
    """Reliability 56."""
    async with loopback(answering(BROKEN[name])) as box, started() as transport:
        response = await send(transport, box, attempted(b"GET"))
        with pytest.raises(BodyError) as caught:
            await taken(response)
        assert caught.value.cause == "upstream_eof"


async def test_failure_of_the_library_is_no_clean_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def breaks(_: httpx.Response) -> AsyncIterator[bytes]:
        yield b"ab"
        raise KeyError("a bug of theirs")

    monkeypatch.setattr(httpx.Response, "aiter_raw", breaks)
    async with loopback(replies) as box, started() as transport:
        with pytest.raises(BodyError):
            await taken(await send(transport, box, attempted(b"GET")))
    assert "a bug of theirs" in caplog.text


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_closed_without_an_answer_is_told():
    async with loopback(answering(b"")) as box, started() as transport:
        with pytest.raises(UpstreamClosed):
            await send(transport, box, attempted(b"GET"))


async def test_head_has_its_own_time_whatever_the_gap_between_pieces_may_be():
    """Reliability 53, 54: the two limits are two."""

    async def slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nab")
        await reader.read()

    async with loopback(slow_head) as box, started(idle_s=0.02, headers_s=5) as transport:
        response = await send(transport, box, attempted(b"GET"))
        with pytest.raises(BodyError) as caught:
            await taken(response)
        assert caught.value.cause == "timeout"
    async with loopback(silent) as box, started(idle_s=5, headers_s=0.02) as transport:
        with pytest.raises(HeadersTimeout):
            await send(transport, box, attempted(b"GET"))


async def test_the_wait_for_the_head_begins_when_the_request_is_sent():
    """A client that is slow with its upload is not the upstream's fault."""
    length = (b"Content-Length", b"2")
    async with loopback(replies) as box, started(headers_s=0.05) as transport:
        exchange = attempted(body=None)
        sending = asyncio.ensure_future(send(transport, box, exchange, length))
        for piece in (b"a", b"b"):
            await asyncio.sleep(0.1)
            assert not sending.done()
            exchange.body.feed(piece)
        exchange.body.end()
        assert await taken(await sending) == b"ok"
    async with loopback(silent) as box, started(headers_s=0.05) as transport:
        exchange = attempted(body=None)
        sending = asyncio.ensure_future(send(transport, box, exchange, length))
        await asyncio.sleep(0.1)
        exchange.body.feed(b"ab")
        exchange.body.end()
        with pytest.raises(HeadersTimeout):
            await sending


async def test_slow_drip_is_no_stall():
    """Reliability 55."""

    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.02)
            writer.write(b"x")

    async with loopback(drips) as box, started(idle_s=0.1) as transport:
        assert await taken(await send(transport, box, attempted(b"GET"))) == b"x" * 8


async def test_full_transport_is_a_503():
    async with loopback(silent) as box, started(connections=1, pool_s=0.01) as transport:
        first = asyncio.ensure_future(send(transport, box, attempted(b"GET")))
        await turns()
        with pytest.raises(PoolTimeout):
            await send(transport, box, attempted(b"GET"))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 10_000)
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("after", [0, 1, 5])
async def test_body_let_go_frees_its_slot_even_before_its_first_step(after: int):
    """`started` checks the slots."""
    async with loopback(endless) as box, started() as transport:
        response = await send(transport, box, attempted(b"GET"))
        await turns(after)
        assert isinstance(response.body, ResponseBody)
        response.body.abort()
        await turns(20)


async def test_cancelled_at_any_turn_frees_its_slot():
    async with loopback(endless) as box, started() as transport:
        for steps in range(0, 60, 3):
            task = asyncio.ensure_future(send(transport, box, attempted(b"GET")))
            await turns(steps)
            task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            if isinstance(done, Response):
                assert isinstance(done.body, ResponseBody)
                done.body.abort()


async def test_answer_nobody_reads_is_held_back():
    async with loopback(endless) as box, started() as transport:
        response = await send(transport, box, attempted(b"GET"))
        await turns(500)
        assert isinstance(response.body, ResponseBody)
        assert HIGH_WATER < response.body._held < 4 * HIGH_WATER
        response.body.abort()


async def test_not_started_says_so():
    transport = HttpxTransport(TransportLimits())
    with pytest.raises(RuntimeError, match="not started"):
        await transport.send(attempted(), make_upstream(), out())
    await transport.stop()


# --- every error of theirs is one of ours ---


def errors_of(kind: type[httpx.HTTPError]) -> list[type[httpx.HTTPError]]:
    below = kind.__subclasses__()
    return [kind, *(error for sub in below for error in errors_of(sub))]


@pytest.mark.parametrize("theirs", errors_of(httpx.TransportError), ids=lambda kind: kind.__name__)
async def test_every_transport_error_is_mapped(theirs: type[httpx.HTTPError]):
    async with started() as transport:
        with respx.mock:
            respx.route().mock(side_effect=theirs("text"))  # type: ignore[call-arg]  # of each kind
            with pytest.raises(ProxyError) as caught:
                await transport.send(attempted(b"GET"), make_upstream(), out(b"GET"))
    assert caught.value.status in {502, 503, 504}
    assert "text" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] expired"), TLSFailed),
        (httpx.ConnectError("All connection attempts failed"), ConnectFailed),
        (httpx.ProxyError("407 Proxy Authentication Required"), ConnectFailed),
        (httpx.RemoteProtocolError("Server disconnected"), UpstreamClosed),
        (httpx.RemoteProtocolError("illegal status line"), BadResponse),
        (httpx.DecodingError("odd"), BadResponse),
    ],
)
def test_errors_are_told_apart(error: httpx.HTTPError, ours: type[ProxyError]):
    assert type(mapped(error)) is ours


# --- outgoing proxies and HTTP/2 ---


async def test_outgoing_proxy_gets_the_whole_address():
    seen: list[tuple[bytes, bytes]] = []
    async with (
        loopback(answering(REPLY, seen)) as proxy,
        started(proxy=f"http://user:pw@127.0.0.1:{proxy.port}") as transport,
    ):
        request = out(b"GET", target=b"/v1/x?a=%zz")
        response = await transport.send(attempted(b"GET"), make_upstream(), request)
        assert await taken(response) == b"ok"
        head = seen[0][0]
        assert head.startswith(b"GET http://up.test:81/v1/x?a=%zz HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic " in head


async def test_outgoing_proxy_is_asked_for_a_tunnel_to_a_tls_upstream():
    seen: list[tuple[bytes, bytes]] = []
    refuses = answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", seen)
    async with (
        loopback(refuses) as proxy,
        started(proxy=f"http://127.0.0.1:{proxy.port}") as transport,
    ):
        upstream = make_upstream(scheme="https", port=443, host_header=b"up.test")
        with pytest.raises(ConnectFailed, match="403"):
            await transport.send(attempted(b"GET"), upstream, out(b"GET", target=b"/v1/secret"))
        assert seen[0][0].startswith(b"CONNECT up.test:443 HTTP/1.1\r\n")
        assert b"secret" not in seen[0][0]


async def test_outgoing_proxy_that_is_away_is_a_502():
    async with started(proxy="http://127.0.0.1:1") as transport:
        with pytest.raises(ConnectFailed):
            await transport.send(attempted(b"GET"), make_upstream(), out(b"GET"))


async def speak_h2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each HTTP/2 request with its own body, in two pieces, after its end."""
    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    conn.initiate_connection()
    bodies: dict[int, bytes] = {}
    while data := await reader.read(65536):
        for event in conn.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                bodies[event.stream_id] = b""
                names = [name for name, _ in event.headers]
                assert b"connection" not in names
                assert b"transfer-encoding" not in names
            elif isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] += event.data
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                headers = [(":status", "200"), ("x-b", "1"), ("set-cookie", "a=1")]
                conn.send_headers(event.stream_id, headers)
                conn.send_data(event.stream_id, b"got ")
                conn.send_data(event.stream_id, bodies[event.stream_id], end_stream=True)
        writer.write(conn.data_to_send())


async def test_http_2_carries_many_at_once_on_one_connection(monkeypatch: pytest.MonkeyPatch):
    async with loopback(speak_h2) as box:
        # Without TLS httpx speaks HTTP/2 only where HTTP/1.1 is switched off.
        monkeypatch.setattr(
            httpx,
            "AsyncClient",
            lambda real=httpx.AsyncClient, **kw: real(**{**kw, "http1": False}),
        )
        async with started(http2=True) as transport:
            exchanges = [attempted(body=None) for _ in range(5)]
            for exchange in exchanges:
                exchange.body.chunked = True
            chunked = (b"Transfer-Encoding", b"chunked")
            tasks = [
                asyncio.ensure_future(send(transport, box, exchange, chunked))
                for exchange in exchanges
            ]
            for n, exchange in enumerate(exchanges):
                exchange.body.feed(b"%d" % n)
                exchange.body.end()
            responses = await asyncio.gather(*tasks)
            assert [await taken(r) for r in responses] == [b"got %d" % n for n in range(5)]
            assert {r.http_version for r in responses} == {b"2"}
            assert responses[0].headers == [(b"x-b", b"1"), (b"set-cookie", b"a=1")]
            assert box.opened == 1
