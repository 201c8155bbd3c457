"""Many rows at once, by position: to bind each value of each row by its name takes SQLAlchemy as
long as it takes SQLite to write the row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from sqlalchemy import Insert
from sqlalchemy.ext.asyncio import AsyncConnection

_MANY = 500  # parameters of one IN, which SQLite bounds
T = TypeVar("T")


async def insert_rows(
    connection: AsyncConnection, statement: Insert, rows: Sequence[tuple[object, ...]]
) -> None:
    """Execute the INSERT for each row, whose values come in the order of the table's columns; they
    have to be as the driver takes them."""
    if not rows:
        return
    compiled = statement.compile(dialect=connection.dialect)
    await connection.exec_driver_sql(str(compiled), list(rows))


def split(values: Sequence[T]) -> Iterable[Sequence[T]]:
    """Parts of a size that an IN takes."""
    return (values[at : at + _MANY] for at in range(0, len(values), _MANY))
