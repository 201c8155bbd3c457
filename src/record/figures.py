"""Sums and percentiles over rows, by a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil

from .row import Row

Value = str | int | None
"""What a group is named by."""
_FREE = frozenset({"ok", "upstream_error", "connect_failed", "tls_failed", "rejected"})
"""Without tokens: of these nothing is charged."""


@dataclass(slots=True)
class Figures:
    """Of the rows of one group. Tokens and `cost_usd` are sums of what is known; `priced`: how many
    rows have a cost, `unpriced`: how many have none and were not free. `errors`: those that ended
    otherwise than ok. Lists are in milliseconds.
    """

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cost_usd: float = 0.0
    priced: int = 0
    unpriced: int = 0
    first_us: int = 0
    last_us: int = 0
    durations: list[float] = field(default_factory=list)
    ttfts: list[float] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """One more."""
        self.first_us = min(self.first_us, row.received_us) if self.requests else row.received_us
        self.last_us = max(self.last_us, row.received_us)
        self.requests += 1
        self.errors += row.cause != "ok"
        self.input_tokens += row.input_tokens or 0
        self.output_tokens += row.output_tokens or 0
        self.cache_read_tokens += row.cache_read_tokens or 0
        if row.cost_usd is not None:
            self.cost_usd += row.cost_usd
            self.priced += 1
        elif _may_cost(row):
            self.unpriced += 1
        if row.duration_ms is not None:
            self.durations.append(row.duration_ms)
        if row.ttft_ms is not None:
            self.ttfts.append(row.ttft_ms)


def _may_cost(row: Row) -> bool:
    """Tokens whose price nobody knows, or a model that was asked and left before it told of any.
    What the provider refused, or what never reached it, was free."""
    if row.input_tokens is not None or row.output_tokens is not None:
        return True
    return row.model is not None and row.cause not in _FREE


def percentile(values: list[float], percent: float) -> float | None:
    """The smallest value that so many percent do not exceed (nearest rank); None of none."""
    if not values:
        return None
    return sorted(values)[max(ceil(len(values) * percent / 100) - 1, 0)]


def summed(
    rows: Iterable[Row], group_of: Callable[[Row], Value]
) -> tuple[dict[Value, Figures], Figures]:
    """The figures of every group, and of all."""
    groups: dict[Value, Figures] = {}
    total = Figures()
    for row in rows:
        groups.setdefault(group_of(row), Figures()).add(row)
        total.add(row)
    return groups, total
