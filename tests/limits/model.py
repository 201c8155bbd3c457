"""The slow and obvious: every charge written down with its time, and added up whenever asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from src.limits import Limit


@dataclass(slots=True)
class Ledger:
    """Charges to one key as (time, cost); what is over is never taken out."""

    limit: Limit
    charges: list[list[float]] = field(default_factory=list)

    def spent(self, after: float, until: float) -> float:
        """In the half-open stretch (after, until]."""
        return sum(cost for at, cost in self.charges if after < at <= until)

    def most_in_any_period(self) -> float:
        """The fullest period there was: one that ends with a charge."""
        period = self.limit.period_s
        return max((self.spent(at - period, at) for at, _ in self.charges), default=0)

    def surely_fits(self, cost: int, now: float) -> bool:
        """Nothing speaks against it, even if everything comes back a 60th of a period late."""
        late = self.limit.period_s + self.limit.span_s
        if self.spent(now - late, now) + cost > self.limit.amount:
            return False
        return not self.limit.burst or self.level(now) + cost <= self.limit.burst - 1e-6

    def level(self, now: float) -> float:
        """Of the bucket that flows off evenly: what `burst` is held against."""
        level, last = 0.0, 0.0
        for at, cost in self.charges:
            if at > now:
                break
            level = max(level - (at - last) / self.limit.interval_s, 0.0) + cost
            last = at
        return max(level - (now - last) / self.limit.interval_s, 0.0)
