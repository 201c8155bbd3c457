"""HTTP/1.1 to the upstream: one connection, its parser, its states.

    CONNECTING ──▶ IDLE ──start──▶ HEAD ──head──▶ BODY ──end──▶ IDLE (back to the pool)
                     │               ├──101──▶ TUNNEL (a WebSocket: tunnel.py has it)
                     │               │              │ │
                     └───────────────┴──────────────┴─┴─▶ CLOSED

Parsing is llhttp's; what stands here is what llhttp leaves to its user: which framing to trust,
where a body without a length ends, and when a connection may serve somebody else.
"""

from __future__ import annotations

import asyncio
import re
from enum import Enum
from time import monotonic
from typing import Protocol, cast

import httptools

from ..bodies import RequestBody, ResponseBody
from ..errors import (
    BadResponse,
    BodyError,
    HeadersTimeout,
    ProxyError,
    UpstreamClosed,
    UpstreamReset,
)
from ..exchange import Exchange, Header, Response
from ..headers import KIND, Kind, response_framing
from ..websocket import ClientFrames
from .base import Outgoing, TransportLimits
from .tunnel import Tunnel

NEVER = float("inf")


class State(Enum):
    """What a connection is doing."""

    IDLE = 0  # open, in the pool
    HEAD = 1  # a request was sent, its answer's head is awaited
    BODY = 2  # the answer's body is arriving
    CLOSED = 3  # gone, or not to be used again
    TUNNEL = 4  # upgraded to a WebSocket, until it closes


IDLE, HEAD, BODY, CLOSED, TUNNEL = State  # named once: see server/connection.py
_FRAMING = frozenset({Kind.CONTENT_LENGTH, Kind.TRANSFER_ENCODING})  # a 101 has none
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_VERSIONS = {"1.1": b"1.1", "1.0": b"1.0"}


