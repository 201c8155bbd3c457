"""A request through httpx that can be given up at any moment and leaves no connection behind.

httpcore 1.0 loses one for good (open, in its pool, never used again) when a cancellation comes
between a connection's being made and its first request, or a second time while it cleans up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpcore
import httpx

from ...utils.tasks import spawn


class Sending:
    """Runs in a task of its own, which is cancelled once at most and never in that gap.

    `release` is called once nothing is left of a request that brought no answer: the answer of
    one that did is its taker's to close.

    What httpcore does is known by its trace extension: https://www.encode.io/httpcore/extensions/
    """

    def __init__(
        self, client: httpx.AsyncClient, request: httpx.Request, release: Callable[[], None]
    ) -> None:
        self._client = client
        self._request = request
        self._release = release
        self._head: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()
        self._opened: list[httpcore.AsyncNetworkStream] = []
        self.closing = False  # it ends by itself: a cancellation would only cut its closing
        self._in_gap = False
        self._given_up = False

    async def head(self) -> httpx.Response:
        """The answer, its body to be read. Raises what httpx and the request's body raise."""
        self._request.extensions["trace"] = self._traced
        task = spawn(self._run(), "httpx request")
        task.add_done_callback(self._over)
        try:
            return await self._head
        except asyncio.CancelledError:
            self._given_up = True
            if self._head.cancelled():
                if not (self._in_gap or self.closing):
                    task.cancel()
            elif self._head.exception() is None:  # it came in the same turn
                closing = spawn(self._head.result().aclose(), "httpx answer")
                closing.add_done_callback(lambda _: self._release())
            raise

    async def _run(self) -> None:
        try:
            answer = await self._client.send(self._request, stream=True)
        except Exception as error:  # noqa: BLE001 - whoever waits for the head gets it
            if not self._head.done():
                self._head.set_exception(error)
        else:
            if self._head.done():
                self.closing = True
                await answer.aclose()
            else:
                self._head.set_result(answer)
        finally:
            if self._given_up:
                for stream in self._opened:
                    await stream.aclose()

    def _over(self, _: asyncio.Task[object]) -> None:
        if self._head.cancelled() or not self._head.done() or self._head.exception() is not None:
            self._release()

    async def _traced(self, event: str, info: dict[str, Any]) -> None:  # Any: httpcore's own
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._opened.append(info["return_value"])
            self._in_gap = True
        elif event.endswith(".response_closed.started"):
            self.closing = True
        elif self._in_gap and event.endswith(".started"):
            self._in_gap = False
            if self._given_up:
                raise asyncio.CancelledError
