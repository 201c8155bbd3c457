from __future__ import annotations

import pytest

from src.proxy.retries import MOST_S, AnswerRetries, retry_after_s

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7.0),
        (b" 7 ", 7.0),
        (b"0", 0.0),
        (b"-5", 0.0),
        (b"99999", MOST_S),
        (b"9" * 400, MOST_S),
        (b"Fri, 15 Jan 2027 08:00:20 GMT", 20.0),
        (b"Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        (b"Fri, 15 Jan 2999 07:00:00 GMT", MOST_S),
        (b"soon", None),
        (b"", None),
        (b"1.5", None),
        (b"\xff", None),
    ],
)
def test_r70_retry_after_in_any_form(value: bytes, seconds: float | None) -> None:
    assert retry_after_s([(b"X", b"1"), (b"Retry-After", value)], NOW) == seconds


def test_without_one_the_pause_doubles_up_to_eight_seconds() -> None:
    retries = AnswerRetries(9, frozenset({429}), 60.0)
    waits = [retries.wait_s([], number, NOW) for number in range(9)]
    for number, wait in enumerate(waits):
        most = min(0.5 * 2**number, 8.0)
        assert 0.75 * most <= wait <= most
