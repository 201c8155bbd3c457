"""The default transport: HTTP/1.1 on httptools over asyncio, with a pool per upstream.

It exists because forwarding is what this program is for: httpx 0.28 carried some 600 requests a
second behind a plain ASGI application where nginx carried 63,000; this carries 0.42 of nginx with
everything around it (`bench/RESULTS.md`).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from time import monotonic
from typing import ClassVar

import certifi

from ...utils.tasks import Sweeper
from ..errors import UpstreamClosed
from ..exchange import Attempt, Exchange, Phase, Response, Upstream
from .base import Outgoing, TransportLimits
from .http1 import Connection
from .pool import Pool

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})


_HEADERS = Phase.HEADERS


class NativeTransport:
    """Sends requests to any number of upstreams. TLS verifies against `ca_file` or the system's."""

    websockets: ClassVar[bool] = True  # the forwarder asks: the other transport has none

    def __init__(
        self, limits: TransportLimits, sweeper: Sweeper, ca_files: dict[str, Path] | None = None
    ) -> None:
        self._limits = limits
        self._sweeper = sweeper
        self._ca_files = ca_files or {}
        self._pools: dict[str, Pool] = {}

    async def start(self) -> None:
        """Nothing to open: connections are made when they are wanted."""

    async def stop(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def open_connections(self) -> int:
        """Connections to all upstreams that are open or being opened."""
        return sum(pool.size for pool in self._pools.values())

    async def send(self, exchange: Exchange, upstream: Upstream, out: Outgoing) -> Response:
        """See Transport. A reused connection found dead is replaced once, where that is safe."""
        pool = self._pools.get(upstream.name) or self._pool(upstream)
        connection = pool.take_idle()
        if connection is None:
            connection = await self._open(pool, exchange)
        else:
            exchange.reused = True
        try:
            return await self._send_on(connection, exchange, out)
        except UpstreamClosed as error:
            if not (error.stale and _may_repeat(exchange, out)):
                raise
            _note_stale(exchange, error)
        return await self._send_on(await self._open(pool, exchange), exchange, out)

    async def _send_on(self, connection: Connection, exchange: Exchange, out: Outgoing) -> Response:
        exchange.phase = _HEADERS
        exchange.t_sent = monotonic()
        try:
            return await connection.start(exchange, out)
        except BaseException:
            connection.abandon(exchange)
            raise

    async def _open(self, pool: Pool, exchange: Exchange) -> Connection:
        exchange.phase = Phase.CONNECT
        exchange.t_connect_start = monotonic()
        connection = await pool.open()
        exchange.t_connected = monotonic()
        exchange.reused = connection.served > 0
        return connection

    def _pool(self, upstream: Upstream) -> Pool:
        tls = tls_context(self._ca_files.get(upstream.name)) if upstream.scheme == "https" else None
        pool = self._pools[upstream.name] = Pool(upstream, self._limits, tls, self._sweeper)
        return pool


def _note_stale(exchange: Exchange, error: UpstreamClosed) -> None:
    """The attempt that is on goes on; what was lost stands before it as one of its own."""
    current = exchange.attempts[-1]
    lost = Attempt(current.started, current.key_label, error=error.code)
    exchange.attempts.insert(-1, lost)
    current.started = monotonic()


def _may_repeat(exchange: Exchange, out: Outgoing) -> bool:
    """May a request go again whose connection died before a byte of the answer came?

    The server may have read and acted on it, so only where doing it twice is harmless
    (RFC 9110 9.2.2), and where the body is still here.
    """
    return exchange.method in _IDEMPOTENT and (out.body is not None or not exchange.body.discarded)


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """A verifying client context: `ca_file`, else the system's authorities, else certifi's."""
    context = ssl.create_default_context(cafile=ca_file)
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context
