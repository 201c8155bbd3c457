"""Tasks that are kept and heard, and deadlines that cost nothing per request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from time import monotonic
from typing import Protocol

log = logging.getLogger("llmtap.tasks")
_kept: set[asyncio.Task[object]] = set()


def spawn(coroutine: Coroutine[object, object, object], name: str) -> asyncio.Task[object]:
    """Run `coroutine` beside; keeps the reference and logs a failure (bare tasks do neither)."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _kept.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[object]) -> None:
    _kept.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task %s failed", task.get_name(), exc_info=error)


# A thousand slow clients that came together are late together; one costs up to 100 us to end.
_AT_ONCE = 50
_BREATH_S = 0.001  # for everybody else, before the next


class Expiring(Protocol):
    """Something that must be told when its time has come; `deadline` is monotonic seconds."""

    deadline: float

    def expire(self, now: float) -> None: ...


class Sweeper:
    """Looks at all deadlines a few times a second.

    A timer per connection and state would cost about a microsecond to set and one to cancel, per
    request and direction; writing a float costs nothing. A deadline is found at most `interval_s`
    late.
    """

    def __init__(self, interval_s: float = 0.1) -> None:
        self._interval_s = interval_s
        self._watched: set[Expiring] = set()
        self._due: list[Expiring] = []  # found, and still to be told
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: Expiring) -> None:
        self._watched.add(item)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._sweep)

    def discard(self, item: Expiring) -> None:
        self._watched.discard(item)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = monotonic()
        due = self._due or [item for item in self._watched if item.deadline <= now]
        self._due = due[_AT_ONCE:]
        for item in due[:_AT_ONCE]:
            if item.deadline > now or item not in self._watched:
                continue  # it has moved on since it was found
            try:
                item.expire(now)
            except Exception:
                log.exception("a deadline's handler failed")
        self._timer = None
        if self._watched:
            pause_s = _BREATH_S if self._due else self._interval_s
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._sweep)
