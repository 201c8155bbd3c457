"""Bodies in motion: bytes pushed in by one connection, taken out by another, never gathered.

    client socket ──feed──▶ RequestBody ──sink──▶ upstream socket
    upstream socket ──feed──▶ ResponseBody ──sink──▶ client socket

Each holds what arrives before somebody takes it, up to HIGH_WATER, then pauses its source. Pushing
rather than awaiting chunk by chunk is what keeps the added delay of a stream in microseconds: an
await per chunk costs a turn of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from .errors import PayloadTooLarge, ProxyError

log = logging.getLogger("llmtap.proxy")
_DROPPED = "a request chunk observer failed and is dropped for this request"

HIGH_WATER = 64 * 1024  # bytes held before the source is paused; as asyncio's own write buffers


class Source(Protocol):
    """The connection a body comes from."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...


class BodySink(Protocol):
    """Where a request body goes: the connection to the upstream."""

    def write_body(self, chunk: bytes) -> None: ...

    def end_body(self) -> None: ...

    def fail_body(self, error: ProxyError) -> None: ...


class RequestBody:
    """A request's body as it arrives.

    `chunks` holds what has arrived, in its original pieces, until a sink takes it; it is kept for
    a repeat while the whole is no larger than `replay_bytes`. `chunked` says how it was framed,
    `announced` is its Content-Length, 0 without one.
    """

    __slots__ = (
        "_held_back",
        "_observers",
        "_reading_whole",
        "_sink",
        "_source",
        "_waiter",
        "announced",
        "chunked",
        "chunks",
        "complete",
        "discarded",
        "error",
        "limit",
        "replay_bytes",
        "size",
        "wanted",
    )

    def __init__(self, source: Source, limit: int, replay_bytes: int) -> None:
        self._source = source
        self._sink: BodySink | None = None
        self._observers: list[Callable[[bytes], None]] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._held_back = False
        self._reading_whole = False
        self.chunks: list[bytes] = []
        self.size = 0
        self.complete = False
        self.chunked = False
        self.announced = 0
        self.discarded = False  # some of it is no longer held: it cannot be sent again
        self.error: ProxyError | None = None
        self.limit = limit
        self.replay_bytes = replay_bytes
        self.wanted: Callable[[], None] | None = None  # answers Expect: 100-continue

    def feed(self, chunk: bytes) -> None:
        """Take a piece from the client. Hot for uploads: once per read."""
        self.size += len(chunk)
        if self.size > self.limit:
            self.fail(_too_large(self.limit))
            return
        if self._observers is not None:
            for observer in self._observers:
                try:
                    observer(chunk)
                except Exception:  # a middleware's: anything may come
                    log.exception(_DROPPED)
                    self._drop(observer)
        if self._sink is None:
            self.chunks.append(chunk)
            if self.size > HIGH_WATER and not self._reading_whole:
                self._source.pause_reading()
            return
        if self.size <= self.replay_bytes:
            self.chunks.append(chunk)
        elif self.chunks or not self.discarded:
            self.chunks.clear()
            self.discarded = True
        self._sink.write_body(chunk)

    def refuse_length(self, announced: int) -> None:
        """More is announced than is taken: nothing of it is read."""
        self.announced = announced
        self.fail(_too_large(self.limit))

    def end(self) -> None:
        """The body is complete."""
        self.complete = True
        if self.size > HIGH_WATER:  # it may have been paused: from here on, to notice it leaving
            self._source.resume_reading()
        if self._sink is not None:
            self._sink.end_body()
        self._wake()

    def fail(self, error: ProxyError) -> None:
        """No more will come: too large, stalled, or the client left."""
        if self.complete or self.error is not None:
            return
        self.error = error
        if self._sink is not None:
            self._sink.fail_body(error)
        self._wake()

    def attach(self, sink: BodySink) -> None:
        """Hand over what is here and everything that follows to `sink`."""
        if self.error is not None:
            raise self.error
        if self.wanted is not None:
            self.wanted()
            self.wanted = None
        for chunk in self.chunks:
            sink.write_body(chunk)
        if self.size > self.replay_bytes:
            self.chunks.clear()
            self.discarded = True
        if self.complete:
            sink.end_body()
            return
        self._sink = sink
        if not self._held_back:  # by what was just written
            self._source.resume_reading()

    def detach(self) -> None:
        """Let go of the sink: what still comes is held again or, at the end, thrown away."""
        self._sink = None
        self._held_back = False

    async def read(self) -> bytes:
        """The whole body. It stays here and is forwarded as it came.

        Raises ProxyError; RuntimeError where it was forwarded and is no longer held.
        """
        if self.discarded:
            raise RuntimeError("the body was sent on and is not held: read it before call_next")
        self._reading_whole = True
        if self.wanted is not None and self.error is None:
            self.wanted()
            self.wanted = None
        while not self.complete:
            if self.error is not None:
                raise self.error
            self._source.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.error is not None:
            raise self.error
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    def observe(self, observer: Callable[[bytes], None]) -> None:
        """Call `observer` with each piece, those already here first."""
        if self._observers is None:
            self._observers = []
        self._observers.append(observer)
        try:
            for chunk in self.chunks:
                observer(chunk)
        except Exception:
            log.exception(_DROPPED)
            self._drop(observer)

    def _drop(self, observer: Callable[[bytes], None]) -> None:
        """One that raises watches no more; the request goes on."""
        self._observers = [o for o in self._observers or () if o is not observer]

    def pause(self) -> None:
        """The upstream does not take more for now."""
        self._held_back = True
        if not self.complete:
            self._source.pause_reading()

    def resume(self) -> None:
        self._held_back = False
        self._source.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the request body is over the limit of {limit} bytes")


