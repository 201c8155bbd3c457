"""Reads the store: pages of a filter, one row, sessions, stats."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.expression import literal_column

from ..query.folding import lower
from ..query.tree import And, Node
from ..record.row import Row
from . import schema
from .asked import Asked
from .compiling import tests_in
from .cursors import SORTS, decoded, encoded
from .names import MOST, NAMED, values_of
from .paging import Pager
from .rollups import scope_of
from .row_sums import Breakdown
from .stats import Bucket, stats
from .tables import LIST_COLUMNS, SEQ_STEP, SUMS, records, sessions


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
        after = decoded(cursor, sort)
        async with self._engine.connect() as connection:
            asked = Asked(node, await self._names(connection, node), self._owned(only_key))
            pager = Pager(connection, self._sqlite, asked, after, limit + 1, downwards)
            by_time = name == "received"
            rows = await (pager.by_time() if by_time else pager.by_value(SORTS[name]))
        more = len(rows) > limit
        del rows[limit:]
        last = encoded(sort, rows[-1][SORTS[name]], rows[-1]["seq"]) if more else None
        return Page([row_of(row) for row in rows], last)

    async def sessions(
        self, *, cursor: str | None = None, limit: int = 50, only_key: str | None = None
    ) -> SessionPage:
        """Sessions, the one with the latest request first; one that several keys have used counts
        for each of them. Raises CursorError."""
        c = sessions.c
        columns = (c.session_id, c.owner, c.first_seq, c.last_seq, *(c[name] for name in SUMS))
        query = select(*columns).order_by(c.last_seq.desc()).limit(limit + 1)
        # As the index of the latest has it.
        owned = (
            c.owner != literal_column("'*'") if only_key is None else c.owner == scope_of(only_key)
        )
        query = query.where(owned)
        after = decoded(cursor, "sessions")
        if after is not None:
            query = query.where(c.last_seq < after[1])
        async with self._engine.connect() as connection:
            found = (await connection.execute(query)).all()
        listed = [_session_of(row) for row in found[:limit]]
        more = len(found) > limit
        next_ = encoded("sessions", None, found[limit - 1].last_seq) if more else None
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
            if not self._sqlite:  # all that is read is of one moment, as it is there
                await connection.execution_options(isolation_level="REPEATABLE READ")
            names = await self._names(connection, node)
            breakdown = Breakdown(since_us, until_us, bucket_us, by, only_key)
            owned = self._owned(only_key)
            return await stats(connection, node, breakdown, names, owned, sqlite=self._sqlite)

    # --- whose ---

    def _owned(self, only_key: str | None) -> tuple[ColumnElement[bool], ...]:
        """First by the index, which knows no case, then to the letter."""
        if only_key is None:
            return ()
        label = records.c.key_label
        if self._sqlite:
            return label == only_key, label.collate("BINARY") == only_key
        return func.lower(label) == lower(only_key), label == only_key

    async def _names(self, connection: AsyncConnection, node: Node) -> Mapping[str, Sequence[str]]:
        """The values of the columns that `node` has patterns for, where they are few."""
        wanted = {
            test.field.column
            for test in tests_in(node)
            if test.field.column in NAMED and "*" in str(test.value)
        }
        found = {column: await values_of(connection, column) for column in wanted}
        return {column: values for column, values in found.items() if len(values) <= MOST}


def row_of(found: RowMapping) -> Row:
    """A row of `records` as it was put in."""
    values = {name: found[name] for name in Row._fields if name != "received_us"}
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
