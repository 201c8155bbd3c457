"""What stats add up: sums and histograms, which can be merged and taken back exactly.

A histogram's bins grow by 4%, so that a percentile is within 2% of the truth. Money is whole
picodollars: floats that are added and taken away would not come back to nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from math import ceil, log
from typing import NamedTuple

from .tables import SUMS

_LEAST_MS = 0.001
_GROWTH = 1.04
_LOG_GROWTH = log(_GROWTH)
_PICO = 10**12
_NO_CAUSE = "ok"


def bin_of(value_ms: float) -> int:
    """The histogram's bin of a value in milliseconds."""
    return round(log(value_ms / _LEAST_MS) / _LOG_GROWTH) if value_ms > _LEAST_MS else 0


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
    p90: float | None
    p99: float | None


class Figures:
    """Sums (`SUMS`, in order) and two histograms of milliseconds: bin to count."""

    __slots__ = ("durations", "sums", "ttfts")

    def __init__(self) -> None:
        self.sums = [0] * len(SUMS)
        self.durations: dict[int, int] = {}
        self.ttfts: dict[int, int] = {}

    def add(self, row: Counted, sign: int = 1) -> None:
        """Count one row, or take it back."""
        sums = self.sums
        sums[0] += sign
        if row.cause != _NO_CAUSE:
            sums[1] += sign
        for place in range(1, 6):
            tokens = row[place]
            if tokens:
                sums[place + 1] += sign * int(tokens)
        if row.cost_usd is not None:
            sums[7] += sign * round(row.cost_usd * _PICO)
            sums[8] += sign
        for value, counts in ((row.duration_ms, self.durations), (row.ttft_ms, self.ttfts)):
            if value is not None:
                place = bin_of(value)
                counts[place] = counts.get(place, 0) + sign

    def merge(self, other: Figures) -> None:
        """Add another's."""
        self.sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]
        for mine, theirs in ((self.durations, other.durations), (self.ttfts, other.ttfts)):
            for place, count in theirs.items():
                mine[place] = mine.get(place, 0) + count

    def merge_stored(self, sums: Iterable[int], durations: bytes, ttfts: bytes) -> None:
        """Add what `stored` has given."""
        self.sums = [a + b for a, b in zip(self.sums, sums, strict=True)]
        for mine, packed in ((self.durations, durations), (self.ttfts, ttfts)):
            pairs = array("I", packed)
            for place, count in zip(pairs[::2], pairs[1::2], strict=True):
                mine[place] = mine.get(place, 0) + count

    def stored(self) -> dict[str, object]:
        """As columns."""
        packed = {"durations": _packed(self.durations), "ttfts": _packed(self.ttfts)}
        return {**dict(zip(SUMS, self.sums, strict=True)), **packed}


def _packed(counts: Mapping[int, int]) -> bytes:
    return array("I", [n for pair in counts.items() if pair[1] > 0 for n in pair]).tobytes()


def percentiles(counts: Mapping[int, int]) -> Percentiles:
    """p50, p90, p99 of a histogram, each the nearest rank's bin."""
    total = sum(counts.values())
    if not total:
        return Percentiles(None, None, None)
    found: list[float] = []
    ranks = [ceil(total * share) for share in (0.5, 0.9, 0.99)]
    seen = 0
    for place in sorted(counts):
        seen += counts[place]
        while len(found) < 3 and seen >= ranks[len(found)]:
            found.append(round(_LEAST_MS * _GROWTH**place, 3))
    return Percentiles(*found)
