"""The server's side of HTTP/1.1, as a protocol class for uvicorn (`--http llmtap.proxy.server:…`).

uvicorn keeps the process: sockets, signals, workers, reload. Its own protocol is not used because
of two things measured here: its request cycle costs 20 µs a request, as much as all of forwarding
(29 µs for an empty ASGI answer against 21 µs for a whole proxied one without it), and it offers no
deadline for a request's head or body, no cap on headers, and takes `Transfer-Encoding: ,chunked`
and a missing Host. Parsing is the same: llhttp by httptools.

    IDLE ──first byte──▶ HEAD ──▶ (Exchange made) BODY ──▶ ANSWERING ──▶ IDLE | LINGER ──▶ closed
                                      └──handshake──▶ UPGRADED ──▶ LINGER ──▶ closed
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from collections import deque
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from time import monotonic
from typing import Any, Protocol, cast

import httptools

from ..utils.tasks import Sweeper
from ..utils.ulid import ULIDs
from .bodies import RequestBody, ResponseBody
from .counts import ServerCounts
from .errors import ClientDisconnected, MalformedRequest, RequestStalled
from .exchange import Cause, Exchange, Header, Response
from .gateway import Gateway
from .headers import KIND, Kind, content_length, end_to_end
from .limits import ServerLimits
from .urls import origin_form
from .websocket import ClientFrames, wants_websocket

log = logging.getLogger("llmtap.server")

NEVER = float("inf")
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES = {
    code: b"HTTP/1.1 %d %b\r\n" % (code, _REASONS.get(code, b"")) for code in range(200, 1000)
}
_PASS = Kind.PASS
_HOST = Kind.HOST
_LENGTH = Kind.CONTENT_LENGTH
_NO_LINGER = struct.pack("ii", 1, 0)  # on, 0 s: what is unsent is dropped, the peer gets a RST
_SOON = b"retry-after: 1\r\n"
_VERSIONS = {"1.1": b"1.1", "1.0": b"1.0"}
_UNCOUNTED = -1  # bytes of a head that began somewhere within a read
_RESERVED = 100  # connections above the limit, for the health paths: the rest gets a 503 there
_SLOWEST_BODY = 240  # bytes a second, counted over `body_s`; as Kestrel's MinRequestBodyDataRate
_LAST_CALL_S = 0.25  # at the end, for a request that is on its way
_MOST_PIPELINED = 16  # requests read ahead on one connection before it is paused


class Reading(Enum):
    """What is expected from the client next."""

    IDLE = 0  # a request, whenever it likes
    HEAD = 1  # the rest of a request's head
    BODY = 2  # the rest of a request's body
    LINGER = 3  # nothing: what still comes is thrown away until it closes
    CLOSED = 4
    UPGRADED = 5  # a WebSocket's frames


class Served(Protocol):
    """What is served: the application, as a connection needs it."""

    gateway: Gateway
    server_limits: ServerLimits
    server_counts: ServerCounts
    new_id: ULIDs
    sweeper: Sweeper
    own_answers: dict[bytes, Callable[[], tuple[int, bytes]]]


class UvicornConfig(Protocol):
    """uvicorn's Config, as far as it is used."""

    loaded_app: object


class UvicornState(Protocol):
    """uvicorn's ServerState, as far as it is used."""

    connections: set[Any]  # of protocols, ours among uvicorn's own


# Named once: a member through its class costs 80 ns in Python 3.11, and each request asks often.
IDLE, HEAD, BODY, LINGER, CLOSED, UPGRADED = Reading


