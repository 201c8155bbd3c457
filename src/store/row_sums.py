"""Adds up rows one by one, where no sums tell what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from .figures import Counted, Figures
from .hosts import without_port
from .tables import SEQ_STEP, records

LAST_US = 1 << 52
_AT_ONCE = 10_000


class Breakdown(NamedTuple):
    """What is asked for; see `Reader.stats`."""

    since_us: int | None
    until_us: int | None
    bucket_us: int | None
    by: str | None
    only_key: str | None

    @property
    def bounds(self) -> tuple[int, int]:
        """[since, until), whatever there is where none are given."""
        return self.since_us or 0, LAST_US if self.until_us is None else self.until_us


Key = tuple[int, str | int]
"""bucket's start, group ("" where unknown)"""


class Rows:
    """Of those that `chosen` and `owned` choose, as `breakdown` has it."""

    def __init__(
        self,
        connection: AsyncConnection,
        chosen: ColumnElement[bool],
        owned: Sequence[ColumnElement[bool]],
        breakdown: Breakdown,
    ) -> None:
        by = _group_of(breakdown.by) if breakdown.by is not None else records.c.seq
        columns = (records.c[name] for name in Counted._fields)
        self._query = select(records.c.seq, by.label("group"), *columns).where(chosen, *owned)
        self._connection = connection
        self._breakdown = breakdown

    async def add(self, found: dict[Key, Figures], since_us: int, until_us: int) -> None:
        """Those received in between, `until_us` not included."""
        if since_us >= until_us:
            return
        seq = records.c.seq
        within = (seq >= since_us * SEQ_STEP, seq < until_us * SEQ_STEP)
        await self.add_found(found, self._query.where(*within))

    async def add_found(self, found: dict[Key, Figures], query: Select[Any]) -> None:
        """What a query finds: seq, group, then `Counted`."""
        bucket_us, grouped = self._breakdown.bucket_us, self._breakdown.by is not None
        async with self._connection.stream(query) as result:
            async for part in result.partitions(_AT_ONCE):
                for at, group, *counted in part:
                    start = at // SEQ_STEP // bucket_us * bucket_us if bucket_us else 0
                    key = (start, ("" if group is None else group) if grouped else "")
                    figures = found.get(key)
                    if figures is None:
                        figures = found[key] = Figures()
                    figures.add(counted)


def _group_of(by: str) -> ColumnElement[Any]:
    """See `query.groups`."""
    column = records.c[by]
    return without_port(column) if by == "client_address" else column
