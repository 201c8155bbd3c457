"""What the forwarder asks of a transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..exchange import Exchange, Header, Response, Upstream


@dataclass(slots=True, frozen=True)
class TransportLimits:
    """Times in seconds, sizes in bytes, counts per origin; see `config.yaml` for each."""

    connect_s: float = 5.0
    headers_s: float = 600.0
    idle_s: float = 300.0
    pool_s: float = 5.0
    connections: int = 2000
    idle_connections: int = 100
    idle_reuse_s: float = 15.0
    head_bytes: int = 256 * 1024
    message_bytes: int = 16 * 1024 * 1024  # of a WebSocket, over its fragments


@dataclass(slots=True)
class Outgoing:
    """A request as it is to be sent. `target` is path and query; `headers` are final, in order.

    `body` replaces the client's body; None means: stream what the client sends.
    """

    method: bytes
    target: bytes
    headers: list[Header]
    body: bytes | None = None


class Transport(Protocol):
    """Sends one request to one upstream.

    `send` returns once the response's head is there, with a body that streams. It raises a
    ProxyError and nothing else, leaves no connection behind when cancelled, and notes times and
    reuse on the exchange.
    """

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, exchange: Exchange, upstream: Upstream, out: Outgoing) -> Response: ...
