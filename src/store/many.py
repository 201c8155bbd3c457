"""Many rows, many keys at once, in one statement that is the same however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Insert, any_, cast, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from .upserting import is_sqlite


async def insert_rows(
    connection: AsyncConnection, statement: Insert, rows: Sequence[tuple[object, ...]]
) -> None:
    """Execute the INSERT for each row, whose values come in the order of the table's columns; they
    have to be as the driver takes them. To bind each value by its name takes SQLAlchemy as long as
    it takes SQLite to write the row."""
    if not rows:
        return
    compiled = statement.compile(dialect=connection.dialect)
    await connection.exec_driver_sql(str(compiled), list(rows))


def among(
    connection: AsyncConnection, column: ColumnElement[Any], keys: Sequence[str] | Sequence[int]
) -> ColumnElement[bool]:
    """Is the column one of the keys? One parameter, and looked up by the column's index: of an IN
    of 500 parameters Postgres makes an array for every row it reads, and reads all of them."""
    if is_sqlite(connection):
        each = func.json_each(orjson.dumps(keys).decode()).table_valued("value")
        return column.in_(select(each.c.value))
    return column == any_(cast(literal(list(keys), ARRAY(column.type)), ARRAY(column.type)))
