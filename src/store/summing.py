"""All sums of a batch of changes, or of the whole store anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from .rollups import SUMMED, Change, add_up_hours
from .session_sums import add_up_sessions
from .tables import records, rollups, sessions

_AT_ONCE = 5000


async def add_up(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Bring the sums up to date; in the transaction that changes the rows, after they have."""
    await add_up_hours(connection, changes)
    await add_up_sessions(connection, changes)


async def add_up_anew(connection: AsyncConnection) -> None:
    """Forget all sums and make them from the rows."""
    await connection.execute(delete(rollups))
    await connection.execute(delete(sessions))
    async for changes in _all(connection):
        await add_up(connection, changes)


async def add_up_sessions_anew(connection: AsyncConnection) -> None:
    """Only those by session."""
    await connection.execute(delete(sessions))
    async for changes in _all(connection):
        await add_up_sessions(connection, changes)


async def _all(connection: AsyncConnection) -> AsyncIterator[list[Change]]:
    """Every row, as one that comes."""
    last = -1
    while True:
        query = select(records.c.seq, *(records.c[name] for name in SUMMED))
        query = query.where(records.c.seq > last).order_by(records.c.seq).limit(_AT_ONCE)
        rows = (await connection.execute(query)).all()
        if not rows:
            return
        last = rows[-1].seq
        yield [Change.of_result(row, 1) for row in rows]
