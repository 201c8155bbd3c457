from __future__ import annotations

import os

import pytest

from src.tracing.pace import Pace, rest_s


@pytest.mark.parametrize(
    ("worked", "waited", "fullness", "rest"),
    [
        (0.002, 0.0, 0.0, 0.0),  # the proxy has a core of its own
        (0.002, 0.0004, 0.0, 0.0),
        (0.002, 0.002, 0.0, 0.040),
        (0.002, 0.002, 0.4, 0.040),
        (0.002, 0.002, 0.55, 0.020),
        (0.002, 0.002, 0.7, 0.0),  # the queue fills: traces first
        (0.002, 0.002, 0.9, 0.0),
        (5.0, 5.0, 0.0, 0.080),  # one huge trace is no reason for a long sleep
    ],
)
def test_rest_is_for_a_proxy_that_waits_while_the_queue_has_room(
    worked: float, waited: float, fullness: float, rest: float
) -> None:
    assert rest_s(worked, waited, fullness) == pytest.approx(rest)


def test_process_without_schedstat_is_not_paced() -> None:
    pace = Pace(lambda: 0.0, 2**22 + os.getpid())
    pace.step()
