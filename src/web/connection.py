"""A client's connection: uvicorn's protocol over h11, bounded in time and in number.

uvicorn bounds the silence between two requests (`timeout_keep_alive`, which any byte ends) and the
size of a head, nothing else: who connects and is silent, drips its head or never reads its answer
is kept for ever; and its `limit_concurrency` counts whoever is connected, so that idle clients
alone make it answer 503 to everybody. Here:

    WAITING ───head is whole───▶ ANSWERING ───answer is sent───▶ WAITING …
    head_s for all of a head     write_s, while what is unsent does not shrink

Above the most connections: the one that has waited longest makes room, of the address that has
most of them waiting; who sends its request at once is served, however many others do not.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from ..utils.addresses import network_of
from ..utils.tasks import Sweeper
from .errors import error_bytes

_SENT_BYTES = 16_384  # at least, in write_s: a slow reader is served
_GONE_MS = 60_000
_NEVER = float("inf")
_LOGGER = "llmtap.web.http"


@dataclass(slots=True, frozen=True)
class ConnectionLimits:
    """Seconds; `most` connections at once."""

    most: int = 512
    head_s: float = 10.0
    keep_alive_s: float = 15.0
    write_s: float = 30.0


class Connections:
    """All there are, each under its deadline."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[Connection, str] = {}  # in order of their coming, with their networks
        self._sweeper = Sweeper()

    def add(self, connection: Connection, address: str) -> None:
        """One more; another may have to go."""
        self._open[connection] = network_of(address)
        self._sweeper.add(connection)
        if len(self._open) > self.limits.most:
            self._make_room()

    def discard(self, connection: Connection) -> None:
        """It is closed."""
        self._open.pop(connection, None)
        self._sweeper.discard(connection)

    def _make_room(self) -> None:
        waiting = [(each, name) for each, name in self._open.items() if each.is_waiting]
        if waiting:
            most, _ = Counter(name for _, name in waiting).most_common(1)[0]
            _, oldest = min(
                ((each.since, at), each) for at, (each, name) in enumerate(waiting) if name == most
            )
            oldest.drop()


class ConnectionConfig(Config):
    """uvicorn's, which every connection is given, with all there are."""

    def __init__(self, limits: ConnectionLimits, **options: Any) -> None:  # noqa: ANN401  uvicorn's
        keep_alive = math.ceil(limits.keep_alive_s)  # whole seconds, as it has them
        super().__init__(http=Connection, ws="none", timeout_keep_alive=keep_alive, **options)
        self.connections = Connections(limits)
        self.failures = logging.getLogger(_LOGGER)
        # uvicorn warns of each malformed request: anybody could fill the log with lines.
        self.failures.setLevel(logging.ERROR)


class Connection(H11Protocol):
    """One of them. `deadline`, `expire`: see `utils.tasks.Expiring`. `since`: when it began to
    wait for a request."""

    def __init__(
        self,
        config: ConnectionConfig,
        server_state: ServerState,
        app_state: dict[str, Any],  # uvicorn's
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = config.failures
        self._all = config.connections
        self._limits = self._all.limits
        self._unsent = 0
        self.since = time.monotonic()
        self.deadline = self.since + self._limits.head_s

    @property
    def is_waiting(self) -> bool:
        """For a request, with nothing left to send."""
        return not self._is_answering and not self.transport.get_write_buffer_size()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has connected."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # a machine that is gone
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GONE_MS)
        self._all.add(self, self.client[0] if self.client is not None else "")

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._all.discard(self)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """The answer is written; the next request may be read already."""
        self.since = time.monotonic()
        self.deadline = self.since + self._limits.keep_alive_s + self._limits.head_s
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read what we send."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = time.monotonic() + self._limits.write_s

    def expire(self, now: float) -> None:
        """Its time is over, unless it is being served."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent <= self._unsent - _SENT_BYTES:
            self._unsent = unsent
            self.deadline = now + self._limits.write_s
        elif unsent or not self._is_answering:
            self.drop()
        else:
            self.deadline = _NEVER  # until it does not read, or is answered

    def drop(self) -> None:
        """Without waiting for what is unsent."""
        self._all.discard(self)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's raises where an answer has begun, and tells in plain text."""
        del msg
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self._is_answering:
            self.transport.write(error_bytes(400, "bad_request", "this is not valid HTTP/1.1"))
        self.transport.close()
