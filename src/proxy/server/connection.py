"""A client's connection: its life, its deadlines, who of both sides has to wait for the other.

    IDLE ──first byte──▶ HEAD ──head whole──▶ BODY ──body whole──▶ IDLE
                                    └──handshake──▶ UPGRADED
    any ──its last answer is given before all is read, or a refusal──▶ LINGER
    any ──closed by either side──▶ CLOSED

Those are the states of reading. An exchange is answered beside it, from the end of its head on.
It ends orderly, with a reset, or after a moment in which what still comes is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from enum import Enum
from http import HTTPStatus
from time import monotonic
from typing import Any, cast

import httptools

from ..bodies import RequestBody, ResponseBody
from ..errors import ClientDisconnected, MalformedRequest, RequestStalled
from ..exchange import Cause, Exchange
from .served import Served

log = logging.getLogger("llmtap.server")

NEVER = float("inf")
MOST_PIPELINED = 16  # requests read ahead on one connection before it is paused
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
STATUS_LINES = {
    code: b"HTTP/1.1 %d %b\r\n" % (code, _REASONS.get(code, b"")) for code in range(200, 1000)
}
_NO_LINGER = struct.pack("ii", 1, 0)  # on, 0 s: what is unsent is dropped, the peer gets a RST
_SOON = b"retry-after: 1\r\n"
_RESERVED = 100  # connections above the limit, for the health paths: the rest gets a 503 there
_LAST_CALL_S = 0.25  # at the end, for a request that is on its way


class Reading(Enum):
    """What is expected from the client next."""

    IDLE = 0  # a request, whenever it likes
    HEAD = 1  # the rest of a request's head
    BODY = 2  # the rest of a request's body
    LINGER = 3  # nothing: what still comes is thrown away until it closes
    CLOSED = 4
    UPGRADED = 5  # a WebSocket's frames


# Named once: a member through its class costs 80 ns in Python 3.11, and each request asks often.
IDLE, HEAD, BODY, LINGER, CLOSED, UPGRADED = Reading


class ClientConnection(asyncio.Protocol):
    """One connection, with what is read from it and answered on it at the moment."""

    # Past thirty attributes an instance loses its shared keys, which costs 1 µs a request.
    __slots__ = (
        "_client",
        "_connections",
        "_counts",
        "_exchange",
        "_gateway",
        "_keep_alive",
        "_limits",
        "_parser",
        "_problem",
        "_queue",
        "_reading",
        "_reading_paused",
        "_request_body",
        "_response_body",
        "_surplus",
        "_sweeper",
        "_target",
        "_write_paused",
        "deadline",
        "transport",
    )

    transport: asyncio.Transport
    _parser: httptools.HttpRequestParser  # made by who reads requests

    def __init__(self, app: Served, connections: set[Any]) -> None:  # Any: as UvicornState has it
        self._gateway = app.gateway
        self._limits = app.server_limits
        self._counts = app.server_counts
        self._sweeper = app.sweeper
        self._connections = connections
        self._client = ""  # its address
        self._surplus = False  # above the limit of connections
        self._keep_alive = True
        self.deadline = NEVER
        self._reading = IDLE
        self._reading_paused = False
        self._write_paused = False

        self._target = b""  # of the request being read, or the last one
        self._request_body: RequestBody | None = None  # being read
        self._problem: tuple[int, str] | None = None  # with what is being read: status, why
        self._exchange: Exchange | None = None  # being answered
        self._response_body: ResponseBody | None = None
        self._queue: deque[tuple[Exchange, bool]] = deque()  # to be answered after it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._sweeper.add(self)
        self._counts.connections += 1
        open_now = len(self._connections)
        if open_now >= self._limits.connections:
            if open_now >= self._limits.connections + _RESERVED:
                self._refuse(503, "too many connections")
                return
            self._surplus = True
            self._keep_alive = False
        self._connections.add(self)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._client = f"{peer[0]}:{peer[1]}"
        self.deadline = monotonic() + self._limits.head_s

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        self._reading = CLOSED
        del self._parser  # it holds us: without a cycle all this goes now, not at a rare collection
        self._connections.discard(self)
        self._sweeper.discard(self)
        self._counts.connections -= 1
        exchange, self._exchange = self._exchange, None
        if self._request_body is not None:
            self._request_body.fail(
                ClientDisconnected("the client left before its request was complete")
            )
        if exchange is not None:
            self._gateway.client_left(exchange)
        self._queue.clear()

    def eof_received(self) -> None:
        """A client that half-closes is taken to have left: that is how leaving looks (RFC 9112
        9.6 lets a server do so), and an abandoned stream must stop within a second."""

    def shutdown(self) -> None:
        """uvicorn: finish what is being answered, take nothing new."""
        self._gateway.stop_accepting()
        self._keep_alive = False
        if self._exchange is not None:
            return
        if self._reading is HEAD or (self._reading is IDLE and not self._target):
            # Its first request is on its way: who has connected is served, soon or not at all.
            self.deadline = min(self.deadline, monotonic() + _LAST_CALL_S)
        else:
            self._close()

    def expire(self, now: float) -> None:
        """The deadline has passed: a slow head, a stalled body, an idle or unread connection."""
        if self._write_paused:
            if self._exchange is not None:
                why = f"the client read nothing for {self._limits.client_write_s:g} s"
                self._exchange.end(Cause.CLIENT_DISCONNECTED, why)
            self.transport.abort()
        elif self.transport.is_closing():
            self.transport.abort()
        elif self._reading is HEAD:
            self._counts.slow += 1
            self._refuse(408, "the request's head did not come in time")
        elif self._reading is BODY and self._reading_paused:
            self.deadline = now + self._limits.body_s  # it is the upstream that is slow
        elif self._reading is BODY and self._request_body is not None:
            self.deadline = NEVER
            self._counts.slow += 1
            self._request_body.fail(RequestStalled("the request's body came too slowly"))
        else:
            if self._reading is IDLE and not self._target:
                self._counts.slow += 1  # it has never asked for anything
            self._close()

    # --- flow ----------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading_paused or self.transport.is_closing():
            return
        if len(self._queue) < MOST_PIPELINED:
            self._reading_paused = False
            if self._reading is BODY and not self._write_paused:
                self.deadline = monotonic() + self._limits.body_s
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """The client reads too slowly: slow the upstream down."""
        self._write_paused = True
        self.deadline = monotonic() + self._limits.client_write_s
        if self._response_body is not None:
            self._response_body.pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        self.deadline = self._reading_deadline()
        if self._response_body is not None:
            self._response_body.resume()

    def _reading_deadline(self) -> float:
        """As if what is being read began now: while the client read slowly, nothing was asked."""
        limits = self._limits
        if self._reading is LINGER:
            return NEVER if self._exchange is not None else monotonic() + limits.linger_s
        if self._reading is BODY:
            return monotonic() + limits.body_s
        if self._exchange is None:
            seconds = limits.head_s if self._reading is HEAD else limits.keep_alive_s
            return monotonic() + seconds
        return NEVER

    # --- its end -------------------------------------------------------------------------------

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no request and close. There is no exchange, so there is no trace."""
        self._problem = None
        if self._reading in {LINGER, CLOSED}:
            return
        exchange = self._exchange
        if exchange is not None:  # it or one before it on this connection is being answered
            self._keep_alive = False
            self._reading = LINGER
            if not self._write_paused:
                self.deadline = NEVER
            if exchange.body is self._request_body:
                exchange.body.fail(MalformedRequest(message))
            return
        if status != 408:
            self._counts.refused += 1
        log.info("refused a connection's bytes: %s (%d) from %s", message, status, self._client)
        text = b'{"error": {"type": "invalid_request_error", "message": "%b"}}' % message.encode(
            "ascii", "replace"
        ).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        first = STATUS_LINES[status] + (_SOON if status == 503 else b"")
        self.transport.write(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (first, len(text), text)
        )
        self._linger()

    def _linger(self) -> None:
        """Close without losing the answer: unread bytes would make the kernel send a reset that
        overtakes it (RFC 9112 9.6), so what still comes is read and dropped for a moment."""
        self._reading = LINGER
        if self._request_body is not None:
            self._request_body.fail(
                RequestStalled("the answer was given before the request was complete")
            )
            self._request_body = None
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        limits = self._limits
        self.deadline = monotonic() + (
            limits.client_write_s if self._write_paused else limits.linger_s
        )

    def _close(self) -> None:
        """Close once all is sent; a client that does not read may keep it from that only so long
        (a write buffer below its mark pauses nothing)."""
        self.deadline = monotonic() + self._limits.client_write_s
        self.transport.close()

    def _reset(self) -> None:
        """Close with a reset: `transport.abort` alone sends an orderly end where all was sent."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()
