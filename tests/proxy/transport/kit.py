"""A connection on a wire without I/O, and real servers on the loopback for pools and libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from src.proxy.exchange import Attempt, Exchange, Header, Upstream
from src.proxy.transport.base import Outgoing, TransportLimits
from src.proxy.transport.http1 import Connection
from tests.proxy.kit import Wire, make_exchange, make_upstream


class Owner:
    """A pool that only notes."""

    def __init__(self, **limits: Any) -> None:
        self.limits = TransportLimits(**limits)
        self.given_back: list[Connection] = []
        self.forgotten: list[Connection] = []

    def give_back(self, connection: Connection) -> None:
        self.given_back.append(connection)

    def forget(self, connection: Connection) -> None:
        self.forgotten.append(connection)


def connected(**limits: Any) -> tuple[Connection, Wire, Owner]:
    owner, wire = Owner(**limits), Wire()
    connection = Connection(owner)
    wire.protocol = connection
    connection.connection_made(wire)  # type: ignore[arg-type]  # as much of one as is used
    return connection, wire, owner


def out(
    method: bytes = b"POST", body: bytes | None = None, *headers: Header, target: bytes = b"/v1/x"
) -> Outgoing:
    return Outgoing(method, target, [(b"Host", b"up"), *headers], body)


def attempted(method: bytes = b"POST", **options: Any) -> Exchange:
    """An exchange of which the forwarder has noted an attempt."""
    exchange = make_exchange(method, **options)
    exchange.attempts.append(Attempt(0.0, "label"))
    return exchange


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Loopback:
    """A server on the loopback that counts its connections."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.port = 0
        self.opened = 0
        self.writers: set[asyncio.StreamWriter] = set()

    @property
    def upstream(self) -> Upstream:
        return make_upstream(
            host="127.0.0.1", port=self.port, host_header=b"127.0.0.1:%d" % self.port
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self.writers.add(writer)
        try:
            await self._handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


@asynccontextmanager
async def loopback(handler: Handler) -> AsyncIterator[Loopback]:
    box = Loopback(handler)
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        for writer in list(box.writers):
            writer.transport.abort()
        for _ in range(100):
            if not box.writers:
                break
            await asyncio.sleep(0)
        await asyncio.sleep(0)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body (by Content-Length or chunked, as on the wire) of one request."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return head, await reader.readuntil(b"0\r\n\r\n")
    if b"content-length: " in lower:
        length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
        return head, await reader.readexactly(length)
    return head, b""


REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def replies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request of a connection with `ok`."""
    while True:
        await read_request(reader)
        writer.write(REPLY)
