"""Counts of one process: decided at once, without an await, so nothing can come between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import cast

from .bucket import Entry, Rate, Slots
from .claims import Claim, Grant, Limit, Refusal

_LOOKED_AT = 4
_Bucket = Rate | Slots
_Marks = list[tuple[_Bucket, int, Entry | None]]


class MemoryStore:
    """Buckets by key, at most about `most_keys`: idle ones go, then those with little in them.

    `clock`: seconds, never going back. `tells`: grants say what is left.
    """

    def __init__(
        self, clock: Callable[[], float], most_keys: int = 50_000, *, tells: bool = True
    ) -> None:
        self._clock = clock
        self._tells = tells
        self._most_keys = most_keys
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, claims: Sequence[Claim]) -> Grant | Refusal:
        """All claims or none of them. Hot: once per request."""
        now = self._clock()
        buckets = self._buckets
        found: list[tuple[_Bucket, int]] = []
        longest, at = 0.0, -1
        for key, limit, cost in claims:
            bucket = buckets.get(key)
            if bucket is None:
                bucket = self._add(key, limit, now)
            if bucket.total + cost > bucket.asks_above:
                wait = bucket.wait_s(cost, now)
                if wait > longest:
                    longest, at = wait, len(found)
            found.append((bucket, cost))
        if at >= 0:
            return Refusal(at, longest, [_remaining(bucket) for bucket, _ in found])
        marks = [(bucket, cost, bucket.charge(cost, now)) for bucket, cost in found]
        remaining = [_remaining(bucket) for bucket, _ in found] if self._tells else ()
        return Grant(claims, remaining, marks)

    def finish(self, grant: Grant, used: int | None) -> None:
        """Free the slots; settle the estimates to `used`, None to leave them. Once per grant."""
        now = self._clock()
        for bucket, charged, entry in cast(_Marks, grant.marks):
            bucket.settle(entry, charged, used, now)

    def _add(self, key: str, limit: Limit, now: float) -> _Bucket:
        """A new bucket. For each, a few old ones are looked at: idle ones cannot pile up, and no
        request pays for a sweep over all."""
        if len(self._buckets) > self._most_keys // 2:
            self._look_at_oldest(now)
        bucket = self._buckets[key] = Rate(limit) if limit.period_s else Slots(limit)
        return bucket

    def _look_at_oldest(self, now: float) -> None:
        """Drop the idle ones of the oldest few; if there is no room, also the emptiest of them.
        A flood of new keys then pushes out its own, not those that are near their limit."""
        kept: list[tuple[str, _Bucket]] = []
        for key in list(islice(self._buckets, _LOOKED_AT)):
            bucket = self._buckets.pop(key)
            if not bucket.idle(now):
                kept.append((key, bucket))
        if len(self._buckets) + len(kept) >= self._most_keys:
            rates = [pair for pair in kept if isinstance(pair[1], Rate)]
            if rates:
                kept.remove(min(rates, key=lambda pair: pair[1].total / pair[1].limit.amount))
        self._buckets.update(kept)  # at the end: looked at again when all others were


def _remaining(bucket: _Bucket) -> int:
    """What is left, and no less than nothing: a settlement may go over."""
    left = bucket.limit.amount - bucket.total
    return left if left > 0 else 0  # noqa: FURB136  max() takes twice the time
