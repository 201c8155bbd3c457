"""Connections to one origin: reused newest first, bounded, handed on without a turn of the loop."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from time import monotonic

from ...utils.tasks import Sweeper
from ..errors import ConnectFailed, ConnectTimeout, PoolTimeout, ProxyError, TLSFailed
from ..exchange import Upstream
from .base import TransportLimits
from .http1 import IDLE, Connection, State


class Pool:
    """Open connections to one upstream.

    A request takes an idle one, or makes one while there is room, or waits its turn. What comes
    free while others wait (a connection, or room for one) is given to the first of them and never
    lies about meanwhile: so nobody is overtaken, and a waiter that is cancelled passes it on.
    """

    def __init__(
        self,
        upstream: Upstream,
        limits: TransportLimits,
        tls: ssl.SSLContext | None,
        sweeper: Sweeper,
    ) -> None:
        self.limits = limits
        self._upstream = upstream
        self._tls = tls
        self._sweeper = sweeper
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._connecting = 0  # connections being made, and room promised for one
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()

    @property
    def size(self) -> int:
        """Connections that are open or being opened."""
        return len(self._open) + self._connecting

    def take_idle(self) -> Connection | None:
        """The connection used last that is still good, without waiting. Hot: once per request."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if _is_good(connection):
                return connection
        return None

    async def open(self) -> Connection:
        """A new connection, or one that comes free meanwhile. Raises ProxyError."""
        if self.size < self.limits.connections:
            self._connecting += 1
        else:
            connection = await self._turn()
            if connection is not None:
                return connection
        return await self._connect()

    async def _turn(self) -> Connection | None:
        """Wait for a connection, or None: room for one, which is ours already."""
        try:
            async with asyncio.timeout(self.limits.pool_s):
                while True:
                    connection = await self._next_in_line()
                    if connection is None or _is_good(connection):
                        return connection
                    # It was closed between being given and being taken; its room may be gone too.
                    if self.size < self.limits.connections:
                        self._connecting += 1
                        return None
        except TimeoutError:
            raise PoolTimeout(
                f"all {self.limits.connections} connections to {self._upstream.name} are in use"
            ) from None

    async def _next_in_line(self) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except BaseException:
            if waiter.cancelled():
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
            elif (given := waiter.result()) is None:  # it came together with the cancellation
                self._room_again()
            elif given.state is IDLE:
                self.give_back(given)
            raise

    async def _connect(self) -> Connection:
        """Make a connection in the room that is counted for it already."""
        up = self._upstream
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.limits.connect_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self),
                    up.host,
                    up.port,
                    ssl=self._tls,
                    server_hostname=up.host if self._tls is not None else None,
                )
        except BaseException as error:
            self._room_again()
            mapped = _mapped(error, up, self.limits.connect_s)
            if mapped is None:
                raise
            raise mapped from error
        if connection.state is State.CLOSED:
            self._room_again()
            raise ConnectFailed(f"{up.host}:{up.port} closed the connection at once")
        self._connecting -= 1
        self._open.add(connection)
        self._sweeper.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """The connection has served its request and may serve another."""
        connection.deadline = monotonic() + self.limits.idle_reuse_s
        if (waiter := self._first_waiting()) is not None:
            waiter.set_result(connection)
        elif len(self._idle) >= self.limits.idle_connections:
            connection.close()
        else:
            self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._sweeper.discard(connection)
        if connection not in self._open:
            return  # it never came to be counted
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._connecting += 1
        self._room_again()

    def close(self) -> None:
        """Close everything that is open."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    def _room_again(self) -> None:
        """Room counted in `_connecting` is not needed: promise it to the next, or free it."""
        if (waiter := self._first_waiting()) is not None:
            waiter.set_result(None)
        else:
            self._connecting -= 1

    def _first_waiting(self) -> asyncio.Future[Connection | None] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None


def _is_good(connection: Connection) -> bool:
    return connection.state is IDLE and not connection.transport.is_closing()


def _mapped(error: BaseException, up: Upstream, connect_s: float) -> ProxyError | None:
    """Foreign exceptions of connecting, as ours; None for what passes as it is: cancellation."""
    where = f"{up.host}:{up.port}"
    if isinstance(error, TimeoutError):
        return ConnectTimeout(f"no connection to {where} within {connect_s:g} s")
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return TLSFailed(f"TLS with {where} failed: {_reason(error)}")
    if isinstance(error, OSError):
        return ConnectFailed(f"cannot connect to {where}: {_reason(error)}")
    if isinstance(error, UnicodeError):
        return ConnectFailed(f"{up.host!r} is no name that can be looked up")
    return None


def _reason(error: OSError) -> str:
    return getattr(error, "verify_message", None) or error.strerror or str(error)
