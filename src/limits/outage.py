"""What is said of a store that fails: one line per interval, however many requests it concerns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger("llmtap.limits")


class Outage:
    """Counts what was decided without the store and says so, at most every `interval_s`."""

    def __init__(self, address: str, clock: Callable[[], float], interval_s: float = 10.0) -> None:
        self._address = address
        self._clock = clock
        self._interval_s = interval_s
        self._reason: str | None = None  # of the failure that lasts
        self._last_reason = ""
        self._since = 0.0
        self._said = -interval_s
        self._timer: asyncio.TimerHandle | None = None
        self._unsaid = 0
        self.requests = 0  # decided without it, in all

    @property
    def lasts(self) -> bool:
        """The store has failed and has not answered since."""
        return self._reason is not None

    @property
    def reason(self) -> str:
        """The last failure."""
        return self._last_reason

    def count(self) -> None:
        """A request is decided without the store."""
        self.requests += 1
        self._unsaid += 1
        self._say_in_time()

    def begin(self, reason: str) -> None:
        """The store fails, for `reason`."""
        if self._reason is None:
            self._since = self._clock()
        self._reason = self._last_reason = reason
        self._say_in_time()

    def end(self) -> None:
        """It answers again."""
        self._reason = None
        self._say_in_time()

    def stop(self) -> None:
        """No more lines."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say_in_time(self) -> None:
        """Now where nothing was said for an interval, else when it is over."""
        if self._timer is not None:
            return
        wait = self._said + self._interval_s - self._clock()
        # A moment is always waited: what fails together is told together.
        self._timer = asyncio.get_running_loop().call_later(max(wait, 0.01), self._say)

    def _say(self) -> None:
        self._timer = None
        now = self._said = self._clock()
        count, self._unsaid = self._unsaid, 0
        decided = f"{count} request{'' if count == 1 else 's'} decided without it"
        where = f"redis at {self._address}"
        if self._reason is None:
            log.warning("%s answers again; %s (%s)", where, decided, self._last_reason)
            return
        lasted = now - self._since
        log.warning("%s fails for %.0f s: %s; %s", where, lasted, self._reason, decided)
        self._say_in_time()