class ServerProtocol(asyncio.Protocol):
    """One client connection. The constructor and `shutdown` are what uvicorn's Server expects."""

    # Past thirty attributes an instance loses its shared keys, which costs 1 µs a request.
    __slots__ = (
        "_answers",
        "_begun",
        "_body",
        "_body_seen",
        "_body_timed",
        "_bodyless",
        "_chunked",
        "_client",
        "_connections",
        "_counts",
        "_exchange",
        "_fed",
        "_gateway",
        "_head",
        "_head_bytes",
        "_headers",
        "_keep_alive",
        "_limits",
        "_loop",
        "_new_id",
        "_parser",
        "_problem",
        "_queue",
        "_reading",
        "_reading_paused",
        "_response_body",
        "_surplus",
        "_sweeper",
        "_target",
        "_until_close",
        "_write_paused",
        "deadline",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        config: UvicornConfig,
        server_state: UvicornState,
        app_state: object,  # noqa: ARG002 - uvicorn passes it
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        app = _unwrapped(config.loaded_app)
        self._loop = _loop or asyncio.get_running_loop()
        self._gateway = app.gateway
        self._limits = app.server_limits
        self._counts = app.server_counts
        self._new_id = app.new_id
        self._sweeper = app.sweeper
        self._answers = app.own_answers
        self._connections = server_state.connections
        self._parser = httptools.HttpRequestParser(self)
        self._reading = IDLE
        self._reading_paused = False
        self._client = ""
        self._surplus = False  # above the limit of connections
        self.deadline = NEVER

        # the request being read
        self._fed = b""  # what the parser is being fed
        self._begun = b""  # what came of an unfinished head before
        self._target = b""
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._body: RequestBody | None = None
        self._body_seen = 0  # bytes of it at the last read
        self._body_timed = 0  # bytes of it when the deadline was last moved
        self._problem: tuple[int, str] | None = None

        # the exchange being answered
        self._exchange: Exchange | None = None
        self._response_body: ResponseBody | None = None
        self._queue: deque[tuple[Exchange, bool]] = deque()
        self._keep_alive = True
        self._head = b""
        self._chunked = False
        self._bodyless = False
        self._until_close = False
        self._write_paused = False

    # --- connection ----------------------------------------------------------------------------

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
        if self._body is not None:
            self._body.fail(ClientDisconnected("the client left before its request was complete"))
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

    # --- request in ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Hot: once per read."""
        reading = self._reading
        if reading is IDLE:
            self._reading = HEAD
            self._head_bytes = len(data)  # no more of it than that is the head
        elif reading is HEAD:
            self._head_bytes += len(data)
        elif reading is LINGER:
            return
        self._fed = data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._upgrade(data[stop.args[0] :])
        except httptools.HttpParserError as error:
            if self._problem is None:
                self._problem = (400, f"this is not valid HTTP/1.1: {error}")
        self._fed = b""
        if self._problem is not None:
            self._refuse(*self._problem)
        elif self._reading is BODY:
            self._await_body(len(data) if reading is BODY else 0)
        elif self._reading is HEAD:
            self._await_head(data, begun=reading is not HEAD)

    def _upgrade(self, rest: bytes) -> None:
        """llhttp reads no further on this connection. What follows a handshake are frames, for
        the upstream if it agrees."""
        exchange = self._exchange
        if self._queue:
            exchange = self._queue[-1][0]
            self._queue[-1] = (exchange, False)
        else:
            self._keep_alive = False
        if exchange is None or exchange.body.error is not None:
            return
        if exchange.body.announced or exchange.body.chunked:
            self._read_body(exchange, rest)
            return
        if not wants_websocket(exchange) or exchange.http_version != b"1.1":
            return
        frames = ClientFrames(self)
        exchange.body = self._body = frames
        self._reading = UPGRADED
        # It takes the parser's place: no read of any other connection has to ask what it is.
        self._parser = cast(httptools.HttpRequestParser, frames)
        if rest:
            frames.feed_data(rest)

    def _read_body(self, exchange: Exchange, rest: bytes) -> None:
        """llhttp takes a request that asks for an upgrade for whole at the end of its head. Its
        body is read all the same: Java's client asks for h2c with every POST."""
        early = exchange.body
        body = RequestBody(self, self._limits.body_bytes, self._limits.replay_bytes)
        body.chunked, body.announced, body.wanted = early.chunked, early.announced, early.wanted
        exchange.body = self._body = body
        exchange.t_request_body = None
        self._reading = BODY
        self._parser = httptools.HttpRequestParser(_BodyOnly(self))
        framing = b"transfer-encoding: chunked"
        if not body.chunked:
            framing = b"content-length: %d" % body.announced
        try:
            self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: a\r\n%b\r\n\r\n" % framing + rest)
        except httptools.HttpParserError as error:
            self._problem = (400, f"this is not valid HTTP/1.1: {error}")

    def _await_head(self, data: bytes, *, begun: bool) -> None:
        """The head is not whole yet: bounded in bytes and, from its first byte, in time."""
        self._begun += data
        if begun and self._exchange is None:  # else its time begins when the answer is out
            self.deadline = monotonic() + self._limits.head_s
        if self._head_bytes > self._limits.header_bytes:
            self._refuse(431, self._head_too_large())

    def _await_body(self, size: int) -> None:
        """The body is not whole yet. Time is given for more of it, not for a byte now and then,
        and what is no body (trailers, chunk extensions), which llhttp would collect for ever, is
        bounded as the head is."""
        body = self._body
        if not size:
            self._time_body()
        if body is None or body.error is not None:
            return
        if body.size - self._body_timed >= _SLOWEST_BODY * self._limits.body_s:
            self._time_body()
        if body.size > self._body_seen:
            self._body_seen = body.size
            self._head_bytes = 0
        else:
            self._head_bytes += size
            if self._head_bytes > self._limits.header_bytes:
                self._refuse(431, "too many bytes of the body's framing and none of the body")

    def _time_body(self) -> None:
        if self._body is not None:
            self._body_timed = self._body.size
        if not self._write_paused:
            self.deadline = monotonic() + self._limits.body_s

    def _head_too_large(self) -> str:
        return f"the request's head is over {self._limits.header_bytes} bytes"

    def on_message_begin(self) -> None:
        self._target = self._begun = b""
        self._headers = []
        if self._reading is IDLE:  # pipelined behind another in the same read
            self._reading = HEAD
            self._head_bytes = _UNCOUNTED

    def on_url(self, url: bytes) -> None:
        self._target = self._target + url if self._target else url
        if len(self._target) > self._limits.url_bytes:
            self._problem = (414, f"the request's target is over {self._limits.url_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is HEAD:  # later ones are trailers, which nobody gets to see
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:  # noqa: C901, PLR0912 - one pass, once per request
        """The head is whole: judge its framing, make the exchange, begin. Hot: per request."""
        if self._problem is not None:
            return
        limits = self._limits
        version = _VERSIONS.get(self._parser.get_http_version(), b"")
        method = self._parser.get_method()
        if (version != b"1.1" or method == b"SOURCE") and not self._speaks_http():
            version = b""
        chunked = continues = False
        hosts = lengths = announced = 0
        for name, value in self._headers:
            kind = KIND[name]
            if kind is _PASS:
                continue
            if kind is _HOST:
                hosts += 1
            elif kind is _LENGTH:
                length = content_length(value)
                lengths += 1 if length is not None else 2
                announced = length or 0
            elif kind is Kind.TRANSFER_ENCODING:
                # Doubled or any other coding: two readers could frame it in two ways.
                lengths += 2 if chunked or value.lower() != b"chunked" or version != b"1.1" else 0
                chunked = True
            elif kind is Kind.EXPECT:  # RFC 9110 10.1.1: not from HTTP/1.0
                continues = value.lower() == b"100-continue" and version == b"1.1"
            elif kind is Kind.FORGED:
                self._problem = (
                    400,
                    "an underscore in a header's name that is written with dashes",
                )
        if lengths > 1 or (lengths and chunked):
            self._problem = (400, "the length of the body is not given in one plain way")
        elif hosts != 1 and (hosts or version != b"1.0"):
            self._problem = (400, "a request needs one Host header")
        elif method == b"CONNECT" or not version:
            self._problem = (400, "this is a gateway for HTTP/1.1, not a forward proxy")
        elif len(self._headers) > limits.header_count:
            self._problem = (431, f"more than {limits.header_count} headers")
        elif not 0 <= self._head_bytes <= limits.header_bytes and self._head_is_too_large():
            self._problem = (431, self._head_too_large())
        elif self._problem is None:
            self._reading = BODY
            body = RequestBody(self, limits.body_bytes, limits.replay_bytes)
            if chunked:
                body.chunked = True
            elif announced > limits.body_bytes:
                body.refuse_length(announced)
            elif announced:
                body.announced = announced
            if continues:
                body.wanted = self._send_continue
            self._accept(method, version, body)

    def _speaks_http(self) -> bool:
        """llhttp takes `RTSP/1.0` and, after SOURCE, `ICE/1.0` for HTTP and does not tell."""
        line = re.escape(self._target) + rb" +HTTP/"
        return re.search(line, self._begun + self._fed) is not None

    def _head_is_too_large(self) -> bool:
        """Counted exactly, where a read held more than the head."""
        size = len(self._target) + sum(len(n) + len(v) + 4 for n, v in self._headers)
        return size > self._limits.header_bytes

    def _accept(self, method: bytes, version: bytes, body: RequestBody) -> None:
        exchange = Exchange(
            self._new_id(),
            method,
            origin_form(self._target),
            version,
            tuple(self._headers),
            self._client,
            body,
        )
        self._body = body
        self._body_seen = 0
        self._body_timed = 0
        keep_alive = self._parser.should_keep_alive() and version == b"1.1"
        if self._exchange is None and not self._queue:
            self._begin(exchange, keep_alive)
            return
        self._queue.append((exchange, keep_alive))
        if len(self._queue) >= _MOST_PIPELINED:
            self.pause_reading()

    def on_body(self, chunk: bytes) -> None:
        body = self._body
        if body is not None and body.error is None:
            body.feed(chunk)

    def on_message_complete(self) -> None:
        if self._problem is not None:
            return
        body, self._body = self._body, None
        self._reading = IDLE
        if not self._write_paused:
            self.deadline = NEVER
        if body is not None and body.error is None:
            exchange = self._exchange
            if exchange is None or exchange.body is not body:
                exchange = self._queue[-1][0]
            exchange.t_request_body = monotonic()
            body.end()

    def _send_continue(self) -> None:
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- answer out ----------------------------------------------------------------------------

    def _begin(self, exchange: Exchange, keep_alive: bool) -> None:
        self._keep_alive = self._keep_alive and keep_alive
        own = self._answers.get(exchange.path) if exchange.method in {b"GET", b"HEAD"} else None
        self._exchange = exchange
        if own is None:
            if self._surplus:
                why = f"{self._limits.connections} connections are open"
                exchange.refusal = (503, "overloaded", why)
            self._gateway.start(exchange, self)
            return
        status, body = own()
        pairs: list[Header] = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        self.begin(exchange, Response(status, pairs, body))
        self.write(body)
        self._loop.call_soon(self._end_own, exchange)

    def _end_own(self, exchange: Exchange) -> None:
        if self._exchange is exchange:
            self.end()

    def begin(self, exchange: Exchange, response: Response) -> None:
        """Send the response's head; decides how its body is framed (RFC 9112 6.3)."""
        headers, has_length = end_to_end(response.headers)
        status = response.status
        self._bodyless = exchange.method == b"HEAD" or status in {204, 304}
        self._chunked = not has_length and not self._bodyless and exchange.http_version == b"1.1"
        self._until_close = not (has_length or self._bodyless or self._chunked)
        if self._until_close:  # HTTP/1.0
            self._keep_alive = False
        if response.reason:
            lines = [b"HTTP/1.1 %d %b\r\n" % (status, response.reason)]
        else:
            lines = [_STATUS_LINES[status]]
        lines += [b"%b: %b\r\n" % pair for pair in headers]
        lines.append(b"x-llmtap-id: %b\r\n" % exchange.id.encode())
        if self._chunked:
            if status == 101:
                self._begin_frames(exchange, response)
                return
            lines.append(b"transfer-encoding: chunked\r\n")
        if not exchange.body.complete and status >= 400:
            self._keep_alive = False  # an early no: the rest of the upload is not waited for
        if not self._keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        body = response.body
        self._response_body = body if isinstance(body, ResponseBody) else None
        if self._write_paused and self._response_body is not None:
            self._response_body.pause()
        self._head = b"".join(lines)  # every write is a system call: the body may be here already

    def _begin_frames(self, exchange: Exchange, response: Response) -> None:
        """The upstream has agreed to a WebSocket: its answer as it came, then frames both ways."""
        self._chunked = False
        lines = [b"HTTP/1.1 101 %b\r\n" % (response.reason or b"Switching Protocols")]
        lines += [b"%b: %b\r\n" % pair for pair in response.headers]
        lines.append(b"x-llmtap-id: %b\r\n\r\n" % exchange.id.encode())
        self._response_body = cast(ResponseBody, response.body)
        if self._write_paused:
            self._response_body.pause()
        self._head = b"".join(lines)
        cast(ClientFrames, exchange.body).open()

    def flush(self) -> None:
        """Send the head now: the body is not here yet."""
        head, self._head = self._head, b""
        if head:
            self.transport.write(head)

    def write(self, chunk: bytes) -> None:
        """Send a piece of the body. Hot: once per chunk of a stream."""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        elif self._bodyless:
            return
        if self._head:
            chunk = self._head + chunk
            self._head = b""
        self.transport.write(chunk)

    def end(self) -> None:
        """The answer is complete: on to the next request, or close."""
        if self._chunked:
            self.transport.write(self._head + b"0\r\n\r\n")
            self._head = b""
        elif self._head:
            self.flush()
        exchange, self._exchange = self._exchange, None
        self._response_body = None
        if self._reading is CLOSED:
            return
        if exchange is not None and not exchange.body.complete:
            self._linger()
        elif not self._keep_alive:
            self._end_last()
        elif self._queue:
            self._begin(*self._queue.popleft())
            self.resume_reading()
        else:
            self.resume_reading()
            if self._reading is IDLE:
                self.deadline = monotonic() + self._limits.keep_alive_s
            elif self._reading is HEAD:
                self.deadline = monotonic() + self._limits.head_s

    def _end_last(self) -> None:
        """The last answer on this connection. Behind a handshake something may still come."""
        if self._reading is UPGRADED:
            self._linger()
        else:
            self._close()

    def abort(self) -> None:
        """Cut: the client must not take what it has for the whole."""
        exchange, self._exchange = self._exchange, None
        begun, self._head = not self._head, b""
        frames = exchange.body if exchange is not None else None
        if self._until_close or self._write_paused:
            # A body that ends with the connection needs a reset to be told from a whole one;
            # chunked and sized ones have their ends marked.
            self._reset()
        elif isinstance(frames, ClientFrames) and frames.opened:
            if begun and exchange is not None and (last := frames.farewell(exchange.cause)):
                self.transport.write(last)
            self._linger()
        else:
            self._close()

    def _reset(self) -> None:
        """Close with a reset: `transport.abort` alone sends an orderly end where all was sent."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def _close(self) -> None:
        """Close once all is sent; a client that does not read may keep it from that only so long
        (a write buffer below its mark pauses nothing)."""
        self.deadline = monotonic() + self._limits.client_write_s
        self.transport.close()

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
            if exchange.body is self._body:
                exchange.body.fail(MalformedRequest(message))
            return
        if status != 408:
            self._counts.refused += 1
        log.info("refused a connection's bytes: %s (%d) from %s", message, status, self._client)
        text = b'{"error": {"type": "invalid_request_error", "message": "%b"}}' % message.encode(
            "ascii", "replace"
        ).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        first = _STATUS_LINES[status] + (_SOON if status == 503 else b"")
        self.transport.write(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (first, len(text), text)
        )
        self._linger()

    def _linger(self) -> None:
        """Close without losing the answer: unread bytes would make the kernel send a reset that
        overtakes it (RFC 9112 9.6), so what still comes is read and dropped for a moment."""
        self._reading = LINGER
        if self._body is not None:
            self._body.fail(RequestStalled("the answer was given before the request was complete"))
            self._body = None
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        limits = self._limits
        self.deadline = monotonic() + (
            limits.client_write_s if self._write_paused else limits.linger_s
        )

    # --- deadlines and flow --------------------------------------------------------------------

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
        elif self._reading is BODY and self._body is not None:
            self.deadline = NEVER
            self._counts.slow += 1
            self._body.fail(RequestStalled("the request's body came too slowly"))
        else:
            if self._reading is IDLE and not self._target:
                self._counts.slow += 1  # it has never asked for anything
            self._close()

    def pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading_paused or self.transport.is_closing():
            return
        if len(self._queue) < _MOST_PIPELINED:
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


class _BodyOnly:
    """What a parser tells of that is given a body whose head has been read already."""

    def __init__(self, server: ServerProtocol) -> None:
        self.on_body = server.on_body
        self.on_message_complete = server.on_message_complete


def _unwrapped(app: object) -> Served:
    """The application itself, from below what uvicorn wraps around it by default."""
    while not hasattr(app, "gateway"):
        app = getattr(app, "app")  # noqa: B009 - ASGI middlewares name it so by habit only
    return cast(Served, app)
