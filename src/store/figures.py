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
from operator import add, sub
from typing import NamedTuple

from .tables import SUMS

_LEAST_MS = 0.001
_GROWTH = 1.04
_PER_LOG = 1 / log(_GROWTH)
_LOG_LEAST = log(_LEAST_MS) * _PER_LOG
_PICO = 10**12
_MOST_USD = 10_000.0  # of one row: more is a mistake, and a sum of them more than 64 bits
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

    __slots__ = ("_later", "_pieces", "durations", "sums", "ttfts")

    def __init__(self) -> None:
        self.sums = [0] * len(SUMS)
        self.durations: dict[int, int] = {}
        self.ttfts: dict[int, int] = {}
        self._later: list[tuple[bytes, bytes]] = []  # histograms that are not added in yet
        self._pieces: list[tuple[bytes, bytes]] = []  # nor are these, which are in no order

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
            sums[7] += sign * round(min(cost, _MOST_USD) * _PICO)
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
        self._pieces += other._pieces
        for mine, theirs in ((self.durations, other.durations), (self.ttfts, other.ttfts)):
            for place, count in theirs.items():
                mine[place] = mine.get(place, 0) + count

    def merge_stored(self, sums: Iterable[int], durations: bytes, ttfts: bytes) -> None:
        """Add what `stored` has given."""
        self.sums = list(map(add, self.sums, sums))
        self._later.append((durations, ttfts))

    def merge_pieces(self, sums: Iterable[int], durations: bytes, ttfts: bytes) -> None:
        """Add what `piece` has given, several of them one behind the other."""
        self.sums = list(map(add, self.sums, sums))
        self._pieces.append((durations, ttfts))

    def take(self, other: Figures) -> None:
        """Take another's away."""
        self._settle()
        other._settle()
        self.sums = list(map(sub, self.sums, other.sums))
        for mine, theirs in ((self.durations, other.durations), (self.ttfts, other.ttfts)):
            for place, count in theirs.items():
                mine[place] = mine.get(place, 0) - count

    def stored(self) -> dict[str, object]:
        """As columns."""
        self._settle()
        packed = {
            "durations": _flat(self.durations).tobytes(),
            "ttfts": _flat(self.ttfts).tobytes(),
        }
        return {**dict(zip(SUMS, self.sums, strict=True)), **packed}

    def piece(self) -> tuple[int | bytes, ...]:
        """`SUMS`, durations, ttfts, to be added to what is stored: sums to sums, histograms behind
        histograms. May be less than nothing."""
        if self._later or self._pieces:
            self._settle()
        return *self.sums, _piece(self.durations), _piece(self.ttfts)

    def percentiles(self) -> tuple[Percentiles, Percentiles]:
        """Of the durations and the times to first token."""
        if not self.durations and not self.ttfts:
            if len(self._later) == 1 and not self._pieces:
                durations, ttfts = self._later[0]  # as most buckets of a fine list
                return _percentiles(array("i", durations)), _percentiles(array("i", ttfts))
            if len(self._pieces) == 1 and not self._later:
                durations, ttfts = self._pieces[0]  # as most sessions
                return _percentiles_of_pieces(durations), _percentiles_of_pieces(ttfts)
        self._settle()
        return _percentiles(_flat(self.durations)), _percentiles(_flat(self.ttfts))

    def _settle(self) -> None:
        for mine, packed in (
            (self.durations, b"".join(durations for durations, _ in self._later)),
            (self.ttfts, b"".join(ttfts for _, ttfts in self._later)),
        ):
            numbers = iter(array("i", packed))
            for place, count in zip(numbers, numbers, strict=True):
                mine[place] = mine.get(place, 0) + count
        self._later.clear()
        for durations, ttfts in self._pieces:
            _count(self.durations, durations)
            _count(self.ttfts, ttfts)
        self._pieces.clear()


@cache
def _value(place: int) -> float:
    """The middle of a bin; there are some hundreds."""
    return round(_LEAST_MS * _GROWTH**place, 3)


def _flat(counts: Mapping[int, int]) -> array[int]:
    """bin, count, bin, count, …, from the least bin on."""
    return array("i", [n for pair in sorted(counts.items()) if pair[1] > 0 for n in pair])


_COUNT = 18  # bits of a piece's numbers; the bin is above, of which there are some hundreds
_MASK = (1 << _COUNT) - 1
_LESS = 1 << (_COUNT - 1)  # as great as this, it is less than nothing


def _piece(counts: Mapping[int, int]) -> bytes:
    """Each bin with its count one number, in the bins' order; small ones are sorted the fastest."""
    numbers = array("i")
    for place, count in counts.items():
        while abs(count) >= _LESS:
            part = _LESS - 1 if count > 0 else 1 - _LESS
            numbers.append(place << _COUNT | part & _MASK)
            count -= part  # noqa: PLW2901  what is left of it
        if count:
            numbers.append(place << _COUNT | count & _MASK)
    return numbers.tobytes()


def _count(counts: dict[int, int], pieces: bytes) -> None:
    """Add pieces one behind the other."""
    for number in array("i", pieces):
        place, count = number >> _COUNT, number & _MASK
        counts[place] = counts.get(place, 0) + (count if count < _LESS else count - _MASK - 1)


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


def _percentiles_of_pieces(pieces: bytes) -> Percentiles:
    """The same of pieces. Hot: there may be tens of thousands of sessions."""
    numbers = array("i", pieces).tolist()
    numbers.sort()
    counts = [number & _MASK for number in numbers]
    if not counts or max(counts) >= _LESS:
        settled: dict[int, int] = {}
        _count(settled, pieces)
        return _percentiles(_flat(settled))
    seen = list(accumulate(counts))
    total = seen[-1]
    return Percentiles(
        _value(numbers[bisect_left(seen, ceil(total * 0.50))] >> _COUNT),
        _value(numbers[bisect_left(seen, ceil(total * 0.95))] >> _COUNT),
        _value(numbers[bisect_left(seen, ceil(total * 0.99))] >> _COUNT),
    )
