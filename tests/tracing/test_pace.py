from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from src.tracing import pace
from src.tracing.pace import Pace

PATIENT, ORDINARY = 19, os.getpriority(os.PRIO_PROCESS, 0)


@pytest.fixture(autouse=True)
def look_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_LOOK_S", 0.0)


def priorities(levels: list[float], ending: list[bool] | None = None) -> list[int]:
    """The priority each piece of work ran at, while the queue was as full as `levels` say."""
    seen: list[int] = []
    ends = ending or [False] * len(levels)

    def pieces() -> Iterator[None]:
        for _ in levels:
            seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            yield

    Pace(lambda: levels[len(seen) - 1], lambda: ends[len(seen) - 1]).run(pieces())
    return [value - ORDINARY if value != PATIENT else PATIENT for value in seen]


@pytest.mark.skipif(
    not hasattr(os, "sched_setscheduler"), reason="priorities of threads are Linux's"
)
@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0.0, 0.1, 0.49, 0.3], [19, 19, 19, 19]),
        ([0.1, 0.5, 0.6, 0.2], [19, 19, 0, 0]),
        ([0.6, 0.45, 0.39, 0.45, 0.1], [19, 0, 0, 19, 19]),  # not back and forth at one level
    ],
)
def test_the_ordinary_thread_works_while_the_queue_is_full(
    levels: list[float], expected: list[int]
) -> None:
    assert priorities(levels) == expected


def test_what_the_end_waits_for_is_not_done_patiently() -> None:
    assert priorities([0.0] * 3, [False, True, True])[1:] == [PATIENT, 0]


@pytest.mark.parametrize("fullness", [0.0, 1.0])
def test_an_error_in_the_work_is_raised_where_it_is_waited_for(fullness: float) -> None:
    def pieces() -> Iterator[None]:
        yield
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Pace(lambda: fullness, lambda: False).run(pieces())
