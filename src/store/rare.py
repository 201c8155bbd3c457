"""What is rare is looked for in spans of time, the newest first, by the index of each part of the
filter; the planners would read all rows in order of time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, not_, select
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import literal_column

from ..query.tree import Test
from .asked import Asked, has_index, moved, only_unsaid, split_said, unsaid
from .compiling import Compiler, match_of, says
from .cursors import Place
from .many import among
from .spans import Span, spans
from .tables import records, tsvector_texts
from .upserting import is_sqlite

_FEW_SAY = 10_000


class Rare:
    """Where the next rows of a page are. `base`: what holds for each of them beside the filter;
    `after`: where the page before has ended."""

    def __init__(
        self,
        connection: AsyncConnection,
        asked: Asked,
        base: Sequence[ColumnElement[bool]],
        after: Place | None,
        *,
        downwards: bool,
    ) -> None:
        self.connection = connection
        self.asked = asked
        self.after = after
        self.downwards = downwards
        self.sqlite = is_sqlite(connection)
        self._base = base

    async def places(self, limit: int) -> list[int]:
        """The next so many, each its `seq`, in order."""
        found: list[int] = []
        newest_first = await spans(self.connection, self.asked, self.after, self.downwards)
        if not self.sqlite and not self.asked.owned and (tests := only_unsaid(self.asked.rest)):
            nearest, *others = newest_first
            return await self._unsaid(tests, nearest, others, limit)
        said = unsaid(self.asked.rest) if self.sqlite else []
        unsaid_ = [query for test in said if (query := match_of(test)) is not None]
        for span in newest_first:
            if unsaid_ and await self._all_say(span, unsaid_):
                continue
            found += await self._found_in(span, limit - len(found))
            if len(found) >= limit:
                break
        return found

    async def _found_in(self, span: Span, limit: int) -> list[int]:
        """Postgres: few rows that say what has to be said are asked for first, by themselves. Asked
        for together with all else, the planner takes some words for common and reads every row."""
        said, rest = split_said(self.asked.rest)
        few = await self._few_that_say(said, span) if said and not self.sqlite else None
        if few is None:
            return list(await self.connection.scalars(self._in_span(span, limit)))
        if not few:
            return []
        seq = records.c.seq
        compiled = Compiler(self.sqlite, self.asked.names, by_row=True).compile(rest)
        query = select(seq).where(*self._base, among(self.connection, seq, few), compiled)
        query = query.order_by(seq.desc() if self.downwards else seq.asc()).limit(limit)
        return list(await self.connection.scalars(query))

    async def _few_that_say(self, said: Sequence[Test], span: Span) -> list[int] | None:
        """Those of a span; None where they are many."""
        seq = tsvector_texts.c.seq
        query = select(seq).where(*map(says, said), seq.between(span.first, span.last))
        found = list(await self.connection.scalars(query.limit(_FEW_SAY + 1)))
        return found if len(found) <= _FEW_SAY else None

    def _in_span(self, span: Span, limit: int) -> Select[tuple[int]]:
        """`seq + 0` keeps the planner from reading all rows in order of time once more. `seq - 0`
        keeps Postgres's from taking the two bounds for a pair, of which it thinks that they leave
        one of 200 rows: it would look these up one by one, and there are all of them."""
        within = (span.first, span.last)
        compiler = Compiler(self.sqlite, self.asked.names, within=within)
        compiled = compiler.compile(self.asked.rest)
        seq, unordered = records.c.seq, records.c.seq + literal_column("0")
        bounds = [seq >= span.first, seq <= span.last]
        if has_index(self.asked.rest):
            bounds = [unordered >= span.first, seq - literal_column("0") <= span.last]
        query = select(seq).where(*self._base, *bounds, compiled)
        return query.order_by(unordered.desc() if self.downwards else unordered.asc()).limit(limit)

    async def _unsaid(
        self, tests: Sequence[Test], nearest: Span, others: Sequence[Span], limit: int
    ) -> list[int]:
        """Postgres: where nothing else is asked for and few rows are left, nearly all say one of
        the words. What all have said is read as it lies, in a fifth of the time that looking up
        each row takes; `seq + 0` keeps the planner from that."""
        seq = tsvector_texts.c.seq
        unordered = seq + literal_column("0")
        query = select(seq).where(*(moved(each, seq) for each in self._base))
        query = query.where(*(not_(says(test)) for test in tests))
        query = query.order_by(unordered.desc() if self.downwards else unordered.asc())
        near = query.where(seq.between(nearest.first, nearest.last))
        found = list(await self.connection.scalars(near.limit(limit)))
        if others and len(found) < limit:
            first, last = min(span.first for span in others), max(span.last for span in others)
            bounded = unordered if self.after is None and self.asked.is_unbounded else seq
            far = query.where(bounded.between(first, last)).limit(limit - len(found))
            found += await self.connection.scalars(far)
        return found

    async def _all_say(self, span: Span, queries: Sequence[str]) -> bool:
        """Do all rows of the span say one of what must not be said? They are counted faster than
        the others are found."""
        for query in queries:
            said = sql("SELECT count(*) FROM said WHERE said MATCH :q AND rowid BETWEEN :a AND :b")
            asked = {"q": query, "a": span.first, "b": span.last}
            if (await self.connection.scalar(said, asked) or 0) >= span.rows:
                return True
        return False
