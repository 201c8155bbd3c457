"""WebSockets for tests: raw frames, a raw handshake, and a real server with what it has seen."""

from __future__ import annotations

import base64
import hashlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from tests.support.client import Client
from tests.support.upstream import Connection, Step
from tests.support.wire import Head, Header

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    key: bytes = b"",
    fin: bool = True,
    length: int | None = None,
) -> bytes:
    """One frame; with `key` masked, as a client's. `length`: what its head says instead."""
    size = len(payload) if length is None else length
    bit = 0x80 if key else 0
    head = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if not key:
        return head + payload
    return head + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


def closing(code: int) -> bytes:
    return code.to_bytes(2, "big")


def handshake(case: str, *more: Header, target: str = "/v1/realtime?model=m") -> bytes:
    lines = [f"GET {target} HTTP/1.1".encode(), b"Host: tap.test"]
    lines += [b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"]
    lines += [b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY]
    lines += [b"X-Case: " + case.encode(), *(n + b": " + v for n, v in more)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def accept(*more: Header, then: bytes = b"") -> Step:
    """Agrees to the handshake; `then` follows in the same write."""
    digest = hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    lines += [b"Sec-WebSocket-Accept: " + base64.b64encode(digest)]
    lines += [name + b": " + value for name, value in more]

    def step(connection: Connection) -> None:
        connection.request.complete = True
        connection.send(b"\r\n".join(lines) + b"\r\n\r\n" + then)

    return step


def connected(address: tuple[str, int], case: str, *more: Header, then: bytes = b"") -> Client:
    """A raw client that has sent its handshake and `then` with it, and has read the 101."""
    client = Client(address, timeout=5)
    client.send(handshake(case, *more) + then)
    head, _ = client.answer_head()
    assert head.first.startswith(b"HTTP/1.1 101"), head.first
    return client


def read_frame(client: Client) -> tuple[int, bytes]:
    """The next frame from a server: opcode and payload."""
    first, second = client.wire.exactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(client.wire.exactly(2 if size == 126 else 8), "big")
    return first & 0x0F, client.wire.exactly(size)


Handler = Callable[[ServerConnection], None]


def echo(socket: ServerConnection) -> None:
    for message in socket:
        socket.send(message)


class WebSocketServer:
    """The `websockets` library's server on the loopback. `closes`: the code each connection ended
    with, as that side saw it; `requests`: the handshakes."""

    def __init__(self, handler: Handler = echo, **options: Any) -> None:
        self._handler = handler
        self.closes: queue.Queue[int] = queue.Queue()
        self.requests: list[Any] = []  # the library's
        self._server: Server = serve(self._handle, "127.0.0.1", 0, **options)
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _handle(self, socket: ServerConnection) -> None:
        self.requests.append(socket.request)
        try:
            self._handler(socket)
            for _ in socket:
                pass
        except ConnectionClosed:
            pass
        finally:
            self.closes.put(socket.close_code or 0)

    def __enter__(self) -> WebSocketServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(5)


def named(head: Head, names: Sequence[str]) -> dict[str, list[bytes]]:
    return {name: head.all(name) for name in names}
