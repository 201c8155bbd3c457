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
from .http1 import IDLE, NEVER, Connection, State


class Pool:
    """Open connections to one upstream. `acquire` gives one, `give_back` is called by itself."""

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
        self._connecting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def size(self) -> int:
        """Connections that are open or being opened."""
        return len(self._open) + self._connecting

    def take_idle(self) -> Connection | None:
        """The connection used last that is still good, without waiting. Hot: once per request."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.state is IDLE and not connection.transport.is_closing():
                return connection
        return None

    async def open(self) -> Connection:
        """A new connection, or one that comes free meanwhile. Raises ProxyError."""
        while self.size >= self.limits.connections:
            await self._wait_for_room()
            if (connection := self.take_idle()) is not None:
                return connection
        return await self._connect()

    async def _wait_for_room(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self.limits.pool_s):
                await waiter
        except TimeoutError:
            raise PoolTimeout(
                f"all {self.limits.connections} connections to {self._upstream.name} are in use"
            ) from None
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.cancelled():
                self._wake_one()

    async def _connect(self) -> Connection:
        up = self._upstream
        loop = asyncio.get_running_loop()
        self._connecting += 1
        try:
            async with asyncio.timeout(self.limits.connect_s):
                _, protocol = await loop.create_connection(
                    lambda: Connection(self),
                    up.host,
                    up.port,
                    ssl=self._tls,
                    server_hostname=up.host if self._tls is not None else None,
                )
        except BaseException as error:
            self._wake_one()
            raise _mapped(error, up, self.limits.connect_s) from error
        finally:
            self._connecting -= 1
        connection = protocol
        if connection.state is State.CLOSED:
            raise ConnectFailed(f"{up.host}:{up.port} closed the connection at once")
        self._open.add(connection)
        self._sweeper.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """The connection has served its request and may serve another."""
        if len(self._idle) >= self.limits.idle_connections and not self._waiting:
            connection.close()
            return
        connection.deadline = monotonic() + self.limits.idle_reuse_s
        self._idle.append(connection)
        self._wake_one()

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._open.discard(connection)
        self._sweeper.discard(connection)
        connection.deadline = NEVER
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake_one()

    def close(self) -> None:
        """Close everything that is open."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    def _wake_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _mapped(error: BaseException, up: Upstream, connect_s: float) -> BaseException:
    """Foreign exceptions of connecting, as ours; cancellation and our own pass as they are."""
    where = f"{up.host}:{up.port}"
    if isinstance(error, ProxyError):
        return error
    if isinstance(error, TimeoutError):
        return ConnectTimeout(f"no connection to {where} within {connect_s:g} s")
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return TLSFailed(f"TLS with {where} failed: {_reason(error)}")
    if isinstance(error, OSError):
        return ConnectFailed(f"cannot connect to {where}: {_reason(error)}")
    return error


def _reason(error: OSError) -> str:
    return getattr(error, "verify_message", None) or error.strerror or str(error)
