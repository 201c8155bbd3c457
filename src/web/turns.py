"""Turns: so much at a time, so much of it for one viewer, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from .errors import Refusal


class Turns:
    """`at_once` in all, `of_one` for each viewer: who asks much waits behind himself, and nobody
    else behind him."""

    def __init__(self, at_once: int, of_one: int) -> None:
        self._free = at_once
        self._of_one = of_one
        self._taken: Counter[Hashable] = Counter()
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def turn(self, who: Hashable, wait_s: float) -> AsyncIterator[None]:
        """Wait for one, and have it. Raises Refusal: 503."""
        try:
            async with asyncio.timeout(wait_s):
                while not self._free or self._taken[who] >= self._of_one:
                    self._given_back.clear()
                    await self._given_back.wait()
        except TimeoutError:
            text = "too much is being asked at once; try again"
            raise Refusal(503, "busy", text, {"Retry-After": "5"}) from None
        self._free -= 1
        self._taken[who] += 1
        try:
            yield
        finally:
            self._free += 1
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]
            self._given_back.set()
