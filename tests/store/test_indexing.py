"""`llmtap index` where the folder does not seem to be the one that the rows are of."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from src.record.folder import Folder
from src.store.engine import StoreError
from src.store.indexing import Indexed, index
from src.store.loading import load_some
from src.store.tables import records
from src.store.writing import Writer
from tests.record.traces import Written, chat
from tests.store.making import many

MANY = 120


async def count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(records)) or 0


async def indexed(tmp_path: Path, url: str | None, **how: bool) -> Indexed:
    return await index(tmp_path, url, lambda *_: None, **how)


async def test_most_rows_go_only_where_that_is_asked_for(
    writer: Writer, engine: AsyncEngine, url: str | None, tmp_path: Path
) -> None:
    await writer.apply(many(MANY))
    identity = Written(tmp_path).add(chat("m", "hello"))
    told = r"120 of 121 rows have no file in .* they stay; if they are to go, add --remove-most"
    with pytest.raises(StoreError, match=told):
        await indexed(tmp_path, url)
    assert await count(engine) == MANY + 1
    done = await indexed(tmp_path, url, remove_most=True)
    assert (done.removed, done.same) == (MANY, 1)
    async with engine.connect() as connection:
        assert (await connection.scalars(select(records.c.id))).all() == [identity]


async def test_the_smaller_half_goes_by_itself(
    writer: Writer, engine: AsyncEngine, url: str | None, tmp_path: Path
) -> None:
    written = Written(tmp_path)
    for n in range(MANY + 1):
        written.add(chat("m", str(n)))
    files = [(file.file, False) for file in Folder(tmp_path).files()]
    await writer.apply([*load_some(tmp_path, files).items, *many(MANY)])
    done = await indexed(tmp_path, url)
    assert (done.removed, done.same) == (MANY, MANY + 1)
    assert await count(engine) == MANY + 1
