"""Sums by session, as a whole and for each of its keys, kept as rows come and go.

A histogram grows behind its end, so that none has to be read to add to it; one that has become
long is put in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    and_,
    bindparam,
    cast,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import literal_column

from ..query.folding import lower
from .figures import Figures
from .many import among, insert_rows
from .rollups import ALL, Change, scope_of
from .tables import SUMS, records, sessions
from .upserting import insert_into, is_sqlite

Owned = tuple[str, str]
"""A session's id, which a client may choose, and its key, which it may not: the scope of that key,
"" where there is none, ALL for whoever it is."""
_OF = and_(
    sessions.c.session_id == bindparam("at_session"), sessions.c.owner == bindparam("at_owner")
)
_HISTOGRAMS = ("durations", "ttfts")
# As the index has it, which is empty nearly always. In order, most have less than 2 KB.
_IS_LONG = func.length(sessions.c.durations) + func.length(sessions.c.ttfts) > literal_column(
    "16384"
)


class _Added:
    """What a batch adds to a session."""

    __slots__ = ("_columns", "figures", "first", "last", "shorter")

    def __init__(self) -> None:
        self.figures = Figures()
        self.first, self.last = 1 << 63, -(1 << 63)
        self.shorter = False
        self._columns: tuple[object, ...] | None = None

    def add(self, change: Change) -> None:
        self.figures.add(change.counted, change.sign)
        self.first, self.last = min(self.first, change.seq), max(self.last, change.seq)
        self.shorter |= change.sign < 0

    def merge(self, other: _Added) -> None:
        self.figures.merge(other.figures)
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.shorter |= other.shorter

    def columns(self) -> tuple[object, ...]:
        """As in the table; asked for twice where a session has one key only."""
        if self._columns is None:
            self._columns = (self.first, self.last, *self.figures.piece())
        return self._columns


async def add_up_sessions(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Bring the sums up to date; in the transaction that changes the rows, after they have."""
    touched = _added(changes)
    if not touched:
        return
    await _add(connection, touched)
    shorter = [owned for owned, added in touched.items() if added.shorter]
    if shorter:
        await _mend(connection, shorter)
    await _put_in_order(connection)


def _added(changes: Iterable[Change]) -> dict[Owned, _Added]:
    owners: dict[Owned, _Added] = {}
    wholes: dict[str, list[_Added]] = {}
    for change in changes:
        if change.session_id is None:
            continue
        key = change.dimensions[2]
        owned = (change.session_id, scope_of(key) if key else "")
        added = owners.get(owned)
        if added is None:
            added = owners[owned] = _Added()
            wholes.setdefault(change.session_id, []).append(added)
        added.add(change)
    for session, its in wholes.items():
        owners[session, ALL] = its[0] if len(its) == 1 else _together(its)
    return owners


def _together(parts: Iterable[_Added]) -> _Added:
    whole = _Added()
    for part in parts:
        whole.merge(part)
    return whole


async def _add(connection: AsyncConnection, touched: Mapping[Owned, _Added]) -> None:
    put, c = insert_into(connection, sessions), sessions.c
    least, most = (func.min, func.max) if is_sqlite(connection) else (func.least, func.greatest)
    new: dict[str, ColumnElement[Any]] = {name: c[name] + put.excluded[name] for name in SUMS}
    for name in _HISTOGRAMS:
        new[name] = cast(c[name].op("||")(put.excluded[name]), LargeBinary)  # SQLite's is a text
    new["first_seq"] = least(c.first_seq, put.excluded.first_seq)
    new["last_seq"] = most(c.last_seq, put.excluded.last_seq)
    changing = put.on_conflict_do_update(index_elements=(c.session_id, c.owner), set_=new)
    rows = [(session, owner, *added.columns()) for (session, owner), added in touched.items()]
    await insert_rows(connection, changing, rows)


# --- what has lost rows ---


async def _mend(connection: AsyncConnection, shorter: Sequence[Owned]) -> None:
    """Of those that have lost rows: without any they go, others may begin or end elsewhere."""
    named = [{"at_session": session, "at_owner": owner} for session, owner in shorter]
    await connection.execute(delete(sessions).where(_OF, sessions.c.requests <= 0), named)
    spans = await _spans(connection, sorted({session for session, _ in shorter}))
    left = [
        {**name, "to_first": spans[owned][0], "to_last": spans[owned][1]}
        for name, owned in zip(named, shorter, strict=True)
        if owned in spans
    ]
    if left:
        to: dict[str, Any] = {"first_seq": bindparam("to_first"), "last_seq": bindparam("to_last")}
        await connection.execute(update(sessions).where(_OF).values(to), left)


async def _spans(connection: AsyncConnection, its: Sequence[str]) -> dict[Owned, tuple[int, int]]:
    """The first and the last row that are still there."""
    c, sqlite = records.c, is_sqlite(connection)
    exact = (c.session_id, func.coalesce(c.key_label, ""))
    # To the letter, as Postgres has it by itself.
    id_, key = (column.collate("BINARY") if sqlite else column for column in exact)
    query = select(id_, key, func.min(c.seq), func.max(c.seq)).group_by(id_, key)
    found: dict[Owned, tuple[int, int]] = {}
    folded = c.session_id if sqlite else func.lower(c.session_id, type_=c.session_id.type)
    query = query.where(among(connection, folded, [lower(session) for session in its]))
    for session, label, first, last in await connection.execute(query):
        found[session, scope_of(label) if label else ""] = first, last
        whole = found.get((session, ALL), (first, last))
        found[session, ALL] = min(whole[0], first), max(whole[1], last)
    return found


def is_of_session(session: ColumnElement[str], *, sqlite: bool) -> ColumnElement[bool]:
    """First by the index of `records`, which knows no case, then to the letter."""
    its = records.c.session_id
    if sqlite:
        return and_(its == session, its.collate("BINARY") == session)
    return and_(func.lower(its) == func.lower(session), its == session)


# --- what has become long ---


async def _put_in_order(connection: AsyncConnection) -> None:
    c = sessions.c
    query = select(c.session_id, c.owner, c.durations, c.ttfts).where(_IS_LONG)
    settled = []
    for session, owner, *histograms in await connection.execute(query):
        figures = Figures()
        figures.merge_pieces([0] * len(SUMS), *histograms)
        pieces = zip(_HISTOGRAMS, figures.piece()[-2:], strict=True)
        new = {f"to_{name}": piece for name, piece in pieces}
        settled.append({"at_session": session, "at_owner": owner, **new})
    if settled:
        to: dict[str, Any] = {name: bindparam(f"to_{name}") for name in _HISTOGRAMS}
        await connection.execute(update(sessions).where(_OF).values(to), settled)
