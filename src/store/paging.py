"""Finds the rows of a page, in milliseconds whatever the filter.

newest first:
one value of one column ────────────────▶ its index, which is in order of time
a few values of one column, or a label ─▶ the index of each, and the newest of these
words, and besides only rows' own tests ▶ SQLite: the words' index, in order of time
anything else ──▶ look through the newest rows; full? done
                      └─ matches are rare: by an index, span by span, the newest first
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, literal, select
from sqlalchemy import text as sql
from sqlalchemy import union_all
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import bindparam, literal_column

from ..query.fields import Kind
from ..query.tree import And, Node, Test
from .asked import Asked, few_values, is_one_value, moved, one_match, split_said
from .binning import bin_of
from .compiling import SAID, Compiler, tests_in
from .cursors import Place
from .rare import Rare
from .tables import BINNED_COLUMNS, LIST_COLUMNS, bin_name, labels, records

_WALK, _WALK_SAID = 4000, 300  # rows looked through first; each one's texts cost more
_WALK_MOST = 40_000


@dataclass(slots=True, frozen=True)
class Pager:
    """Finds at most `limit` rows `after` a place (None: from the beginning)."""

    connection: AsyncConnection
    sqlite: bool
    asked: Asked
    after: Place | None
    limit: int
    downwards: bool

    async def by_time(self) -> list[RowMapping]:
        """In order of time."""
        rest = self.asked.rest
        if rest == And(()):
            everything = select(records).where(*self._base())
            return await self._all(self._ordered(everything, records.c.seq))
        if is_one_value(rest):
            assert isinstance(rest, Test)  # noqa: S101  see is_one_value
            key, chosen = Compiler(self.sqlite, self.asked.names).one_value(rest)
            query = select(records).where(*self._base(), chosen)
            return await self._all(self._ordered(query, *self._index(key, records.c.seq)))
        if values := few_values(rest, self.asked.names):
            return await self._of_values(rest, values)
        said, others = split_said(rest)
        if self.sqlite and (match := one_match(said)) is not None:
            return await self._said(match, others)
        return await self._walked()

    async def by_value(self, name: str) -> list[RowMapping]:
        """Those that know the value, in its order, then those that do not, by time."""
        column, seq = records.c[name], records.c.seq
        order = [column, seq]
        if name in BINNED_COLUMNS:  # whose index leaves only the last of a bin to be sorted
            order.insert(0, records.c[bin_name(name)])
        where = [*self.asked.owned, *self.asked.times(self.sqlite)]
        compiler = Compiler(self.sqlite, self.asked.names, by_row=True)
        where.append(compiler.compile(self.asked.rest))
        found: list[RowMapping] = []
        after = self.after
        if after is None or after[0] is not None:
            query = select(records).where(*where, order[0].is_not(None))
            if after is not None:
                query = query.where(*_beyond(order, after, self.downwards))
            found = await self._all(self._ordered(query, *order))
            after = None
        if len(found) < self.limit:
            query = select(records).where(*where, order[0].is_(None))
            if after is not None:
                query = query.where(seq < after[1] if self.downwards else seq > after[1])
            found += await self._all(self._ordered(query, seq))
        return found[: self.limit]

    # --- in order of time ---

    def _base(self) -> list[ColumnElement[bool]]:
        """What holds for every row of the page, beside the filter."""
        base = list(self.asked.owned)
        if self.after is not None:
            seq, place = records.c.seq, self.after[1]
            base.append(seq < place if self.downwards else seq > place)
        return base + self.asked.times(self.sqlite)

    async def _of_values(self, test: Node, values: Sequence[str]) -> list[RowMapping]:
        """The newest of each value by its index, which is in order of time; of these the newest."""
        assert isinstance(test, Test)  # noqa: S101  see few_values
        tops = [select(self._top(test, value).subquery().c.seq) for value in values]
        some = union_all(*tops).subquery()
        seqs = self._ordered(select(some.c.seq).distinct(), some.c.seq)
        return await self._rows_at(list(await self.connection.scalars(seqs)))

    def _top(self, test: Test, value: str) -> Select[tuple[int]]:
        compiler, base = Compiler(self.sqlite), self._base()
        if test.field.kind is not Kind.LIST:
            key, seq = compiler.folded(records.c[test.field.column]), records.c.seq
            query = select(seq).where(compiler.same(key, value), *base)
            return self._ordered(query, *self._index(key, seq))
        key, seq = compiler.folded(labels.c.value), labels.c.seq
        kind = labels.c.kind == literal(LIST_COLUMNS[test.field.column])
        joined = labels.join(records, records.c.seq == seq)
        query = select(seq).select_from(joined).where(kind, compiler.same(key, value))
        query = query.where(*(moved(each, seq) for each in base))
        return self._ordered(query, *self._index(key, seq))

    def _index(
        self, key: ColumnElement[Any], seq: ColumnElement[int]
    ) -> tuple[ColumnElement[Any], ...]:
        """The order of an index of one value; see `Compiler.one_value`."""
        return (seq,) if self.sqlite else (key, seq)

    async def _said(self, query: str, rest: Node) -> list[RowMapping]:
        """SQLite's index of words gives its rows in order of time."""
        rowid: ColumnElement[int] = literal_column("said.rowid")
        said = sql("said MATCH :said").bindparams(bindparam("said", query))
        bounds = (moved(each, rowid) for each in self._base())
        compiled = Compiler(self.sqlite, self.asked.names, by_row=True).compile(rest)
        joined = SAID.join(records, records.c.seq == rowid)
        chosen = select(records).select_from(joined).where(said, *bounds, compiled)
        return await self._all(self._ordered(chosen, rowid))

    async def _walked(self) -> list[RowMapping]:
        searches = any(test.field.kind is Kind.SEARCH for test in tests_in(self.asked.rest))
        rows = first = _WALK_SAID if searches else _WALK
        for _ in range(2):
            found = await self._newest(rows)
            if len(found) == self.limit:
                return found
            if rows > first:
                break
            rows = int(1.5 * first * self.limit / len(found)) if found else _WALK_MOST + 1
            if rows > (_WALK_MOST if not searches else 4 * first):
                break
        rare = Rare(self.connection, self.asked, self._base(), self.after, downwards=self.downwards)
        return await self._rows_at(await rare.places(self.limit))

    async def _newest(self, rows: int) -> list[RowMapping]:
        """Of so many rows, looked at one by one."""
        order = records.c.seq.desc() if self.downwards else records.c.seq.asc()
        newest = select(records).where(*self._base()).order_by(order).limit(rows).subquery()
        compiler = Compiler(self.sqlite, self.asked.names, newest, by_row=True)
        query = select(newest).where(compiler.compile(self.asked.rest))
        return await self._all(self._ordered(query, newest.c.seq))

    # --- queries ---

    def _ordered(self, query: Select[Any], *order: ColumnElement[Any]) -> Select[Any]:
        ordered = (each.desc() if self.downwards else each.asc() for each in order)
        return query.order_by(*ordered).limit(self.limit)

    async def _all(self, query: Select[Any]) -> list[RowMapping]:
        return list((await self.connection.execute(query)).mappings())

    async def _rows_at(self, seqs: Sequence[int]) -> list[RowMapping]:
        if not seqs:
            return []
        query = select(records).where(records.c.seq.in_(seqs))
        return await self._all(self._ordered(query, records.c.seq))


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
