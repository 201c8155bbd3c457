"""Sums by hour and by session, kept as rows come and go, so that stats need not read them all.

A scope is all rows, or those of one key: whoever may see only their own reads only that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy import Row as Result
from sqlalchemy import and_, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ..record.row import Row
from .figures import Counted, Figures
from .tables import SEQ_STEP, SUMS, records, rollups, sessions

HOUR_US = 3_600_000_000
HOUR_SEQ = HOUR_US * SEQ_STEP
DIMENSIONS = ("", "model", "key_label", "upstream", "cause", "provider")
"""What sums are kept by; "": all together."""
ALL = "*"
_MANY = 100

Place = tuple[str, str, int, str]
"""scope, dimension, hour since 1970, value ("" where it is unknown)"""


def scope_of(only_key: str | None) -> str:
    """The rows one may see: all, or those of a key."""
    return ALL if only_key is None else f"={only_key}"


class Change(NamedTuple):
    """A row that comes (`sign` 1) or goes (-1)."""

    sign: int
    seq: int
    session_id: str | None
    dimensions: tuple[str, ...]  # values of DIMENSIONS
    counted: Counted

    @classmethod
    def of_row(cls, row: Row, counted: Counted, seq: int) -> Self:
        """One that comes."""
        values = tuple(getattr(row, name) or "" if name else "" for name in DIMENSIONS)
        return cls(1, seq, row.session_id, values, counted)

    @classmethod
    def of_result(cls, found: Result[Any]) -> Self:
        """One that goes, as it was read from `records`."""
        values = tuple(getattr(found, name) or "" if name else "" for name in DIMENSIONS)
        counted = Counted(*(getattr(found, name) for name in Counted._fields))
        return cls(-1, found.seq, found.session_id, values, counted)

    def places(self) -> Iterable[Place]:
        """Where it counts."""
        hour, key = self.seq // HOUR_SEQ, self.dimensions[2]
        for scope in (ALL, scope_of(key)) if key else (ALL,):
            for name, value in zip(DIMENSIONS, self.dimensions, strict=True):
                yield scope, name, hour, value


async def add_up(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Bring all sums up to date; in the transaction that changes the rows."""
    alike: dict[tuple[int, tuple[str, ...]], list[Change]] = {}
    for change in changes:
        alike.setdefault((change.seq // HOUR_SEQ, change.dimensions), []).append(change)
    deltas: dict[Place, Figures] = {}
    for same in alike.values():
        figures = Figures()
        for change in same:
            figures.add(change.counted, change.sign)
        for place in same[0].places():
            deltas.setdefault(place, Figures()).merge(figures)
    await _merge_rollups(connection, deltas)
    await _merge_sessions(connection, changes)


_KEY = (rollups.c.scope, rollups.c.dimension, rollups.c.hour, rollups.c.value)
_STORED = (*(rollups.c[name] for name in SUMS), rollups.c.durations, rollups.c.ttfts)
_AT = and_(*(column == bindparam(f"at_{column.name}") for column in _KEY))


async def _merge_rollups(connection: AsyncConnection, deltas: Mapping[Place, Figures]) -> None:
    places, there = list(deltas), set()
    for start in range(0, len(places), _MANY):
        part = places[start : start + _MANY]
        query = select(*_KEY, *_STORED).where(tuple_(*_KEY).in_(part))
        for row in await connection.execute(query):
            place = (row[0], row[1], row[2], row[3])
            deltas[place].merge_stored(row[4:-2], row[-2], row[-1])
            there.add(place)
    fresh = [(p, f) for p, f in deltas.items() if p not in there and f.sums[0] > 0]
    kept = [(p, f) for p, f in deltas.items() if p in there and f.sums[0] > 0]
    empty = [p for p in there if deltas[p].sums[0] <= 0]
    if fresh:
        names = [column.name for column in _KEY]
        rows = [{**dict(zip(names, p, strict=True)), **f.stored()} for p, f in fresh]
        await connection.execute(insert(rollups), rows)
    if kept:
        values: dict[str, Any] = {
            name: bindparam(f"to_{name}") for name in (*SUMS, "durations", "ttfts")
        }
        rows = [{**_at(p), **{f"to_{k}": v for k, v in f.stored().items()}} for p, f in kept]
        await connection.execute(update(rollups).where(_AT).values(values), rows)
    if empty:
        await connection.execute(delete(rollups).where(_AT), [_at(p) for p in empty])


def _at(place: Place) -> dict[str, object]:
    return {f"at_{column.name}": value for column, value in zip(_KEY, place, strict=True)}


# --- sessions ---

Owned = tuple[str, str]
"""A session's id, which a client may choose, and its key, which it may not: the scope of that key,
"" where there is none."""
_OF = and_(
    sessions.c.session_id == bindparam("at_session"), sessions.c.owner == bindparam("at_owner")
)


async def _merge_sessions(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    touched: dict[Owned, list[Change]] = {}
    for change in changes:
        if change.session_id is not None:
            key = change.dimensions[2]
            owner = (change.session_id, scope_of(key) if key else "")
            touched.setdefault(owner, []).append(change)
    stored = await _stored_sessions(connection, list(touched))
    fresh: list[dict[str, object]] = []
    kept: list[dict[str, object]] = []
    empty: list[dict[str, object]] = []
    for owner, its in touched.items():
        values = _summed(its, stored.get(owner))
        named: dict[str, object] = {"at_session": owner[0], "at_owner": owner[1]}
        if values["requests"] <= 0:
            empty.append(named)
            continue
        if any(change.sign < 0 for change in its):
            values |= await _span(connection, owner)
        if owner in stored:
            kept.append({**named, **{f"to_{k}": v for k, v in values.items()}})
        else:
            fresh.append({"session_id": owner[0], "owner": owner[1], **values})
    await _write_sessions(connection, fresh, kept, empty)


async def _stored_sessions(
    connection: AsyncConnection, owned: Sequence[Owned]
) -> dict[Owned, Result[Any]]:
    stored: dict[Owned, Result[Any]] = {}
    place = tuple_(sessions.c.session_id, sessions.c.owner)
    for start in range(0, len(owned), _MANY):
        query = select(sessions).where(place.in_(owned[start : start + _MANY]))
        for row in await connection.execute(query):
            stored[row.session_id, row.owner] = row
    return stored


async def _write_sessions(
    connection: AsyncConnection,
    fresh: list[dict[str, object]],
    kept: list[dict[str, object]],
    empty: list[dict[str, object]],
) -> None:
    if fresh:
        await connection.execute(insert(sessions), fresh)
    if kept:
        names = ("first_seq", "last_seq", *SUMS)
        to: dict[str, Any] = {name: bindparam(f"to_{name}") for name in names}
        await connection.execute(update(sessions).where(_OF).values(to), kept)
    if empty:
        await connection.execute(delete(sessions).where(_OF), empty)


def _summed(changes: Sequence[Change], stored: Result[Any] | None) -> dict[str, int]:
    figures = Figures()
    for change in changes:
        figures.add(change.counted, change.sign)
    sums = dict(zip(SUMS, figures.sums, strict=True))
    seqs = [change.seq for change in changes]
    first, last = min(seqs), max(seqs)
    if stored is not None:
        sums = {name: value + getattr(stored, name) for name, value in sums.items()}
        first, last = min(first, stored.first_seq), max(last, stored.last_seq)
    return {"first_seq": first, "last_seq": last, **sums}


async def _span(connection: AsyncConnection, owner: Owned) -> dict[str, int]:
    """The first and last row that are still there."""
    c = records.c
    whose = c.key_label.is_(None) if not owner[1] else c.key_label == owner[1][1:]
    query = select(func.min(c.seq), func.max(c.seq)).where(c.session_id == owner[0], whose)
    first, last = (await connection.execute(query)).one()
    return {"first_seq": first, "last_seq": last}