class ResponseBody:
    """A response's body as it arrives from the upstream.

    Taken out once, either by `pipe` (the gateway) or by `async for` (whoever must see it whole).
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_finished",
        "_held",
        "_held_back",
        "_read",
        "_sink",
        "_source",
        "_transforms",
        "_waiter",
    )

    def __init__(self, source: Source) -> None:
        self._source = source
        self._sink: Callable[[bytes], None] | None = None
        self._chunks: list[bytes] | None = None
        self._held = 0
        self._held_back = False
        self._finished = False
        self._read = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._transforms: tuple[Callable[[bytes], bytes], ...] = ()

    def feed(self, chunk: bytes) -> None:
        """Take a piece from the upstream. Hot: once per chunk of a stream."""
        if self._sink is not None:
            self._sink(chunk)
            return
        if self._chunks is None:
            self._chunks = []
        self._chunks.append(chunk)
        self._held += len(chunk)
        if self._held > HIGH_WATER:
            self._source.pause_reading()
        self._wake()

    def finish(self, error: Exception | None = None) -> None:
        """The body is complete, or `error` says why it never will be."""
        if self._finished:
            return
        self._finished = True
        self._error = error
        self._sink = None
        self._wake()

    @property
    def empty(self) -> bool:
        """Nothing has arrived yet, not even the end."""
        return self._chunks is None and not self._finished

    @property
    def in_one_piece(self) -> bool:
        """All of it has arrived already, as one piece."""
        return (
            self._finished
            and self._error is None
            and self._chunks is not None
            and len(self._chunks) == 1
        )

    def cut(self, error: Exception) -> None:
        """Whoever takes the body gets `error` in place of its rest; the upstream is let go."""
        if not self._finished:
            self.finish(error)
            self._source.abort()

    def map(self, transform: Callable[[bytes], bytes]) -> None:
        """Let each piece pass through `transform`, after those that are here already."""
        self._transforms += (transform,)

    async def pipe(self, sink: Callable[[bytes], None]) -> None:
        """Push everything to `sink` the moment it comes; returns at the end, raises BodyError."""
        if self._read:
            raise RuntimeError("the body was read: answer with its bytes, not with what it was")
        for transform in reversed(self._transforms):
            sink = _Mapped(transform, sink, self)
        for chunk in self._take():
            sink(chunk)
        if not self._finished:
            self._sink = sink
            if not self._held_back:  # by what was just written, or by an answer before this one
                self._source.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._error is not None:
            raise self._error
        if isinstance(sink, _Mapped):
            sink.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._read = True
        taken: list[bytes] = []
        sink: Callable[[bytes], None] = taken.append
        for transform in reversed(self._transforms):
            sink = _Mapped(transform, sink, self)
        while True:
            finished = self._finished
            for chunk in self._take():
                sink(chunk)
            if finished and self._error is None and isinstance(sink, _Mapped):
                sink.close()
            for chunk in taken:
                yield chunk
            taken.clear()
            if finished:
                break
            if not self._finished and self._chunks is None:
                self._source.resume_reading()
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """The client does not take more for now."""
        self._held_back = True
        if not self._finished:
            self._source.pause_reading()

    def resume(self) -> None:
        self._held_back = False
        if not self._finished:
            self._source.resume_reading()

    def abort(self) -> None:
        """Nobody wants the rest: close the upstream's connection."""
        self._sink = None
        if not self._finished:
            self._source.abort()

    def _take(self) -> list[bytes]:
        chunks, self._chunks, self._held = self._chunks or [], None, 0
        return chunks

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Mapped:
    """A sink behind a transform. One that raises ends the body with its error, not the parser's."""

    __slots__ = ("_body", "_sink", "_transform")

    def __init__(
        self,
        transform: Callable[[bytes], bytes],
        sink: Callable[[bytes], None],
        body: ResponseBody,
    ) -> None:
        self._transform = transform
        self._sink = sink
        self._body = body

    def __call__(self, chunk: bytes) -> None:
        try:
            mapped = self._transform(chunk)
        except Exception as error:  # noqa: BLE001 - the gateway logs it: it is what `pipe` raises
            self._transform = _nothing  # its state is unknown: it sees no more
            self._body.cut(error)
            return
        if mapped:
            self._sink(mapped)

    def close(self) -> None:
        if rest := self._transform(b""):
            self._sink(rest)
        if isinstance(self._sink, _Mapped):
            self._sink.close()


def _nothing(_: bytes) -> bytes:
    return b""
