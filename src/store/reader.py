"""Reads the store: pages of a filter, one row, sessions, stats.

A page, newest first, within milliseconds whatever the filter:

    one value of one column ───────────────▶ its index, which is in order of time
    words, and nothing else but rows' tests ▶ SQLite: the words' index, in order of time
    anything else ──▶ look through the newest rows; full? done
                          └─ matches are rare: all of them by an index, then the newest
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy import text as sql
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.expression import bindparam, literal_column

from ..query.fields import Kind
from ..query.tree import And, Node, Op, Test
from ..record.row import Row
from . import schema
from .binning import bin_of
from .compiling import SAID, Compiler, match_of, tests_in
from .names import MOST, NAMED, values_of
from .rollups import scope_of
from .stats import Bucket, Span, stats
from .tables import (
    BINNED_COLUMNS,
    FLOAT_COLUMNS,
    LIST_COLUMNS,
    SEQ_STEP,
    SUMS,
    bin_name,
    records,
    sessions,
)

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
_WALK, _WALK_SAID = 4000, 300  # rows looked through first; each one's texts cost more
_WALK_MOST = 40_000
_FIELDS = tuple(field.name for field in fields(Row))


class CursorError(ValueError):
    """A cursor that no page has given."""


@dataclass(slots=True, frozen=True)
class Page:
    """`cursor`: for the next page; None: there is none."""

    rows: list[Row]
    cursor: str | None


@dataclass(slots=True, frozen=True)
class SessionRow:
    """A session, as far as it is one key's. Times in microseconds since 1970."""

    session_id: str
    key_label: str | None
    first_us: int
    last_us: int
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


@dataclass(slots=True, frozen=True)
class SessionPage:
    """`cursor`: for the next page; None: there is none."""

    sessions: list[SessionRow]
    cursor: str | None


