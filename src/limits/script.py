"""The operations that one call of `limits.lua` carries, as its arguments and its answers.

Pure: what goes to the Redis is made here, what comes back is read here, nothing is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from .claims import Claim, Grant, Refusal

SOURCE = Path(__file__).with_name("limits.lua")
_US = 1_000_000


@dataclass(slots=True, frozen=True)
class Take:
    """All claims or none of them, slots in the name of `holder`."""

    holder: str
    claims: Sequence[Claim]


@dataclass(slots=True, frozen=True)
class Settle:
    """Replace the estimates of the claims that were taken at `taken_us` by `used`."""

    taken_us: int
    claims: Sequence[Claim]
    used: int


@dataclass(slots=True, frozen=True)
class Hold:
    """The slots of these buckets are in use by `holder`: its lease begins again."""

    holder: str
    keys: Sequence[str]


@dataclass(slots=True, frozen=True)
class Free:
    """They are not any more."""

    holder: str
    keys: Sequence[str]


Operation = Take | Settle | Hold | Free


class Call:
    """One call: `keys` and `argument` for EVALSHA."""

    __slots__ = ("_places", "_prefix", "argument", "keys")

    def __init__(
        self, prefix: bytes, ops: Sequence[Operation], lease_s: float, now_us: int = 0
    ) -> None:
        self._prefix = prefix
        self._places: dict[str, int] = {}
        self.keys: list[bytes] = []
        written = [self._written(op) for op in ops]
        lease_us = int(lease_s * _US)
        self.argument = orjson.dumps({"now": now_us, "lease": lease_us, "ops": written})

    def _place(self, key: str) -> int:
        """Buckets are told by their number: a key stands once, however many claims name it."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.keys) + 1  # Lua counts from 1
            self.keys.append(self._prefix + key.encode("utf-8", "surrogatepass"))
        return place

    def _written(self, op: Operation) -> list[object]:
        if isinstance(op, Take):
            return ["take", op.holder, [self._charge(claim) for claim in op.claims]]
        if isinstance(op, Settle):
            return ["settle", op.taken_us, [[*self._charge(c), op.used] for c in op.claims]]
        name = "hold" if isinstance(op, Hold) else "free"
        return [name, op.holder, [self._place(key) for key in op.keys]]

    def _charge(self, claim: Claim) -> list[object]:
        key, limit, cost = claim
        return [self._place(key), limit.amount, int(limit.period_s * _US), limit.burst, cost]


def read_answer(take: Take, answer: Sequence[int]) -> Grant | Refusal:
    """What the script says to a take. A grant's `marks` are (holder, time taken in us)."""
    wait_us, at, now_us, *remaining = answer
    if at:
        return Refusal(at - 1, wait_us / _US, remaining)
    return Grant(take.claims, remaining, (take.holder, now_us))
