"""What is asked of a store, and what it answers.

claims ──take──▶ Grant ──finish──▶   (slots freed, tokens settled)
            └──▶ Refusal             (nothing charged)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, frozen=True)
class Limit:
    """`amount` in any `period_s` seconds; of these at most `burst` at once, 0 for no such bound.

    A period of 0 makes it a limit of what is held at the same time. `settles`: the cost is an
    estimate (tokens), to be replaced by what was really used.
    """

    amount: int
    period_s: float
    burst: int = 0
    settles: bool = False
    span_s: float = field(init=False)  # charges within it may share an entry: period / 60
    interval_s: float = field(init=False)  # between two units of an even flow
    most: int = field(init=False)  # the largest cost that can ever fit

    def __post_init__(self) -> None:
        # object.__setattr__ is how a frozen dataclass fills its own derived fields
        object.__setattr__(self, "span_s", self.period_s / 60)
        object.__setattr__(self, "interval_s", self.period_s / self.amount)
        object.__setattr__(self, "most", self.burst or self.amount)


Claim = tuple[str, Limit, int]
"""Key of the bucket, its limit, and the cost, at most `limit.most`."""


class Refusal:
    """No. `index` is the claim that takes longest, `retry_after_s` until it would fit.

    `remaining` of each claim, in their order, as they stand.
    """

    __slots__ = ("index", "remaining", "retry_after_s")

    def __init__(self, index: int, retry_after_s: float, remaining: Sequence[int]) -> None:
        self.index = index
        self.retry_after_s = retry_after_s
        self.remaining = remaining


class Grant:
    """Yes. `remaining` of each claim after it; `marks` are the store's own, for `finish`."""

    __slots__ = ("claims", "marks", "remaining")

    def __init__(self, claims: Sequence[Claim], remaining: Sequence[int], marks: object) -> None:
        self.claims = claims
        self.remaining = remaining
        self.marks = marks


class StoreUnavailable(Exception):
    """The store did not answer in time, or not at all: nothing is known of the limits."""
