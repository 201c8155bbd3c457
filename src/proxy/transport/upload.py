"""A request body as an async iterator, for libraries that pull."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from ..bodies import HIGH_WATER, RequestBody
from ..errors import ProxyError


class Upload:
    """Iterates a RequestBody's pieces as they arrive; pauses the client when they pile up.

    `waits` is told True when it waits for the client's next piece, False when it has it.
    """

    def __init__(self, body: RequestBody, waits: Callable[[bool], object] = bool) -> None:
        self._body = body
        self._waits = waits
        self._queue: asyncio.Queue[bytes | ProxyError | None] = asyncio.Queue()
        self._held = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._body.attach(self)
        while (item := await self._next()) is not None:
            if isinstance(item, ProxyError):
                raise item
            self._held -= len(item)
            if self._held <= HIGH_WATER:
                self._body.resume()
            yield item

    async def _next(self) -> bytes | ProxyError | None:
        if not self._queue.empty():
            return self._queue.get_nowait()
        self._waits(True)  # noqa: FBT003 - the question's answer
        item = await self._queue.get()
        self._waits(False)  # noqa: FBT003
        return item

    def write_body(self, chunk: bytes) -> None:
        self._held += len(chunk)
        if self._held > HIGH_WATER:
            self._body.pause()
        self._queue.put_nowait(chunk)

    def end_body(self) -> None:
        self._queue.put_nowait(None)

    def fail_body(self, error: ProxyError) -> None:
        self._queue.put_nowait(error)
