"""By which clock traces grow old. One that has leapt ahead, as those of machines without a battery
do when they start, would make all of them old at once: it is believed when it has gone on for an
hour, or comes back to where it was.

    .retention      "<believed at> <doubted since>", Unix seconds, kept by whoever sweeps
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

_LEAP_S = 86_400.0  # nothing was swept for so long, or the clock was set
_PROBATION_S = 3_600.0


class Belief(NamedTuple):
    """`at`: the last time that was believed, None: never one; `doubted`: the first that was not."""

    at: float | None = None
    doubted: float | None = None


def judge(now: float, before: Belief) -> Belief:
    """What to believe now. `doubted` None: this time is believed."""
    if before.at is None or now - before.at <= _LEAP_S:
        return Belief(now)
    if before.doubted is None or now < before.doubted:
        return Belief(before.at, now)
    return Belief(now) if now - before.doubted >= _PROBATION_S else before


def read(fd: int) -> Belief:
    """What an open file tells; what is no belief tells nothing."""
    try:
        told = [float(word) for word in os.pread(fd, 100, 0).split()]
    except ValueError:
        return Belief()
    return Belief(told[0], told[1] if len(told) > 1 else None) if told else Belief()


def write(fd: int, belief: Belief) -> None:
    """Keep it. On a full disk it is forgotten: no reason not to delete."""
    told = " ".join(f"{time:.0f}" for time in belief if time is not None)
    with contextlib.suppress(OSError):
        os.pwrite(fd, told.encode().ljust(40), 0)
