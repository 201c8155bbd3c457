"""Stats by session: from the sums of those that lie within the span, and within a bucket, as a
whole; from the rows of the others.

          since                               until
    ──A──┐  │   ┌─────────B─────────┐   ┌──C────┼──┐      B: its sums     A: nothing
         └──┘   └───────────────────┘   └───────┼──┘      C: its rows before `until`

What belongs to no session is what is left of all there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, false, func, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from .figures import Counted, Figures
from .rollups import scope_of
from .row_sums import Breakdown, Key, Rows
from .session_sums import is_of_session
from .tables import SEQ_STEP, SUMS, records, sessions

_AT_ONCE = 10_000
_WORTH = 0.7  # looked up by session, a row costs so much more than one after the other


class Sessions:
    """Adds them up for `breakdown`, whose rows are `owned`."""

    def __init__(
        self,
        connection: AsyncConnection,
        breakdown: Breakdown,
        owned: Sequence[ColumnElement[bool]],
        *,
        sqlite: bool,
    ) -> None:
        self._connection = connection
        self._breakdown = breakdown
        self._owned = owned
        self._sqlite = sqlite
        self._first, self._end = (us * SEQ_STEP for us in breakdown.bounds)
        c = sessions.c
        self._touching = and_(
            c.owner == scope_of(breakdown.only_key),
            c.last_seq >= self._first,
            c.first_seq < self._end,
        )
        whole = [c.first_seq >= self._first, c.last_seq < self._end]
        if breakdown.bucket_us is not None:
            bucket = breakdown.bucket_us * SEQ_STEP
            whole.append(c.first_seq // bucket == c.last_seq // bucket)
        self._whole = and_(*whole)

    async def add_up(self, every: Mapping[Key, Figures]) -> dict[Key, Figures] | None:
        """`every`: all there is, by bucket. None where reading it all is faster."""
        requests = sum(figures.sums[0] for figures in every.values())
        if await self._rows_left(requests) > _WORTH * requests:
            return None
        found: dict[Key, Figures] = {}
        await self._add_whole(found)
        await self._add_rows(found)
        self._add_others(found, every)
        return found

    async def _rows_left(self, requests: int) -> int:
        """How many rows have to be read at most."""
        c = sessions.c
        of = [
            func.coalesce(func.sum(c.requests).filter(w), 0)
            for w in (self._whole, not_(self._whole))
        ]
        whole, cut = (await self._connection.execute(select(*of).where(self._touching))).one()
        return min(int(cut), requests - int(whole))

    async def _add_whole(self, found: dict[Key, Figures]) -> None:
        c, bucket_us = sessions.c, self._breakdown.bucket_us
        query = select(c.first_seq, c.session_id, *(c[name] for name in SUMS), c.durations, c.ttfts)
        query = query.where(self._touching, self._whole)
        async with self._connection.stream(query) as result:
            async for part in result.partitions(_AT_ONCE):
                for first, session, *sums, durations, ttfts in part:
                    start = first // SEQ_STEP // bucket_us * bucket_us if bucket_us else 0
                    figures = found[start, session] = Figures()
                    figures.merge_pieces(sums, durations, ttfts)

    async def _add_rows(self, found: dict[Key, Figures]) -> None:
        r, s = records.c, sessions.c
        query = select(r.seq, s.session_id, *(r[name] for name in Counted._fields))
        query = query.join_from(sessions, records, is_of_session(s.session_id, sqlite=self._sqlite))
        query = query.where(self._touching, not_(self._whole), *self._owned)
        rows = Rows(self._connection, false(), (), self._breakdown)
        await rows.add_found(found, query.where(r.seq >= self._first, r.seq < self._end))

    def _add_others(self, found: dict[Key, Figures], every: Mapping[Key, Figures]) -> None:
        """What has no session, or one without a name."""
        named: dict[int, Figures] = {}
        for (start, session), figures in list(found.items()):
            if session == "":
                del found[start, session]
                continue
            its = named.get(start)
            if its is None:
                its = named[start] = Figures()
            its.merge(figures)
        for (start, _), figures in every.items():
            known = named.get(start)
            if known is None:
                found[start, ""] = figures
            elif figures.sums[0] != known.sums[0]:
                figures.take(known)
                found[start, ""] = figures