class Reader:
    """Reads one store. `only_key`: the label of a client's key, which then sees the rows of that
    key and no other, whatever it asks for; None sees all."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._sqlite = engine.url.get_backend_name() == "sqlite"

    async def check(self) -> None:
        """Raises StoreError unless the store has the schema that this program knows."""
        await schema.check(self._engine)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._engine.dispose()

    async def get(self, trace_id: str, only_key: str | None = None) -> Row | None:
        """One row by its whole id."""
        query = select(records).where(records.c.id == trace_id.upper(), *self._owned(only_key))
        async with self._engine.connect() as connection:
            found = (await connection.execute(query)).mappings().first()
        return row_of(found) if found is not None else None

    async def page(
        self,
        node: Node = And(()),  # noqa: B008  frozen
        *,
        sort: str = "-received",
        cursor: str | None = None,
        limit: int = 50,
        only_key: str | None = None,
    ) -> Page:
        """`limit` rows and where the next begin. Rows that come in between shift nothing. Raises
        CursorError; ValueError for an unknown `sort`."""
        name, downwards = sort.removeprefix("-"), sort.startswith("-")
        if name not in SORTS:
            raise ValueError(f"sort is {sort[:40]!r}; give one of {', '.join(SORTS)}")
        after = _decoded(cursor, sort)
        async with self._engine.connect() as connection:
            asked = Asked(node, await self._names(connection, node), self._owned(only_key))
            if name == "received":
                rows = await self._by_time(connection, asked, after, limit + 1, downwards)
            else:
                column = SORTS[name]
                rows = await self._by_value(connection, asked, column, after, limit + 1, downwards)
        more = len(rows) > limit
        del rows[limit:]
        return Page([row_of(row) for row in rows], _encoded(sort, rows[-1]) if more else None)

    async def sessions(
        self, *, cursor: str | None = None, limit: int = 50, only_key: str | None = None
    ) -> SessionPage:
        """Sessions, the one with the latest request first; one that several keys have used counts
        for each of them. Raises CursorError."""
        c = sessions.c
        query = select(sessions).order_by(c.last_seq.desc()).limit(limit + 1)
        if only_key is not None:
            query = query.where(c.owner == scope_of(only_key))
        after = _decoded(cursor, "sessions")
        if after is not None:
            query = query.where(c.last_seq < after[1])
        async with self._engine.connect() as connection:
            found = (await connection.execute(query)).all()
        listed = [_session_of(row) for row in found[:limit]]
        more = len(found) > limit
        next_ = _encode(["sessions", None, found[limit - 1].last_seq]) if more else None
        return SessionPage(listed, next_)

    async def stats(
        self,
        node: Node = And(()),  # noqa: B008  frozen
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        bucket_us: int | None = None,
        by: str | None = None,
        only_key: str | None = None,
    ) -> list[Bucket]:
        """Sums and percentiles of what `node` chooses, for each bucket of time and each value of
        the column `by`, in order. None: no bounds, one bucket, no groups. Buckets are whole
        multiples of `bucket_us` since 1970. Raises ValueError for an unknown `by`."""
        async with self._engine.connect() as connection:
            names = await self._names(connection, node)
            span = Span(since_us, until_us, bucket_us, by, only_key)
            owned = self._owned(only_key)
            return await stats(connection, node, span, names, owned, sqlite=self._sqlite)

    # --- whose ---

    def _owned(self, only_key: str | None) -> tuple[ColumnElement[bool], ...]:
        """First by the index, which knows no case, then to the letter."""
        if only_key is None:
            return ()
        label = records.c.key_label
        if self._sqlite:
            return label == only_key, label.collate("BINARY") == only_key
        return func.lower(label) == only_key.lower(), label == only_key

    async def _names(self, connection: AsyncConnection, node: Node) -> Mapping[str, Sequence[str]]:
        """The values of the columns that `node` has patterns for, where they are few."""
        wanted = {
            test.field.column
            for test in tests_in(node)
            if test.field.column in NAMED and "*" in str(test.value)
        }
        found = {column: await values_of(connection, column) for column in wanted}
        return {column: values for column, values in found.items() if len(values) <= MOST}

    # --- in order of time ---

    async def _by_time(
        self,
        connection: AsyncConnection,
        asked: Asked,
        after: Place | None,
        limit: int,
        downwards: bool,
    ) -> list[RowMapping]:
        seq = records.c.seq
        base = list(asked.owned)
        if after is not None:
            base.append(seq < after[1] if downwards else seq > after[1])
        base += asked.times(self._sqlite)
        rest = asked.rest
        order = seq.desc() if downwards else seq.asc()
        everything = select(records).where(*base).order_by(order).limit(limit)
        if rest == And(()):
            return await _all(connection, everything)
        by_index = Compiler(self._sqlite, asked.names)
        if _is_one_value(rest):
            return await _all(connection, everything.where(by_index.compile(rest)))
        if self._sqlite and (found := _split_said(rest)):
            return await self._said(connection, found, asked, base, limit, downwards)
        return await self._walked(connection, asked, base, limit, downwards)

    async def _walked(
        self,
        connection: AsyncConnection,
        asked: Asked,
        base: Sequence[ColumnElement[bool]],
        limit: int,
        downwards: bool,
    ) -> list[RowMapping]:
        searches = any(test.field.kind is Kind.SEARCH for test in tests_in(asked.rest))
        rows = first = _WALK_SAID if searches else _WALK
        order = records.c.seq.desc() if downwards else records.c.seq.asc()
        for _ in range(2):
            newest = select(records).where(*base).order_by(order).limit(rows).subquery()
            compiler = Compiler(self._sqlite, asked.names, newest, by_row=True)
            over = newest.c.seq.desc() if downwards else newest.c.seq.asc()
            query = select(newest).where(compiler.compile(asked.rest)).order_by(over).limit(limit)
            found = await _all(connection, query)
            if len(found) == limit or rows > first:
                break
            rows = int(1.5 * first * limit / len(found)) if found else _WALK_MOST + 1
            if rows > (_WALK_MOST if not searches else 4 * first):
                break
        if len(found) == limit:
            return found
        return await self._indexed(connection, asked, base, limit, downwards)

    async def _indexed(
        self,
        connection: AsyncConnection,
        asked: Asked,
        base: Sequence[ColumnElement[bool]],
        limit: int,
        downwards: bool,
    ) -> list[RowMapping]:
        """`seq + 0` keeps the planner from reading all rows in order of time once more."""
        compiled = Compiler(self._sqlite, asked.names).compile(asked.rest)
        over = records.c.seq + literal_column("0")
        order = over.desc() if downwards else over.asc()
        seqs = select(records.c.seq).where(*base, compiled).order_by(order).limit(limit)
        return await _rows_at(connection, list(await connection.scalars(seqs)), downwards)

    async def _said(
        self,
        connection: AsyncConnection,
        found: tuple[str, Node],
        asked: Asked,
        base: Sequence[ColumnElement[bool]],
        limit: int,
        downwards: bool,
    ) -> list[RowMapping]:
        """SQLite's index of words gives its rows in order of time."""
        query, rest = found
        rowid: ColumnElement[int] = literal_column("said.rowid")
        said = sql("said MATCH :said").bindparams(bindparam("said", query))
        bounds = [_moved(bound) for bound in base if _is_of_time(bound)]
        owned = [bound for bound in base if not _is_of_time(bound)]
        compiled = Compiler(self._sqlite, asked.names, by_row=True).compile(rest)
        joined = SAID.join(records, records.c.seq == rowid)
        order = rowid.desc() if downwards else rowid.asc()
        chosen = select(records).select_from(joined).where(said, *bounds, *owned, compiled)
        return await _all(connection, chosen.order_by(order).limit(limit))

    # --- in order of a value ---

    async def _by_value(
        self,
        connection: AsyncConnection,
        asked: Asked,
        name: str,
        after: Place | None,
        limit: int,
        downwards: bool,
    ) -> list[RowMapping]:
        """Those that know the value, in its order, then those that do not, by time."""
        column, seq = records.c[name], records.c.seq
        order = [column, seq]
        if name in BINNED_COLUMNS:  # whose index leaves only the last of a bin to be sorted
            order.insert(0, records.c[bin_name(name)])
        where = [*asked.owned, *asked.times(self._sqlite)]
        where.append(Compiler(self._sqlite, asked.names, by_row=True).compile(asked.rest))
        found: list[RowMapping] = []
        if after is None or after[0] is not None:
            query = select(records).where(*where, order[0].is_not(None))
            if after is not None:
                query = query.where(*_beyond(order, after, downwards))
            ordered = (by.desc() if downwards else by.asc() for by in order)
            found = await _all(connection, query.order_by(*ordered).limit(limit))
            after = None
        if len(found) < limit:
            query = select(records).where(*where, order[0].is_(None))
            if after is not None:
                query = query.where(seq < after[1] if downwards else seq > after[1])
            order_ = seq.desc() if downwards else seq.asc()
            found += await _all(connection, query.order_by(order_).limit(limit - len(found)))
        return found


