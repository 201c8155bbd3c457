"""A request body as an async iterator, for libraries that pull."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ..bodies import HIGH_WATER, RequestBody
from ..errors import ProxyError


class Upload:
    """Iterates a RequestBody's pieces as they arrive; pauses the client when they pile up."""

    def __init__(self, body: RequestBody) -> None:
        self._body = body
        self._queue: asyncio.Queue[bytes | ProxyError | None] = asyncio.Queue()
        self._held = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._body.attach(self)
        while (item := await self._queue.get()) is not None:
            if isinstance(item, ProxyError):
                raise item
            self._held -= len(item)
            if self._held <= HIGH_WATER:
                self._body.resume()
            yield item

    def write_body(self, chunk: bytes) -> None:
        self._held += len(chunk)
        if self._held > HIGH_WATER:
            self._body.pause()
        self._queue.put_nowait(chunk)

    def end_body(self) -> None:
        self._queue.put_nowait(None)

    def fail_body(self, error: ProxyError) -> None:
        self._queue.put_nowait(error)
