"""What stats add up: sums and histograms, which can be merged and taken back exactly.

A histogram's bins grow by 4%, so that a percentile is within 2% of the truth. Money is whole
picodollars: floats that are added and taken away would not come back to nothing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import accumulate
from math import ceil, log
from operator import add
from typing import NamedTuple

from .tables import SUMS

_LEAST_MS = 0.001
_GROWTH = 1.04
_PER_LOG = 1 / log(_GROWTH)
_LOG_LEAST = log(_LEAST_MS) * _PER_LOG
_PICO = 10**12
_NO_CAUSE = "ok"


def _place_of(value_ms: float) -> int:
    """The histogram's bin of a value in milliseconds, the nearest; `binning` has other ones."""
    return round(log(value_ms) * _PER_LOG - _LOG_LEAST) if value_ms > _LEAST_MS else 0


class Counted(NamedTuple):
    """The figures of one row. None is unknown."""

    cause: str
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    duration_ms: float | None
    ttft_ms: float | None


class Percentiles(NamedTuple):
    """Milliseconds, within 2%; None where nothing is known."""

    p50: float | None
    p95: float | None
    p99: float | None


class Figures:
    """Sums (`SUMS`, in order) and two histograms of milliseconds: bin to count."""

    __slots__ = ("_later", "durations", "sums", "ttfts")

    def __init__(self) -> None:
        self.sums = [0] * len(SUMS)
        self.durations: dict[int, int] = {}
        self.ttfts: dict[int, int] = {}
        self._later: list[tuple[bytes, bytes]] = []  # histograms that are not added in yet

    def add(self, row: Counted, sign: int = 1) -> None:
        """Count one row, or take it back. Hot: some stats are of every row there is."""
        cause, input_, output, cache_read, cache_write, reasoning, cost, duration, ttft = row
        sums = self.sums
        sums[0] += sign
        if cause != _NO_CAUSE:
            sums[1] += sign
        if input_:
            sums[2] += sign * int(input_)
        if output:
            sums[3] += sign * int(output)
        if cache_read:
            sums[4] += sign * int(cache_read)
        if cache_write:
            sums[5] += sign * int(cache_write)
        if reasoning:
            sums[6] += sign * int(reasoning)
        if cost is not None:
            sums[7] += sign * round(cost * _PICO)
            sums[8] += sign
        if duration is not None:
            place = _place_of(duration)
            self.durations[place] = self.durations.get(place, 0) + sign
        if ttft is not None:
            place = _place_of(ttft)
            self.ttfts[place] = self.ttfts.get(place, 0) + sign

    def merge(self, other: Figures) -> None:
        """Add another's."""
        self.sums = list(map(add, self.sums, other.sums))
        self._later += other._later
        for mine, theirs in ((self.durations, other.durations), (self.ttfts, other.ttfts)):
            for place, count in theirs.items():
                mine[place] = mine.get(place, 0) + count

    def merge_stored(self, sums: Iterable[int], durations: bytes, ttfts: bytes) -> None:
        """Add what `stored` has given."""
        self.sums = list(map(add, self.sums, sums))
        self._later.append((durations, ttfts))

    def stored(self) -> dict[str, object]:
        """As columns."""
        self._settle()
        packed = {
            "durations": _flat(self.durations).tobytes(),
            "ttfts": _flat(self.ttfts).tobytes(),
        }
        return {**dict(zip(SUMS, self.sums, strict=True)), **packed}

    def percentiles(self) -> tuple[Percentiles, Percentiles]:
        """Of the durations and the times to first token."""
        if len(self._later) == 1 and not self.durations and not self.ttfts:
            durations, ttfts = self._later[0]  # as most buckets of a fine list
            return _percentiles(array("I", durations)), _percentiles(array("I", ttfts))
        self._settle()
        return _percentiles(_flat(self.durations)), _percentiles(_flat(self.ttfts))

    def _settle(self) -> None:
        for mine, packed in (
            (self.durations, b"".join(durations for durations, _ in self._later)),
            (self.ttfts, b"".join(ttfts for _, ttfts in self._later)),
        ):
            numbers = iter(array("I", packed))
            for place, count in zip(numbers, numbers, strict=True):
                mine[place] = mine.get(place, 0) + count
        self._later.clear()


@cache
def _value(place: int) -> float:
    """The middle of a bin; there are some hundreds."""
    return round(_LEAST_MS * _GROWTH**place, 3)


def _flat(counts: Mapping[int, int]) -> array[int]:
    """bin, count, bin, count, …, from the least bin on."""
    return array("I", [n for pair in sorted(counts.items()) if pair[1] > 0 for n in pair])


def _percentiles(flat: array[int]) -> Percentiles:
    """p50, p95, p99 of a histogram, each the nearest rank's bin."""
    if not flat:
        return Percentiles(None, None, None)
    seen = list(accumulate(flat[1::2]))
    total = seen[-1]
    p50, p95, p99 = (
        _value(flat[2 * bisect_left(seen, ceil(total * share))]) for share in (0.5, 0.95, 0.99)
    )
    return Percentiles(p50, p95, p99)
