"""Sums by hour, kept as rows come and go, so that stats need not read them all.

A scope is all rows, or those of one key: whoever may see only their own reads only that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import orjson
from sqlalchemy import Row as Result
from sqlalchemy import and_, bindparam, delete, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ..query.folding import lower
from ..record.row import Row
from .figures import Counted, Figures
from .tables import LIST_COLUMNS, SEQ_STEP, SUMS, rollups
from .upserting import insert_into, is_sqlite

HOUR_US = 3_600_000_000
HOUR_SEQ = HOUR_US * SEQ_STEP
DAY_HOURS = 24
DIMENSIONS = ("", "model", "key_label", "upstream", "cause", "provider")
"""What sums are kept by, hour by hour; "": all together."""
COMBINED = "*"
"""The dimension of sums by all of these at once, day by day: values are JSON lists, without "".
And `tool` and `tag` (of all rows, hour by hour): a row counts under each of its own, in lower case.
"""
SUMMED = ("session_id", *LIST_COLUMNS, *dict.fromkeys((*DIMENSIONS[1:], *Counted._fields)))
"""The columns of `records` that a Change is made of, beside `seq`."""
ALL = "*"

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
    members: frozenset[tuple[str, str]]  # of LISTS
    counted: Counted

    @classmethod
    def of_row(cls, row: Row, counted: Counted, seq: int) -> Self:
        """One that comes."""
        values = tuple(getattr(row, name) or "" if name else "" for name in DIMENSIONS)
        members = _members({name: getattr(row, name) for name in LIST_COLUMNS})
        return cls(1, seq, row.session_id, values, members, counted)

    @classmethod
    def of_result(cls, found: Result[Any], sign: int = -1) -> Self:
        """One that goes, as it was read from `records`."""
        values = tuple(getattr(found, name) or "" if name else "" for name in DIMENSIONS)
        counted = Counted(*(getattr(found, name) for name in Counted._fields))
        members = _members({name: orjson.loads(getattr(found, name)) for name in LIST_COLUMNS})
        return cls(sign, found.seq, found.session_id, values, members, counted)

    def places(self) -> Iterable[Place]:
        """Where it counts."""
        hour, key = self.seq // HOUR_SEQ, self.dimensions[2]
        for scope in (ALL, scope_of(key)) if key else (ALL,):
            for name, value in zip(DIMENSIONS, self.dimensions, strict=True):
                yield scope, name, hour, value
        combined = orjson.dumps(self.dimensions[1:]).decode()
        yield ALL, COMBINED, hour - hour % DAY_HOURS, combined


def _members(lists: Mapping[str, Iterable[str]]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (LIST_COLUMNS[name], lower(value)) for name, values in lists.items() for value in values
    )


async def add_up_hours(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Bring the sums up to date; in the transaction that changes the rows."""
    alike: dict[tuple[int, tuple[str, ...]], list[Change]] = {}
    for change in changes:
        alike.setdefault((change.seq // HOUR_SEQ, change.dimensions), []).append(change)
    deltas: dict[Place, Figures] = {}
    for same in alike.values():
        figures = Figures()
        for change in same:
            figures.add(change.counted, change.sign)
            for kind, value in change.members:
                place = (ALL, kind, change.seq // HOUR_SEQ, value)
                deltas.setdefault(place, Figures()).add(change.counted, change.sign)
        for place in same[0].places():
            deltas.setdefault(place, Figures()).merge(figures)
    await _merge(connection, deltas)


_KEY = (rollups.c.scope, rollups.c.dimension, rollups.c.hour, rollups.c.value)
_STORED = (*SUMS, "durations", "ttfts")
_AT = and_(*(column == bindparam(f"at_{column.name}") for column in _KEY))
_COLUMNS = ", ".join(f"r.{name}" for name in ("scope", "dimension", "hour", "value", *_STORED))
# Each place is looked up by the key: for `IN ((…), (…))` SQLite would read the whole table.
_FIND_SQLITE = text(
    f"SELECT {_COLUMNS} FROM json_each(:places) AS j CROSS JOIN rollups AS r"  # noqa: S608  ours
    " WHERE r.scope = json_extract(j.value, '$[0]') AND r.dimension = json_extract(j.value, '$[1]')"
    " AND r.hour = json_extract(j.value, '$[2]') AND r.value = json_extract(j.value, '$[3]')"
)
_FIND_POSTGRES = text(
    f"SELECT {_COLUMNS} FROM jsonb_array_elements(CAST(:places AS jsonb)) AS j(place)"  # noqa: S608
    " JOIN rollups AS r ON r.scope = j.place->>0 AND r.dimension = j.place->>1"
    " AND r.hour = CAST(j.place->>2 AS bigint) AND r.value = j.place->>3"
)


async def _merge(connection: AsyncConnection, deltas: Mapping[Place, Figures]) -> None:
    there = set()
    find = _FIND_SQLITE if is_sqlite(connection) else _FIND_POSTGRES
    asked = {"places": orjson.dumps(list(deltas)).decode()}
    for row in await connection.execute(find, asked):
        place = (row[0], row[1], row[2], row[3])
        deltas[place].merge_stored(row[4:-2], row[-2], row[-1])
        there.add(place)
    kept = [(p, f) for p, f in deltas.items() if f.sums[0] > 0]
    empty = [p for p in there if deltas[p].sums[0] <= 0]
    if kept:
        names = [column.name for column in _KEY]
        put = insert_into(connection, rollups)
        new = {name: put.excluded[name] for name in _STORED}
        rows = [{**dict(zip(names, p, strict=True)), **f.stored()} for p, f in kept]
        await connection.execute(put.on_conflict_do_update(index_elements=_KEY, set_=new), rows)
    if empty:
        await connection.execute(delete(rollups).where(_AT), [_at(p) for p in empty])


def _at(place: Place) -> dict[str, object]:
    return {f"at_{column.name}": value for column, value in zip(_KEY, place, strict=True)}
