"""Bins of numbers, each 4% wider than the one before, in the numbers' order."""

from __future__ import annotations

from math import log

_PER_LOG = 1 / log(1.04)
_LEAST = 1e-9
_AT_ONE = 1 - int(log(_LEAST) * _PER_LOG)
_LAST = 32_000


def bin_of(value: float | None) -> int | None:
    """The bin of a number that is not negative; None of none. Of two numbers the greater is never
    in the lesser bin."""
    if value is None:
        return None
    if value <= _LEAST:
        return 0
    return min(_AT_ONE + int(log(value) * _PER_LOG // 1), _LAST)
