"""When an answer is asked for again: not by default, since SDKs do so themselves (reliability 71).

Only what says "not now" before its first byte has gone to the client, only with a body that is held
whole, and only within the time that is given.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from .exchange import Exchange, Header

MOST_S = 300.0  # of what a Retry-After may ask
_FIRST_S, _LONGEST_S = 0.5, 8.0  # without one: doubled each time, as the SDKs do


@dataclass(slots=True, frozen=True)
class AnswerRetries:
    """`tries` more for answers of these `statuses`; `total_s`: from the first try on, what would
    begin later is not tried."""

    tries: int
    statuses: frozenset[int]
    total_s: float

    def wait_s(self, headers: Sequence[Header], number: int, now: float) -> float:
        """Seconds until the `number`th more (from 0); `now` is Unix time."""
        asked = retry_after_s(headers, now)
        if asked is not None:
            return asked
        most = min(_FIRST_S * (1 << min(number, 10)), _LONGEST_S)
        return most * random.uniform(0.75, 1.0)  # noqa: S311 - so that clients do not march in step


def retry_after_s(headers: Sequence[Header], now: float) -> float | None:
    """What `Retry-After` asks for: seconds or a date (RFC 9110 10.2.3), 0 to 300. None without one
    that can be read."""
    for name, value in headers:
        if name.lower() == b"retry-after":
            seconds = _seconds(value.decode("latin-1").strip(), now)
            return None if seconds is None else min(max(seconds, 0.0), MOST_S)
    return None


def _seconds(text: str, now: float) -> float | None:
    try:
        return float(int(text[:20])) if text.lstrip("-").isdecimal() else _until(text, now)
    except (ValueError, OverflowError):
        return None


def _until(date: str, now: float) -> float:
    return parsedate_to_datetime(date).timestamp() - now


def replayable(exchange: Exchange) -> bool:
    """The same bytes can be sent once more."""
    body = exchange.body
    return exchange.new_body is not None or (body.complete and not body.discarded)


__all__ = ["AnswerRetries", "replayable", "retry_after_s"]
