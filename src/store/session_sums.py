"""Sums by session and key, kept as rows come and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from .figures import Figures
from .rollups import Change, scope_of
from .tables import SUMS, records, sessions
from .upserting import insert_into, is_sqlite

Owned = tuple[str, str]
"""A session's id, which a client may choose, and its key, which it may not: the scope of that key,
"" where there is none."""
_OF = and_(
    sessions.c.session_id == bindparam("at_session"), sessions.c.owner == bindparam("at_owner")
)


async def add_up_sessions(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Bring the sums up to date; in the transaction that changes the rows, after they have."""
    touched: dict[Owned, list[Change]] = {}
    for change in changes:
        if change.session_id is not None:
            key = change.dimensions[2]
            owner = (change.session_id, scope_of(key) if key else "")
            touched.setdefault(owner, []).append(change)
    if not touched:
        return
    await _add(connection, touched)
    shorter = [o for o, its in touched.items() if any(change.sign < 0 for change in its)]
    if shorter:
        await _mend(connection, shorter)


async def _add(connection: AsyncConnection, touched: Mapping[Owned, Sequence[Change]]) -> None:
    put, c = insert_into(connection, sessions), sessions.c
    least, most = (func.min, func.max) if is_sqlite(connection) else (func.least, func.greatest)
    new: dict[str, ColumnElement[Any]] = {name: c[name] + put.excluded[name] for name in SUMS}
    new["first_seq"] = least(c.first_seq, put.excluded.first_seq)
    new["last_seq"] = most(c.last_seq, put.excluded.last_seq)
    rows = [
        {"session_id": session, "owner": owner, **_summed(its)}
        for (session, owner), its in touched.items()
    ]
    await connection.execute(_changing(put, new), rows)


def _changing(
    put: sqlite.Insert | postgresql.Insert, new: Mapping[str, ColumnElement[Any]]
) -> sqlite.Insert | postgresql.Insert:
    key = (sessions.c.session_id, sessions.c.owner)
    return put.on_conflict_do_update(index_elements=key, set_=new)


def _summed(changes: Sequence[Change]) -> dict[str, int]:
    figures = Figures()
    for change in changes:
        figures.add(change.counted, change.sign)
    seqs = [change.seq for change in changes]
    sums = dict(zip(SUMS, figures.sums, strict=True))
    return {"first_seq": min(seqs), "last_seq": max(seqs), **sums}


async def _mend(connection: AsyncConnection, shorter: Sequence[Owned]) -> None:
    """Of those that have lost rows: without any they go, others may begin or end elsewhere."""
    named = [{"at_session": session, "at_owner": owner} for session, owner in shorter]
    await connection.execute(delete(sessions).where(_OF, sessions.c.requests <= 0), named)
    spans = [
        {**name, **await _span(connection, owned)}
        for name, owned in zip(named, shorter, strict=True)
    ]
    left = [span for span in spans if span["to_first"] is not None]
    if left:
        to: dict[str, Any] = {"first_seq": bindparam("to_first"), "last_seq": bindparam("to_last")}
        await connection.execute(update(sessions).where(_OF).values(to), left)


async def _span(connection: AsyncConnection, owned: Owned) -> dict[str, Any]:
    """The first and last row that are still there; None: there are none."""
    c = records.c
    whose = c.key_label.is_(None) if not owned[1] else c.key_label == owned[1][1:]
    query = select(func.min(c.seq), func.max(c.seq)).where(c.session_id == owned[0], whose)
    first, last = (await connection.execute(query)).one()
    return {"to_first": first, "to_last": last}
