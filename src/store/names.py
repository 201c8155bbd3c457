"""The distinct values of columns that have few, so that a pattern becomes a list of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..record.row import Row
from .tables import LIST_COLUMNS, names
from .upserting import insert_into

NAMED = (
    "provider",
    "model",
    "operation",
    "upstream",
    "method",
    "path",
    "cause",
    "phase",
    "state",
    "error_type",
    "key_label",
    "user_agent",
    "tags",
    "tools",
)
MOST = 1000
"""Of a column with more values none are listed: a pattern is then looked for row by row."""


class Names:
    """What a writer knows of them, so that most batches ask nothing."""

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = {}

    def forget(self) -> None:
        """After a transaction that came to nothing."""
        self._known.clear()

    async def note(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        """Add what is new."""
        if not rows:
            return
        new: list[dict[str, str]] = []
        for column in NAMED:
            known = self._known.get(column)
            if known is None:
                known = self._known[column] = set(await values_of(connection, column))
            if len(known) > MOST:
                continue
            found = _values(rows, column) - known
            known |= found
            new += [{"column": column, "value": value} for value in found]
        if new:
            # Who writes beside us, `llmtap index`, may have noted it since we asked.
            await connection.execute(insert_into(connection, names).on_conflict_do_nothing(), new)


def _values(rows: Iterable[Row], column: str) -> set[str]:
    if column in LIST_COLUMNS:
        return {member for row in rows for member in getattr(row, column)}
    return {value for row in rows if (value := getattr(row, column)) is not None}


async def values_of(connection: AsyncConnection, column: str) -> list[str]:
    """All values of a column, more than MOST if they are not all there."""
    query = select(names.c.value).where(names.c.column == column).limit(MOST + 1)
    return list(await connection.scalars(query))