class Owner(Protocol):
    """The pool, as a connection sees it."""

    limits: TransportLimits

    def give_back(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """One TCP or TLS connection to an upstream, serving one request at a time."""

    __slots__ = (
        "_body",
        "_bytes_in",
        "_chunked_up",
        "_close_delimited",
        "_done",
        "_exchange",
        "_head",
        "_headers",
        "_keep_alive",
        "_limits",
        "_loop",
        "_no_body",
        "_owner",
        "_parser",
        "_reading_paused",
        "_reason",
        "_request",
        "_surplus",
        "_tunnel",
        "_upload_done",
        "_write_paused",
        "deadline",
        "served",
        "state",
        "transport",
    )

    transport: asyncio.Transport
    _tunnel: Tunnel  # in the state of that name

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._limits = owner.limits
        self.state = IDLE
        self.deadline = NEVER
        self.served = 0
        self._parser: httptools.HttpResponseParser  # while there is a connection
        self._reading_paused = False
        self._headers: list[Header] = []
        self._reason = b""
        self._head: asyncio.Future[Response] | None = None
        self._body: ResponseBody | None = None
        self._request: RequestBody | None = None
        self._exchange: Exchange | None = None
        self._bytes_in = 0
        self._done = False
        self._surplus = False
        self._keep_alive = False
        self._close_delimited = False
        self._no_body = False
        self._chunked_up = False
        self._upload_done = True
        self._write_paused = False

    # --- the request's way out -----------------------------------------------------------------

    def start(self, exchange: Exchange, out: Outgoing) -> asyncio.Future[Response]:
        """Send a request; the future brings the response's head or a ProxyError."""
        self.state = HEAD
        self._exchange = exchange
        self._head = head = self._loop.create_future()
        self._headers = []
        self._reason = b""
        self._bytes_in = 0
        self._done = self._surplus = False
        self._no_body = out.method == b"HEAD"
        self.served += 1
        self.deadline = monotonic() + self._limits.headers_s
        lines = [b"%b %b HTTP/1.1\r\n" % (out.method, out.target)]
        lines += [b"%b: %b\r\n" % pair for pair in out.headers]
        lines.append(b"\r\n")
        if out.body is not None:
            lines.append(out.body)
            self._upload_done = True
            self.transport.write(b"".join(lines))
            return head
        body = exchange.body
        if body.complete and not body.chunked:  # the common case: head and body in one write
            lines += body.chunks
            self._upload_done = True
            self.transport.write(b"".join(lines))
            if body.size > body.replay_bytes:
                body.chunks.clear()
                body.discarded = True
            return head
        self.transport.write(b"".join(lines))
        self._upload_done = False
        self._chunked_up = body.chunked
        self._request = body
        body.attach(self)
        return head

    def write_body(self, chunk: bytes) -> None:
        """A piece of the request body. Framed as the client framed it."""
        if self.state is CLOSED:
            return
        if self._chunked_up:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        if self.state is HEAD:
            self.deadline = monotonic() + self._limits.headers_s
        self.transport.write(chunk)

    def end_body(self) -> None:
        self._upload_done = True
        if self.state is HEAD:
            self.deadline = monotonic() + self._limits.headers_s
        if self._chunked_up and self.state is not CLOSED:
            self.transport.write(b"0\r\n\r\n")

    def fail_body(self, error: ProxyError) -> None:
        """The client's body will never be complete: the upstream must not take it for whole."""
        self._fail(error)

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._request is not None:
            self._request.pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._request is not None:
            self._request.resume()

    # --- the answer's way in -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Hot: once per read from the upstream."""
        state = self.state
        if state is BODY:
            self.deadline = monotonic() + self._limits.idle_s
        elif state is HEAD:
            self._bytes_in += len(data)
        else:
            self.close()  # bytes nobody asked for: never given to the next caller (reliability 24)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._switch(data[stop.args[0] :])
        except httptools.HttpParserError as error:
            if self._done:  # the answer is whole, what follows it is none (reliability 24)
                self._surplus = True
                self._complete()
                return
            self._fail(BadResponse(f"the upstream's answer is not valid HTTP/1.1: {error}"))
        else:
            if self._done:
                self._complete()
            elif self.state is HEAD and self._bytes_in > self._limits.head_bytes:
                self._fail(
                    BadResponse(f"the upstream's headers are over {self._limits.head_bytes} bytes")
                )

    def on_message_begin(self) -> None:
        if self._done:
            self._surplus = True
        self._headers = []
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.state is HEAD:  # later ones are trailers, which end here
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._done or self._head is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        framed, problem = response_framing(self._headers)
        version = _VERSIONS.get(self._parser.get_http_version(), b"")
        if not version:
            problem = "its version is neither 1.1 nor 1.0"
        elif version == b"1.0" and any(KIND[n] is Kind.TRANSFER_ENCODING for n, _ in self._headers):
            problem = "Transfer-Encoding does not exist in HTTP/1.0"  # RFC 9112 6.1
        elif problem is None and not self._reason.isalnum() and _CONTROL.search(self._reason):
            problem = "a control character in its reason"  # llhttp lets them pass
        if problem is not None or not 200 <= status <= 999:
            problem = problem or f"status {status} does not exist"
            self._fail(BadResponse(f"the upstream's answer cannot be trusted: {problem}"))
            return
        self._close_delimited = not framed and status not in {204, 304}
        exchange = cast(Exchange, self._exchange)
        self._keep_alive = self._parser.should_keep_alive()
        self.state = BODY
        now = monotonic()
        self.deadline = now + self._limits.idle_s
        exchange.t_headers = now
        self._body = ResponseBody(self)
        if not self._head.done():
            self._head.set_result(
                Response(
                    status,
                    self._headers,
                    self._body,
                    reason=self._reason,
                    http_version=version,
                )
            )
        if self._no_body:  # HEAD: llhttp would wait for the body that is announced
            self._done = True
            self._keep_alive = False

    def on_body(self, chunk: bytes) -> None:
        """Hot: once per chunk of a stream."""
        if self._body is not None and not self._done:
            self._body.feed(chunk)

    def on_message_complete(self) -> None:
        if self.state is BODY:
            self._done = True

    def _switch(self, rest: bytes) -> None:
        """A 101: where it was asked for, the connection is a WebSocket's from here on, beginning
        with the `rest` of what was read."""
        exchange, head = self._exchange, self._head
        frames = exchange.body if exchange is not None else None
        if (
            exchange is None
            or head is None
            or head.done()
            or not isinstance(frames, ClientFrames)
            or _CONTROL.search(self._reason)
            or not any(n.lower() == b"upgrade" and _names(v) for n, v in self._headers)
        ):
            self._fail(BadResponse("the upstream switched protocols without being asked"))
            return
        self.state = TUNNEL
        exchange.t_headers = monotonic()
        self._tunnel = tunnel = Tunnel(self, exchange, frames, self._limits)
        self.transport.set_protocol(tunnel)
        headers = [pair for pair in self._headers if KIND[pair[0]] not in _FRAMING]
        head.set_result(Response(101, headers, tunnel.body, reason=self._reason))
        if rest:
            tunnel.data_received(rest)

    def _complete(self) -> None:
        """The answer is whole: pass its end on, and the connection to whoever is next."""
        body, self._body = self._body, None
        reusable = (
            self._keep_alive
            and self._upload_done
            and not self._surplus
            and not self._close_delimited
            and not self._write_paused  # a next upload would not be told that it must wait
        )
        self._let_go()
        if reusable:
            self.state = IDLE
            if self._reading_paused:
                self.resume_reading()
            self._owner.give_back(self)
        else:
            self.close()
        if body is not None:
            body.finish()

    def eof_received(self) -> None:
        """The default: the transport closes itself and `connection_lost` follows."""

    def connection_lost(self, error: Exception | None) -> None:
        state, self.state = self.state, CLOSED
        self.deadline = NEVER
        del self._parser  # it holds us: without a cycle all this goes now, not at a rare collection
        if state is BODY and error is None and self._close_delimited:
            body, self._body = self._body, None
            self._let_go()
            if body is not None:
                body.finish()
        elif state in {HEAD, BODY}:
            self._report(self._lost(error))
        self._owner.forget(self)

    def _lost(self, error: Exception | None) -> ProxyError:
        stale = self.served > 1 and self._bytes_in == 0
        if error is None:
            return UpstreamClosed(
                "the upstream closed the connection before its answer was complete", stale=stale
            )
        return UpstreamReset(f"the connection to the upstream broke: {error}", stale=stale)

    # --- ends ----------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if self.state is IDLE:
            self.close()
        elif self.state is TUNNEL:
            self._tunnel.expire(now)
        elif self.state is HEAD and not self._upload_done and not self._write_paused:
            self.deadline = (
                now + self._limits.headers_s
            )  # the client is slow: the server's to judge
        elif self.state is HEAD:
            self._fail(
                HeadersTimeout(f"no answer from the upstream within {self._limits.headers_s:g} s")
            )
        elif self._reading_paused:  # here too
            self.deadline = now + self._limits.idle_s
        else:
            self._fail(HeadersTimeout(f"the upstream sent nothing for {self._limits.idle_s:g} s"))

    def abandon(self, exchange: Exchange) -> None:
        """`exchange` is given up. Its answer may have come in the same turn of the loop and the
        connection may by now be another's: that one is not touched."""
        if self._exchange is exchange:
            self.abort()

    def abort(self) -> None:
        """Nobody wants the answer any more: close at once, so that the upstream stops working."""
        self._let_go()
        self._body = None
        if self.state is not CLOSED:
            self.state = CLOSED
            self.transport.abort()

    def close(self) -> None:
        """Close an idle or used-up connection."""
        if self.state is not CLOSED:
            self.state = CLOSED
            if self._upload_done:
                self.transport.close()
            else:  # unsent bytes of a request that nobody waits for
                self.transport.abort()

    def _fail(self, error: ProxyError) -> None:
        if self.state is CLOSED:
            return
        self._report(error)
        self.abort()

    def _report(self, error: ProxyError) -> None:
        """Tell whoever waits: for the head, or for the rest of the body."""
        head, body = self._head, self._body
        self._let_go()
        self._body = None
        if head is not None and not head.done():
            head.set_exception(error)
        elif body is not None:
            body.finish(BodyError(error.cause, str(error)))

    def _let_go(self) -> None:
        if self._request is not None:
            self._request.detach()
            self._request = None
        self._exchange = None
        self._head = None

    # --- flow control --------------------------------------------------------------------------

    def pause_reading(self) -> None:
        if not self._reading_paused and self.state is not CLOSED:
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused and self.state is not CLOSED:
            self._reading_paused = False
            self.deadline = monotonic() + self._limits.idle_s
            self.transport.resume_reading()


def _names(upgrade: bytes) -> bool:
    return upgrade.strip().lower() == b"websocket"


__all__ = ["Connection", "State"]
