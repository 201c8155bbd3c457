"""Answers that are sent piece by piece: a file, of which a slow reader has one piece in memory, and
events for as long as somebody listens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

_PIECE_BYTES = 262_144


class FileResponse(Response):
    """Sends `file`, which is at its beginning, and closes it."""

    def __init__(self, file: BinaryIO, headers: Mapping[str, str], media_type: str) -> None:
        super().__init__(None, 200, {**headers, "Content-Length": _size(file)}, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See starlette. A server that has lost its client throws away what is sent."""
        del scope, receive
        with self._file:
            head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(head)
            while piece := await asyncio.to_thread(self._file.read, _PIECE_BYTES):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


class EventStream(StreamingResponse):
    """Server-sent events. `left`: called when nobody listens any more, begun or not."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], left: Callable[[], None]) -> None:
        super().__init__(events, headers={"X-Accel-Buffering": "no"})
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See starlette."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()


def _size(file: BinaryIO) -> str:
    return str(os.fstat(file.fileno()).st_size)
