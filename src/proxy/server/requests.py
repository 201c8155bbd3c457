"""Requests on a client's connection: their heads, judged before anything is made of them, and their
bodies, bounded in size and time. Parsing is llhttp's, by httptools.
"""

from __future__ import annotations

import asyncio
import re
from time import monotonic
from typing import cast

import httptools

from ..bodies import RequestBody
from ..exchange import Exchange, Header
from ..headers import KIND, Kind, content_length
from ..urls import origin_form
from ..websocket import ClientFrames, wants_websocket
from .answers import Answers
from .connection import BODY, HEAD, IDLE, LINGER, MOST_PIPELINED, NEVER, UPGRADED
from .served import UvicornConfig, UvicornState, unwrapped

_PASS = Kind.PASS
_HOST = Kind.HOST
_LENGTH = Kind.CONTENT_LENGTH
_VERSIONS = {"1.1": b"1.1", "1.0": b"1.0"}
_UNCOUNTED = -1  # bytes of a head that began somewhere within a read
_SLOWEST_BODY = 240  # bytes a second, counted over `body_s`; as Kestrel's MinRequestBodyDataRate


class ServerProtocol(Answers):
    """One client connection. The constructor and `shutdown` are what uvicorn's Server expects."""

    __slots__ = (
        "_begun",
        "_body_seen",
        "_body_timed",
        "_fed",
        "_head_bytes",
        "_headers",
        "_new_id",
    )

    def __init__(
        self,
        config: UvicornConfig,
        server_state: UvicornState,
        app_state: object,  # noqa: ARG002 - uvicorn passes it
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        app = unwrapped(config.loaded_app)
        super().__init__(app, server_state.connections, _loop)
        self._new_id = app.new_id
        self._parser = httptools.HttpRequestParser(self)
        self._fed = b""  # what the parser is being fed
        self._begun = b""  # what came of an unfinished head before
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._body_seen = 0  # bytes of it at the last read
        self._body_timed = 0  # bytes of it when the deadline was last moved

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
            self._bound_body(len(data) if reading is BODY else 0)
        elif self._reading is HEAD:
            self._bound_head(data, begun=reading is not HEAD)

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
        self._request_body = body
        self._body_seen = 0
        self._body_timed = 0
        keep_alive = self._parser.should_keep_alive() and version == b"1.1"
        if self._exchange is None and not self._queue:
            self._serve(exchange, keep_alive)
            return
        self._queue.append((exchange, keep_alive))
        if len(self._queue) >= MOST_PIPELINED:
            self.pause_reading()

    def on_body(self, chunk: bytes) -> None:
        body = self._request_body
        if body is not None and body.error is None:
            body.feed(chunk)

    def on_message_complete(self) -> None:
        if self._problem is not None:
            return
        body, self._request_body = self._request_body, None
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

    def _bound_head(self, data: bytes, *, begun: bool) -> None:
        """The head is not whole yet: bounded in bytes and, from its first byte, in time."""
        self._begun += data
        if begun and self._exchange is None:  # else its time begins when the answer is out
            self.deadline = monotonic() + self._limits.head_s
        if self._head_bytes > self._limits.header_bytes:
            self._refuse(431, self._head_too_large())

    def _head_too_large(self) -> str:
        return f"the request's head is over {self._limits.header_bytes} bytes"

    def _bound_body(self, size: int) -> None:
        """The body is not whole yet. Time is given for more of it, not for a byte now and then,
        and what is no body (trailers, chunk extensions), which llhttp would collect for ever, is
        bounded as the head is."""
        body = self._request_body
        if not size:
            self._give_body_time()
        if body is None or body.error is not None:
            return
        if body.size - self._body_timed >= _SLOWEST_BODY * self._limits.body_s:
            self._give_body_time()
        if body.size > self._body_seen:
            self._body_seen = body.size
            self._head_bytes = 0
        else:
            self._head_bytes += size
            if self._head_bytes > self._limits.header_bytes:
                self._refuse(431, "too many bytes of the body's framing and none of the body")

    def _give_body_time(self) -> None:
        if self._request_body is not None:
            self._body_timed = self._request_body.size
        if not self._write_paused:
            self.deadline = monotonic() + self._limits.body_s

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
        exchange.body = self._request_body = frames
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
        exchange.body = self._request_body = body
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


class _BodyOnly:
    """What a parser tells of that is given a body whose head has been read already."""

    def __init__(self, server: ServerProtocol) -> None:
        self.on_body = server.on_body
        self.on_message_complete = server.on_message_complete
