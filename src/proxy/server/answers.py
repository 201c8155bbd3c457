"""Answers on a client's connection: heads and bodies in HTTP/1.1's framing, frames of a WebSocket,
one answer after the other in the order of the requests.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, cast

from ..bodies import ResponseBody
from ..exchange import Exchange, Header, Response
from ..headers import end_to_end
from ..websocket import ClientFrames
from .connection import CLOSED, HEAD, IDLE, STATUS_LINES, UPGRADED, ClientConnection
from .served import Served


class Answers(ClientConnection):
    """A connection as the gateway's `Client`: it takes the answer of the exchange begun last."""

    __slots__ = (
        "_bodyless",
        "_chunked",
        "_loop",
        "_own_answers",
        "_response_head",
        "_until_close",
    )

    def __init__(
        self, app: Served, connections: set[Any], loop: asyncio.AbstractEventLoop | None
    ) -> None:
        super().__init__(app, connections)
        self._loop = loop or asyncio.get_running_loop()
        self._own_answers = app.own_answers
        self._response_head = b""  # not sent yet
        self._chunked = False
        self._bodyless = False
        self._until_close = False  # the body ends with the connection

    def _serve(self, exchange: Exchange, keep_alive: bool) -> None:
        """Begin the next exchange on this connection, whose head is whole. Hot: per request."""
        self._keep_alive = self._keep_alive and keep_alive
        own = self._own_answers.get(exchange.path) if exchange.method in {b"GET", b"HEAD"} else None
        self._exchange = exchange
        if own is not None:
            self._answer_own(exchange, *own())
            return
        if self._surplus:
            why = f"{self._limits.connections} connections are open"
            exchange.refusal = (503, "overloaded", why)
        self._gateway.start(exchange, self)

    def _answer_own(self, exchange: Exchange, status: int, body: bytes) -> None:
        """The health paths: answered here, past the limits and the chain."""
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
            lines = [STATUS_LINES[status]]
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
        # Kept for the first piece of the body, which may be here: every write is a system call.
        self._response_head = b"".join(lines)

    def _begin_frames(self, exchange: Exchange, response: Response) -> None:
        """The upstream has agreed to a WebSocket: its answer as it came, then frames both ways."""
        self._chunked = False
        lines = [b"HTTP/1.1 101 %b\r\n" % (response.reason or b"Switching Protocols")]
        lines += [b"%b: %b\r\n" % pair for pair in response.headers]
        lines.append(b"x-llmtap-id: %b\r\n\r\n" % exchange.id.encode())
        self._response_body = cast(ResponseBody, response.body)
        if self._write_paused:
            self._response_body.pause()
        self._response_head = b"".join(lines)
        cast(ClientFrames, exchange.body).open()

    def flush(self) -> None:
        """Send the head now: the body is not here yet."""
        head, self._response_head = self._response_head, b""
        if head:
            self.transport.write(head)

    def write(self, chunk: bytes) -> None:
        """Send a piece of the body. Hot: once per chunk of a stream."""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        elif self._bodyless:
            return
        if self._response_head:
            chunk = self._response_head + chunk
            self._response_head = b""
        self.transport.write(chunk)

    def end(self) -> None:
        """The answer is complete: on to the next request, or close."""
        if self._chunked:
            self.transport.write(self._response_head + b"0\r\n\r\n")
            self._response_head = b""
        elif self._response_head:
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
            self._serve(*self._queue.popleft())
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
        begun, self._response_head = not self._response_head, b""
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
