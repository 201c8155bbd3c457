"""Cursors: where a page has ended, as a text that says nothing to anybody else."""

from __future__ import annotations

import base64
import binascii
import json
from math import isfinite

from .tables import FLOAT_COLUMNS

SORTS = {
    "received": "seq",
    "duration": "duration_ms",
    "ttft": "ttft_ms",
    "overhead": "overhead_ms",
    "in": "input_tokens",
    "out": "output_tokens",
    "cached": "cache_read_tokens",
    "reasoning": "reasoning_tokens",
    "cost": "cost_usd",
    "status": "status",
}
"""What a page can be sorted by, `-` before it for the greatest first; unknown values come last."""
Place = tuple[float | None, int]
"""Where a page ended: the sorted value, the seq."""


class CursorError(ValueError):
    """A cursor that no page has given."""


def encoded(sort: str, value: object, seq: int) -> str:
    """`sort` as it was asked for, with its `-`; `value` and `seq` of the page's last row."""
    place = [sort, value, seq]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def decoded(cursor: str | None, sort: str) -> Place | None:
    """What `encoded` was given, for the same `sort`. Raises CursorError."""
    if cursor is None:
        return None
    try:
        given, value, seq = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise CursorError("the cursor is none that a page has given; begin without it") from None
    if given != sort or not _is_whole(seq) or not _fits(value, sort):
        raise CursorError("the cursor belongs to another list; begin without it")
    return value, seq


def _is_whole(value: object) -> bool:
    """As a database's integer."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _fits(value: object, sort: str) -> bool:
    """Can the sorted column be compared with it? Postgres is strict about kinds."""
    if value is None or _is_whole(value):
        return True
    column = SORTS.get(sort.removeprefix("-"))
    return column in FLOAT_COLUMNS and isinstance(value, float) and isfinite(value)