Place = tuple[float | None, int]
"""Where a page ended: the sorted value, the seq."""


def _beyond(
    order: Sequence[ColumnElement[Any]], after: Place, downwards: bool
) -> Iterator[ColumnElement[bool]]:
    """Behind the place, in that order: (bin,) value, seq."""
    value, place = after
    *bins, column, seq = order
    for each in bins:
        edge = bin_of(value)
        yield each <= edge if downwards else each >= edge
    beyond = column < value if downwards else column > value
    later = seq < place if downwards else seq > place
    yield beyond | and_(column == value, later)


class Asked:
    """A filter taken apart: bounds of time that all rows must be within, and the rest."""

    def __init__(
        self, node: Node, names: Mapping[str, Sequence[str]], owned: tuple[ColumnElement[bool], ...]
    ) -> None:
        parts = node.parts if isinstance(node, And) else (node,)
        self._times = [part for part in parts if _is_time(part)]
        others = tuple(part for part in parts if not _is_time(part))
        self.rest: Node = others[0] if len(others) == 1 else And(others)
        self.names = names
        self.owned = owned

    def times(self, sqlite: bool) -> list[ColumnElement[bool]]:
        """The bounds, as bounds of `seq`."""
        return [Compiler(sqlite).compile(part) for part in self._times]


