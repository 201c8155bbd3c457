"""The arithmetic of one limit: never more than N in any period, wherever the period begins.

    entries   [first, last, amount] [first, last, amount] …     oldest first, at most 61
              └ charges of a 60th of the period share one: it expires with its last

An entry is forgotten one period after its last charge, so a period never holds more than N: no
double burst at an edge, there is no edge. What is merged comes back at most a 60th of the period
late; what comes rarely is never merged and is exact. `burst` adds an even flow beside it (GCRA,
ITU-T I.371): one number, the time at which all charges so far would have flowed off.

Why not GCRA alone, which is smaller: with a burst of N it lets N through at once and N more
during the first period, and "100 of 1,000" would be 100 and as many as flow back while the 1,000
arrive. Here it is 100.

Why no library. Read for this table of demands: limits 5.8, pyrate-limiter 4.5, aiolimiter 1.3,
throttled-py 3.5.

| demand                        | limits            | pyrate-limiter | aiolimiter | throttled-py |
|-------------------------------|-------------------|----------------|------------|--------------|
| several rules, all or nothing | no, one by one    | one key only   | no         | no           |
| refused is not charged        | not fixed windows | yes            | it waits   | yes          |
| no double burst               | moving windows    | yes            | yes        | GCRA         |
| a cost of 100,000 tokens      | an entry each     | an entry each  | yes        | yes          |
| settled afterwards            | no                | no             | no         | no           |
| slots with leases             | no                | no             | no         | no           |
| the Redis server's clock      | not for moving    | no             | no Redis   | yes          |
| decided without an await      | threads, timers   | a thread       | no         | a lock       |
"""

from __future__ import annotations

from collections import deque

from .claims import Limit

SLOT_RETRY_S = 1.0
_ROUNDING_S = 1e-6  # sums of intervals are not exact; nobody can tell a microsecond


class Entry:
    """Charges between `first` and `last`, in seconds of the store's clock."""

    __slots__ = ("amount", "first", "last")

    def __init__(self, now: float, amount: int) -> None:
        self.first = self.last = now
        self.amount = amount


class Rate:
    """What is charged to one key under a limit of so much in a period.

    `total` may still hold what is over: it is forgotten when that matters (`wait_s`), and whenever
    an entry is added. `asks_above`: no more than this in `total` fits without asking `wait_s`.
    """

    __slots__ = ("asks_above", "entries", "flowed_off", "limit", "total")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.asks_above = -1 if limit.burst else limit.amount
        self.entries: deque[Entry] = deque()
        self.total = 0
        self.flowed_off = 0.0

    def wait_s(self, cost: int, now: float) -> float:
        """Seconds until `cost` fits; 0.0: it does."""
        self._forget(now)
        limit = self.limit
        wait = 0.0
        if self.total + cost > limit.amount:
            wait = self._window_wait_s(cost, now)
        if limit.burst:
            ahead = max(self.flowed_off - now, 0.0)
            late = ahead + (cost - limit.burst) * limit.interval_s
            if late > _ROUNDING_S and late > wait:
                wait = late
        return wait

    def _forget(self, now: float) -> None:
        entries = self.entries
        over = now - self.limit.period_s
        while entries and entries[0].last <= over:
            self.total -= entries.popleft().amount

    def _window_wait_s(self, cost: int, now: float) -> float:
        """Until so many of the oldest entries are forgotten that there is room."""
        missing = self.total + cost - self.limit.amount
        for entry in self.entries:
            missing -= entry.amount
            if missing <= 0:
                return max(entry.last + self.limit.period_s - now, _ROUNDING_S)
        return self.limit.period_s

    def charge(self, cost: int, now: float) -> Entry:
        """Count `cost`, whether it fits or not; the entry is what `settle` wants. Hot: once per
        rule and request."""
        entries = self.entries
        if entries and now - (entry := entries[-1]).first < self.limit.span_s:
            entry.last = now
            entry.amount += cost
        else:
            self._forget(now)
            entry = Entry(now, cost)
            entries.append(entry)
        self.total += cost
        if self.asks_above < 0:
            self.flowed_off = max(self.flowed_off, now) + cost * self.limit.interval_s
        return entry

    def settle(self, entry: Entry | None, charged: int, used: int | None, now: float) -> None:
        """Replace an estimate: what was too much goes back to where it was charged, while that
        still counts; what was too little is charged now. None, or no estimate: it stays."""
        if entry is None or used is None or not self.limit.settles:
            return
        self._forget(now)  # what is over must not be given back as well
        if used > charged:
            self.charge(used - charged, now)
        elif entry.last > now - self.limit.period_s:
            back = min(charged - used, entry.amount)
            entry.amount -= back
            self.total -= back
            if self.limit.burst:
                self.flowed_off -= back * self.limit.interval_s

    def idle(self, now: float) -> bool:
        """Forgetting it would change nothing."""
        self._forget(now)
        return not self.total and self.flowed_off <= now


class Slots:
    """How much of a limit of simultaneous use is in use (`total`). Same interface as `Rate`."""

    __slots__ = ("asks_above", "limit", "total")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.asks_above = limit.amount
        self.total = 0

    def wait_s(self, cost: int, _now: float) -> float:
        """When one comes free nobody knows: asking once a second does no harm."""
        return 0.0 if self.total + cost <= self.limit.amount else SLOT_RETRY_S

    def charge(self, cost: int, _now: float) -> None:
        """Take them."""
        self.total += cost

    def settle(self, _entry: Entry | None, charged: int, _used: int | None, _now: float) -> None:
        """Free them."""
        self.total -= charged

    def idle(self, _now: float) -> bool:
        """None is in use."""
        return not self.total
