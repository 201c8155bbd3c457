"""Thousands of connections in one process: a provider and clients on one event loop.

What `Upstream` and `Client` are for one request looked at closely, these are for very many, each
of which costs a few dozen microseconds. A request says in its own target what its answer is to be:

    /v1/chat/completions?mark=m7&do=stream&events=20&gap_ms=50

`do`: `call` (JSON at once), `stream` (SSE), `error` (429), `cut` (a stream closed in its middle),
or the name of a canned answer. Every event carries the moment it was written, so that a client of
the same machine can tell how late it came.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import uvloop

from tests.support import bodies
from tests.support.client import Address, request_bytes
from tests.support.steps import JSON_TYPE, SSE_TYPE, head
from tests.support.wire import LAST_CHUNK, Header, chunked

STREAM_HEAD = head(200, SSE_TYPE, (b"Transfer-Encoding", b"chunked"))
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = b"\r\ntransfer-encoding: chunked"
_WRITTEN_AT = re.compile(rb'"t":(\d+)')
_OPTION = re.compile(rb"[?&](\w+)=([\w.-]+)")
_CHAT = bodies.chat_request("swarm", stream=True)


def loop_of_its_own() -> asyncio.Runner:
    """uvloop: about a third of asyncio's cost for each of so many small reads and writes."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def whole(body: bytes, *headers: Header, status: int = 200) -> bytes:
    """An answer with its length."""
    return head(status, *headers, (b"Content-Length", b"%d" % len(body))) + body


def _event(last: bool) -> bytes:
    now = time.monotonic_ns()
    choice = b'"delta":{"content":" word"},"finish_reason":null'
    text = (
        b'data: {"id":"c","object":"chat.completion.chunk","t":%d,"choices":[{"index":0,%b}]}\n\n'
    )
    return text % (now, choice) + (b"data: [DONE]\n\n" if last else b"")


CALL = whole(bodies.chat_answer(), JSON_TYPE)
ERROR = whole(bodies.OPENAI_ERROR, JSON_TYPE, (b"Retry-After", b"1"), status=429)


class SwarmUpstream:
    """The provider. `seen`: how often each mark was asked for. `serving`: open connections."""

    def __init__(self, canned: Mapping[str, bytes] | None = None) -> None:
        self.canned = {b"call": CALL, b"error": ERROR}
        self.canned |= {name.encode(): answer for name, answer in (canned or {}).items()}
        self.seen: Counter[str] = Counter()
        self.serving: set[_Serving] = set()
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> SwarmUpstream:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Serving(self), "127.0.0.1", 0, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.serving):
            connection.transport.abort()
        await asyncio.sleep(0)


class _Serving(asyncio.Protocol):
    """One connection of the provider."""

    transport: asyncio.Transport

    def __init__(self, upstream: SwarmUpstream) -> None:
        self.upstream = upstream
        self.buffer = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.upstream.serving.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.upstream.serving.discard(self)
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self.buffer, 0, end + 2)
            size = end + 4 + (int(length[1]) if length else 0)
            if _CHUNKED in self.buffer[:end].lower():
                size = len(self.buffer) + (not self.buffer.endswith(LAST_CHUNK))
            if len(self.buffer) < size:
                return
            first, self.buffer = self.buffer.split(b"\r\n", 1)[0], self.buffer[size:]
            self.answer(dict(_OPTION.findall(first)))

    def answer(self, options: dict[bytes, bytes]) -> None:
        self.upstream.seen[options.get(b"mark", b"").decode()] += 1
        do = options.get(b"do", b"call")
        if do in self.upstream.canned:
            self.transport.write(self.upstream.canned[do])
            return
        self.transport.write(STREAM_HEAD)
        events = int(options.get(b"events", b"10"))
        gap_s = int(options.get(b"gap_ms", b"0")) / 1000
        self.next(events, gap_s, events // 2 if do == b"cut" else 0)

    def next(self, left: int, gap_s: float, cut_at: int) -> None:
        if self.transport.is_closing():
            return
        if left == cut_at and cut_at:
            self.transport.close()
            return
        last = left == 1
        self.transport.write(chunked(_event(last)) + (LAST_CHUNK if last else b""))
        if not last:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(gap_s, self.next, left - 1, gap_s, cut_at)


@dataclass(slots=True)
class Reply:
    """What became of a request. `end`: whole, cut (by the peer), cancelled (by us).

    `late_s`: of every event the time from the upstream's write to our read.
    """

    status: int = 0
    body: bytes = b""
    events: int = 0
    late_s: list[float] = field(default_factory=list)
    first_s: float = 0.0
    took_s: float = 0.0
    end: str = "whole"


class Line(asyncio.Protocol):
    """A client connection: one request after the other, each awaited."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.closed = False
        self._buffer = bytearray()
        self._reply: Reply | None = None
        self._began = 0.0
        self._body_at = 0
        self._length = -1
        self._done: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, address: Address) -> Line:
        _, line = await asyncio.get_running_loop().create_connection(cls, *address)
        return line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._end("cut")

    async def ask(self, request: bytes, *, cancel_after_s: float | None = None) -> Reply:
        """Sends the request and waits for its end, or cuts the connection after so long."""
        reply = self._reply = Reply()
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        self._buffer.clear()
        self._body_at, self._length = 0, -1
        self._began = time.monotonic()
        self.transport.write(request)
        timer = None
        if cancel_after_s is not None:
            timer = loop.call_later(cancel_after_s, self.cancel)
        if self.closed:
            self._end("cut")
        await self._done
        if timer is not None:
            timer.cancel()
        reply.took_s = time.monotonic() - self._began
        reply.body = bytes(self._buffer[self._body_at :])
        reply.events = reply.body.count(b'"t":')
        return reply

    def cancel(self) -> None:
        """Leaves: FIN, or RST where something is unread."""
        self._end("cancelled")
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            return
        if not self._buffer:
            reply.first_s = time.monotonic() - self._began
        self._buffer += data
        if not self._body_at and not self._read_head(reply):
            return
        if self._length >= 0:
            if len(self._buffer) - self._body_at >= self._length:
                self._end("whole")
            return
        now = time.monotonic_ns()
        reply.late_s += [(now - int(t)) / 1e9 for t in _WRITTEN_AT.findall(data)]
        if data.endswith(LAST_CHUNK) or self._buffer.endswith(LAST_CHUNK):
            self._end("whole")

    @property
    def head(self) -> bytes:
        """The head of the last answer."""
        return bytes(self._buffer[: self._body_at])

    def _read_head(self, reply: Reply) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._body_at = end + 4
        reply.status = int(self._buffer[9:12])
        length = _LENGTH.search(self._buffer, 0, end + 2)
        self._length = int(length[1]) if length else -1
        return True

    def _end(self, how: str) -> None:
        if self._done is not None and not self._done.done():
            assert self._reply is not None
            self._reply.end = how
            self._done.set_result(None)


def ask_for(mark: str, do: str, *headers: Header, body: bytes = _CHAT, **options: object) -> bytes:
    """The request whose answer is to be what `do` says."""
    more = "".join(f"&{name}={value}" for name, value in options.items())
    target = f"/v1/chat/completions?mark={mark}&do={do}{more}"
    return request_bytes("POST", target, [JSON_TYPE, *headers], body)