def _is_time(node: Node) -> bool:
    return isinstance(node, Test) and node.field.kind is Kind.TIME


def _is_of_time(bound: ColumnElement[bool]) -> bool:
    left = getattr(bound, "left", None)
    return left is records.c.seq


def _moved(bound: Any) -> ColumnElement[bool]:  # noqa: ANN401  see _is_of_time
    """The same bound of the index of words, which knows how to begin there."""
    moved: ColumnElement[bool] = literal_column("said.rowid").op(_SIGNS[bound.operator.__name__])(
        bound.right
    )
    return moved


_SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "="}


def _is_one_value(node: Node) -> bool:
    """Is it one value of one column, which its index has in order of time?"""
    if not isinstance(node, Test) or node.field.kind in (Kind.SEARCH, Kind.LIST, Kind.TIME):
        return False
    if node.op is Op.NONE:
        return True
    if node.op is not Op.MATCH or node.field.kind is Kind.ID:
        return False
    return node.field.kind is not Kind.TEXT or "*" not in str(node.value)


def _split_said(node: Node) -> tuple[str, Node] | None:
    """What has to be said, as one query of the index of words, and what else is asked for."""
    parts = node.parts if isinstance(node, And) else (node,)
    said = [p for p in parts if isinstance(p, Test) and p.field.kind is Kind.SEARCH]
    queries = [match_of(test) for test in said]
    if not queries or None in queries:
        return None
    rest = tuple(part for part in parts if part not in said)
    return " AND ".join(f"({query})" for query in queries), And(rest)


async def _all(connection: AsyncConnection, query: Select[Any]) -> list[RowMapping]:
    return list((await connection.execute(query)).mappings())


async def _rows_at(
    connection: AsyncConnection, seqs: Sequence[int], downwards: bool
) -> list[RowMapping]:
    if not seqs:
        return []
    order = records.c.seq.desc() if downwards else records.c.seq.asc()
    return await _all(connection, select(records).where(records.c.seq.in_(seqs)).order_by(order))


def row_of(found: RowMapping) -> Row:
    """A row of `records` as it was put in."""
    values = {name: found[name] for name in _FIELDS if name != "received_us"}
    for name in LIST_COLUMNS:
        values[name] = tuple(json.loads(values[name]))
    return Row(received_us=found["seq"] // SEQ_STEP, **values)


def _session_of(found: Any) -> SessionRow:  # noqa: ANN401  a row of `sessions`
    sums = dict(zip(SUMS, (getattr(found, name) for name in SUMS), strict=True))
    return SessionRow(
        session_id=found.session_id,
        key_label=found.owner[1:] or None,
        first_us=found.first_seq // SEQ_STEP,
        last_us=found.last_seq // SEQ_STEP,
        requests=sums["requests"],
        errors=sums["errors"],
        input_tokens=sums["input_tokens"],
        output_tokens=sums["output_tokens"],
        cost_usd=sums["cost_pico_usd"] / 1e12 if sums["priced"] else None,
    )


# --- cursors ---


def _encoded(sort: str, row: RowMapping) -> str:
    return _encode([sort, row[SORTS[sort.removeprefix("-")]], row["seq"]])


def _encode(place: list[object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _decoded(cursor: str | None, sort: str) -> Place | None:
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
