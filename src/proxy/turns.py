"""What streams goes before what begins."""

from __future__ import annotations

import asyncio
from collections import deque

_A_TURN = 16
_SHARE = 32  # of those who wait, one in so many, where that is more: a core at its end serves both


class Turns:
    """Lets so many exchanges begin in one turn of the event loop, and the others in the next ones.

    500 requests that come at once would else hold up the events of every running stream for 50 ms:
    between two turns those that have come meanwhile are passed on.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> asyncio.Future[None] | None:
        """None: begin now; else when the future is done. Hot: once per request."""
        self._begun += 1
        if self._begun == 1:
            asyncio.get_running_loop().call_soon(self._next)
        if self._begun <= _A_TURN:
            return None
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def _next(self) -> None:
        self._begun = 0
        most = max(_A_TURN, len(self._waiting) // _SHARE)
        while self._waiting and self._begun < most:
            future = self._waiting.popleft()
            if not future.done():  # else it was cancelled
                future.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next)
