"""The ASGI adapter: through httpx's transport, scripted messages, and a stock uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from src.proxy.asgi import refuse_websocket, serve_http
from src.proxy.bodies import HIGH_WATER, ResponseBody
from src.proxy.errors import BodyError
from src.proxy.exchange import CallNext, Cause, Exchange, Response
from src.proxy.gateway import Gateway
from src.proxy.limits import ServerLimits
from src.proxy.providers.base import Provider
from src.utils.ulid import ULIDs

from .kit import Header, Source, make_upstream, streamed, turns

Message = dict[str, Any]


class App:
    """An ASGI application with nothing but a chain."""

    def __init__(self, call_next: CallNext, **limits: Any) -> None:
        self.finished: list[Exchange] = []

        async def noted(exchange: Exchange) -> Response:
            exchange.on_finish(self.finished.append)
            return await call_next(exchange)

        self.gateway = Gateway([make_upstream()], noted, Provider())
        self.limits = ServerLimits(**limits)
        self.new_id = ULIDs()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await serve_http(self.gateway, self.limits, self.new_id, scope, receive, send)


def client_for(app: App) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # their Scope is narrower
    return httpx.AsyncClient(transport=transport, base_url="http://tap")


async def echo(exchange: Exchange) -> Response:
    body = await exchange.read_body()
    headers = [(b"X-Target", exchange.target), (b"Connection", b"close"), (b"X-Body", body[:9])]
    return Response(201, headers, body)


def scope_of(
    *headers: Header, method: str = "POST", version: str = "1.1", target: bytes = b"/x"
) -> Message:
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "http_version": version,
        "method": method,
        "path": path.decode(),
        "raw_path": path,
        "query_string": query,
        "headers": list(headers),
        "client": ("127.0.0.1", 9),
    }


async def talk(
    app: App, scope: Message, *messages: Message, fails_at: int | None = None
) -> list[Message]:
    """Serve one request of these messages, after which the client stays and says nothing."""
    sent: list[Message] = []
    left = list(messages)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if len(sent) == fails_at:
            raise OSError("gone")
        sent.append(message)

    await asyncio.wait_for(app(scope, receive, send), 2)
    return sent


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


# --- through httpx ---


async def test_request_and_answer_pass():
    app = App(echo)
    async with client_for(app) as client:
        answer = await client.post("/a%2Fb//c?q=%25", content=b"hello")
    assert answer.status_code == 201
    assert answer.content == b"hello"
    assert answer.headers["x-target"] == "/a%2Fb//c?q=%25"
    assert "connection" not in answer.headers
    assert len(answer.headers["x-llmtap-id"]) == 26
    exchange = app.finished[0]
    assert exchange.t_request_body is not None
    assert exchange.started <= exchange.t_request_body <= exchange.t_finished  # type: ignore[operator]
    assert exchange.client == "127.0.0.1:123"


async def test_stream_passes_piece_by_piece():
    answer = ResponseBody(Source())

    async def streams(_: Exchange) -> Response:
        return Response(200, [], answer)

    app = App(streams)
    serving = asyncio.ensure_future(talk(app, scope_of(), body(b"")))
    await turns()
    answer.feed(b"1")
    answer.feed(b"2")
    answer.finish()
    sent = await serving
    assert [m["body"] for m in sent[1:]] == [b"1", b"2", b""]
    assert [m["more_body"] for m in sent[1:]] == [True, True, False]
    assert app.finished[0].cause is Cause.OK


# --- framing and limits ---


@pytest.mark.parametrize(
    ("headers", "messages", "status"),
    [
        ([(b"content-length", b"11")], [], 413),
        ([(b"transfer-encoding", b"chunked")], [body(b"x" * 11, more=True)], 413),
        ([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], [], 400),
        ([(b"content-length", b"1"), (b"content-length", b"1")], [], 400),
        ([], [body(b"smuggled")], 400),  # HTTP/2 in front
        ([], [body(b"")], 201),
        ([(b"content-length", b"2")], [body(b"a", more=True), body(b"b")], 201),
    ],
)
async def test_framing_is_judged_again(headers: list[Header], messages: list[Message], status: int):
    """Reliability 1, 116."""

    async def reads(exchange: Exchange) -> Response:
        if exchange.refusal is not None:
            return exchange.refuse(*exchange.refusal)
        return await echo(exchange)

    app = App(reads, body_bytes=10)
    sent = await talk(app, scope_of(*headers), *messages)
    assert sent[0]["status"] == status
    assert not app.gateway.in_flight


@pytest.mark.parametrize(("status", "shown"), [(99, 200), (204, 204), (304, 304), (999, 599)])
async def test_status_and_length_are_such_as_a_stock_server_can_send(status: int, shown: int):
    """Reliability 19, 20."""

    async def answers(_: Exchange) -> Response:
        answer = streamed()
        answer.finish()
        return Response(status, [(b"Content-Length", b"5")], answer)

    sent = await talk(App(answers), scope_of(method="GET"), body(b""))
    assert sent[0]["status"] == shown
    assert ((b"content-length", b"5") in sent[0]["headers"]) is (status in {99, 999})


async def test_slow_server_slows_the_upstream():
    source = Source()
    answer = ResponseBody(source)

    async def streams(_: Exchange) -> Response:
        return Response(200, [], answer)

    go = asyncio.Event()

    async def send(message: Message) -> None:
        await go.wait()

    messages = [body(b"")]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    serving = asyncio.ensure_future(App(streams)(scope_of(), receive, send))
    await turns()
    answer.feed(b"x" * (HIGH_WATER + 1))
    assert not source.reading
    go.set()
    await turns()
    assert source.reading
    answer.finish()
    await asyncio.wait_for(serving, 2)


async def test_upload_is_held_back_while_nobody_takes_it():
    taken = 0

    async def waits(_: Exchange) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = App(waits, body_bytes=1 << 30)

    async def receive() -> Message:
        nonlocal taken
        await asyncio.sleep(0)
        taken += 1
        return body(b"x" * 10_000, more=True)

    async def send(message: Message) -> None: ...

    headers = (b"content-length", b"1000000000")
    serving = asyncio.ensure_future(app(scope_of(headers), receive, send))
    await turns(100)
    assert taken <= HIGH_WATER // 10_000 + 2
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    await turns()
    assert app.finished[0].cause is Cause.SHUTDOWN
    assert not app.gateway.in_flight


# --- what goes wrong ---


async def test_client_that_leaves_ends_its_exchange_and_is_no_error():
    async def waits(_: Exchange) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = App(waits)
    sent = await talk(app, scope_of(), body(b""), {"type": "http.disconnect"})
    await turns()
    assert sent == []
    assert app.finished[0].cause is Cause.CLIENT_DISCONNECTED
    assert not app.gateway.in_flight


async def test_send_that_fails_ends_its_exchange():
    source = Source()
    answer = streamed(source, b"1")

    async def streams(exchange: Exchange) -> Response:
        exchange.upstream_body = answer
        return Response(200, [], answer)

    app = App(streams)
    with pytest.raises(OSError, match="gone"):
        await talk(app, scope_of(), body(b""), fails_at=1)
    await turns()
    assert source.aborted
    assert app.finished[0].cause is Cause.CLIENT_DISCONNECTED
    assert not app.gateway.in_flight


async def test_server_that_fails_to_receive_ends_its_exchange(caplog: pytest.LogCaptureFixture):
    app = App(echo)

    async def receive() -> Message:
        raise OSError("broken")

    async def send(message: Message) -> None: ...

    await asyncio.wait_for(app(scope_of((b"content-length", b"1")), receive, send), 2)
    await turns()
    assert app.finished[0].cause is Cause.CLIENT_DISCONNECTED
    assert not app.gateway.in_flight
    assert "broken" in caplog.text


async def test_answer_that_breaks_off_makes_the_server_cut():
    """Reliability 56."""
    answer = streamed(None, b"1")

    async def streams(_: Exchange) -> Response:
        return Response(200, [], answer)

    app = App(streams)
    serving = asyncio.ensure_future(talk(app, scope_of(), body(b"")))
    await turns()
    answer.finish(BodyError("upstream_eof", "short"))
    with pytest.raises(ConnectionAbortedError):
        await serving
    assert app.finished[0].cause is Cause.UPSTREAM_EOF


@pytest.mark.parametrize("extensions", [{}, None, {"websocket.http.response": {}}])
async def test_websocket_is_refused(extensions: dict[str, Any] | None):
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Message = {"type": "websocket"}
    if extensions is not None:
        scope["extensions"] = extensions
    await refuse_websocket(receive, send, scope)
    assert (sent[0].get("status"), sent[0].get("code")) == (
        (426, None) if extensions else (None, 1008)
    )


# --- behind a stock uvicorn ---


@asynccontextmanager
async def stock(app: App, http: str) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app, port=0, http=http, lifespan="off", log_config=None, ws="none"  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    serving = asyncio.ensure_future(server.main_loop())
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        await server.shutdown()


async def exchange_bytes(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 3)
    finally:
        writer.close()


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_behind_a_stock_uvicorn(http: str, caplog: pytest.LogCaptureFixture):
    async def answers(exchange: Exchange) -> Response:
        if exchange.path == b"/cut":
            cut = streamed(None, b"part")
            asyncio.get_running_loop().call_soon(cut.finish, BodyError("upstream_eof", "short"))
            return Response(200, [], cut)
        if exchange.path == b"/304":
            empty = streamed()
            empty.finish()
            return Response(304, [(b"Content-Length", b"7")], empty)
        return await echo(exchange)

    app = App(answers)
    close = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    async with stock(app, http) as port:
        whole = await exchange_bytes(
            port,
            b"POST /a%2Fb/../c?d=%zz"
            + close
            + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        )
        assert whole.startswith(b"HTTP/1.1 201")
        assert b": /a%2Fb/../c?d=%zz\r\n" in whole
        assert whole.endswith(b"\r\n\r\nab")
        head = await exchange_bytes(port, b"HEAD /" + close + b"\r\n")
        assert head.startswith(b"HTTP/1.1 201")
        assert head.endswith(b"\r\n\r\n")
        unchanged = await exchange_bytes(port, b"GET /304" + close + b"\r\n")
        assert unchanged.startswith(b"HTTP/1.1 304")
        cut = await exchange_bytes(port, b"GET /cut" + close + b"\r\n")
        assert b"part" in cut
        assert not cut.endswith(b"0\r\n\r\n")
    assert [e.cause for e in app.finished] == [Cause.OK] * 3 + [Cause.UPSTREAM_EOF]
