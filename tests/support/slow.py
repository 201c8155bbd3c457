"""Clients that mean harm, on one event loop: half heads, half bodies, silence, endless heads."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import cast

from tests.support.client import Address

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\n"
DRIPS = {
    "silent": b"",
    "head": HEAD + b"X-Slow: ",
    "body": HEAD + b"Content-Length: 100000\r\n\r\n",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
}
_DROP = {"head": b"x", "body": b" ", "chunks": b"1\r\n \r\n"}


class SlowClient(asyncio.Protocol):
    """Sends its beginning, then a byte every `drip_s`, until it is cut. `held_s`: how long."""

    transport: asyncio.Transport

    def __init__(self, kind: str, drip_s: float) -> None:
        self.kind = kind
        self.status = 0
        self.held_s = 0.0
        self.over = asyncio.get_running_loop().create_future()
        self._drip_s = drip_s
        self._began = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(DRIPS[self.kind])
        if self.kind in _DROP:
            self._drip()

    def _drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_DROP[self.kind])
            self._timer = asyncio.get_running_loop().call_later(self._drip_s, self._drip)

    def data_received(self, data: bytes) -> None:
        self.status = self.status or int(data[9:12])

    def eof_received(self) -> None:
        """It is cut: the transport closes."""

    def connection_lost(self, error: Exception | None) -> None:
        self.held_s = time.monotonic() - self._began
        if self._timer is not None:
            self._timer.cancel()
        if not self.over.done():
            self.over.set_result(None)


class SlowSwarm:
    """Holds so many of them at once: whoever is cut comes again, until the block is left."""

    def __init__(self, address: Address, count: int, drip_s: float = 0.1) -> None:
        self.address = address
        self.count = count
        self.drip_s = drip_s
        self.cut: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.longest_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> SlowSwarm:
        kinds = list(DRIPS)
        for number in range(self.count):
            task = asyncio.get_running_loop().create_task(self._hold(kinds[number % len(kinds)]))
            self._tasks.append(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hold(self, kind: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            _, client = await loop.create_connection(
                lambda: SlowClient(kind, self.drip_s), *self.address
            )
            try:
                await client.over
            except asyncio.CancelledError:
                client.transport.abort()
                raise
            self.cut[kind] += 1
            self.statuses[client.status] += 1
            self.longest_s = max(self.longest_s, client.held_s)


async def endless_head(address: Address, size: int) -> int:
    """One header of so many bytes, as fast as it is taken; the status of the answer, 0 for none."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        with contextlib.suppress(OSError):
            writer.write(HEAD + b"X-Large: ")
            for _ in range(size // 65536):
                writer.write(b"x" * 65536)
                await writer.drain()
        with contextlib.suppress(OSError):
            line = await asyncio.wait_for(reader.readline(), 5)
            return int(line.split()[1]) if line else 0
        return 0
    finally:
        writer.transport.abort()
