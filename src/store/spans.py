"""Time in spans of so many rows: what is rare is looked for in the newest first."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from .asked import Asked
from .cursors import Place
from .rollups import ALL, HOUR_SEQ
from .tables import rollups

_FIRST_ROWS = 50_000
_GROWTH = 4


class Span(NamedTuple):
    """From one seq to another, both included. `rows`: how many there are, or, as hours are counted
    whole, some more."""

    first: int
    last: int
    rows: int


async def spans(
    connection: AsyncConnection, asked: Asked, after: Place | None, downwards: bool
) -> list[Span]:
    """All of time that is asked for, whole hours apart, each span of more rows than the one
    before; the sums by hour tell how many there are."""
    first, last = asked.bounds()
    if after is not None:
        first, last = (first, min(last, after[1])) if downwards else (max(first, after[1]), last)
    c = rollups.c
    query = select(c.hour, c.requests).where(c.scope == ALL, c.dimension == "", c.value == "")
    query = query.where(c.hour >= first // HOUR_SEQ, c.hour <= last // HOUR_SEQ)
    hours = (await connection.execute(query.order_by(c.hour.desc()))).all()
    found: list[Span] = []
    rows, wanted, most = 0, _FIRST_ROWS, last if downwards else first
    for hour, requests in hours if downwards else reversed(hours):
        rows += requests
        if rows >= wanted:
            edge = hour * HOUR_SEQ if downwards else (hour + 1) * HOUR_SEQ - 1
            found.append(Span(edge, most, rows) if downwards else Span(most, edge, rows))
            most, rows, wanted = (edge - 1 if downwards else edge + 1), 0, wanted * _GROWTH
    found.append(Span(first, most, rows) if downwards else Span(most, last, rows))
    return found
