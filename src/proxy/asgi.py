"""The gateway as an ASGI application, for servers other than ours (`uvicorn src.main:app`).

Same gateway, same bytes; the server in front decides about framing, deadlines and header case,
and adds its cost. `llmtap` itself serves through `server.ServerProtocol`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any

from ..utils.tasks import spawn
from ..utils.ulid import ULIDs
from .bodies import RequestBody, ResponseBody
from .errors import ClientDisconnected, MalformedRequest
from .exchange import Cause, Exchange, Header, Response
from .gateway import Gateway
from .headers import KIND, Kind, content_length, end_to_end
from .limits import ServerLimits

# ASGI's own types: https://asgi.readthedocs.io/en/latest/specs/main.html
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HIGH_WATER = 64 * 1024


async def serve_http(
    gateway: Gateway,
    limits: ServerLimits,
    new_id: ULIDs,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Serve one request. Raises to make the server cut a response that cannot be completed."""
    client = _ASGIClient(send)
    body = RequestBody(client, limits.body_bytes, limits.replay_bytes)
    headers: tuple[Header, ...] = tuple(scope["headers"])  # frozen: trailers must not reach auth
    lengths = [value for name, value in headers if KIND[name] is Kind.CONTENT_LENGTH]
    body.chunked = any(KIND[name] is Kind.TRANSFER_ENCODING for name, _ in headers)
    framed = body.chunked or bool(lengths)
    target: bytes = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    peer = scope.get("client")
    exchange = Exchange(
        new_id(),
        scope["method"].encode(),
        target,
        scope["http_version"].encode(),
        headers,
        f"{peer[0]}:{peer[1]}" if peer else "",
        body,
    )
    if len(lengths) > 1 or (lengths and body.chunked):
        why = "the length of the body is not given in one plain way"
        exchange.refusal = (400, "malformed_request", why)
    elif lengths and (content_length(lengths[0]) or 0) > limits.body_bytes:
        body.refuse_length(content_length(lengths[0]) or 0)
    elif lengths:
        body.announced = content_length(lengths[0]) or 0
    task = gateway.start(exchange, client)
    reader = spawn(_read(gateway, exchange, client, receive, framed=framed), "ASGI request")
    try:
        await client.drain()
        await task
    except asyncio.CancelledError:
        gateway.cut(exchange, Cause.SHUTDOWN, "the server cancelled the request")
        raise
    except Exception:  # the server cannot send any more
        gateway.client_left(exchange)
        raise
    finally:
        reader.cancel()
    if client.aborted and not client.left:
        raise ConnectionAbortedError("the answer could not be completed")


async def _read(
    gateway: Gateway,
    exchange: Exchange,
    client: _ASGIClient,
    receive: Receive,
    *,
    framed: bool,
) -> None:
    """Feed the request body as it comes; notice when the client leaves."""
    body = exchange.body
    try:
        while True:
            await client.may_read.wait()
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            if message.get("body") and body.error is None:
                if framed:
                    body.feed(message["body"])
                else:  # HTTP/2 in front: on our way out it would have no end
                    body.fail(MalformedRequest("a body needs a Content-Length here"))
            if not message.get("more_body") and not body.complete and body.error is None:
                exchange.t_request_body = monotonic()
                body.end()
    finally:  # the client left, the server failed, or all is done
        if not client.ended:
            client.left = True
            body.fail(ClientDisconnected("the client left"))
            gateway.client_left(exchange)


class _ASGIClient:
    """The client's side as the gateway sees it: a queue in front of `send`."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: asyncio.Queue[MutableMapping[str, Any] | None] = asyncio.Queue()
        self._head: MutableMapping[str, Any] | None = None  # until something follows it
        self._held = 0
        self._response_body: ResponseBody | None = None
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.aborted = False
        self.ended = False
        self.left = False

    def begin(self, exchange: Exchange, response: Response) -> None:
        headers = [(name.lower(), value) for name, value in end_to_end(response.headers)[0]]
        if response.status in {204, 304}:  # uvicorn would wait for the body that is announced
            headers = [pair for pair in headers if pair[0] != b"content-length"]
        headers.append((b"x-llmtap-id", exchange.id.encode()))
        if isinstance(response.body, ResponseBody):
            self._response_body = response.body
        status = min(max(response.status, 200), 599)  # uvicorn knows no other (reliability 20)
        self._head = {"type": "http.response.start", "status": status, "headers": headers}

    def flush(self) -> None:
        """Hand the head over; the server in front decides when it is sent."""
        head, self._head = self._head, None
        if head is not None:
            self._queue.put_nowait(head)

    def write(self, chunk: bytes) -> None:
        self.flush()
        self._held += len(chunk)
        if self._held > _HIGH_WATER and self._response_body is not None:
            self._response_body.pause()
        self._queue.put_nowait({"type": "http.response.body", "body": chunk, "more_body": True})

    def end(self) -> None:
        self.flush()
        self.ended = True
        self._queue.put_nowait({"type": "http.response.body", "body": b"", "more_body": False})
        self._queue.put_nowait(None)

    def abort(self) -> None:
        self.aborted = True
        self._queue.put_nowait(None)

    async def drain(self) -> None:
        """Send what is queued until the end."""
        while (message := await self._queue.get()) is not None:
            await self._send(message)
            if body := message.get("body"):
                self._held -= len(body)
                if self._held <= _HIGH_WATER and self._response_body is not None:
                    self._response_body.resume()

    def pause_reading(self) -> None:
        self.may_read.clear()

    def resume_reading(self) -> None:
        self.may_read.set()


async def refuse_websocket(receive: Receive, send: Send, scope: Scope) -> None:
    """WebSockets are not served: 426 where the server can say so, else a refused handshake."""
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        start = {"type": "websocket.http.response.start", "status": 426, "headers": []}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close", "code": 1008})
