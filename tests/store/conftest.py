"""Every test of the store that takes `url` runs twice: on SQLite, and on a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from src.store import schema
from src.store.engine import open_engine, store_url
from src.store.reader import Reader
from src.store.writing import Writer


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The database_url of an empty store: None is SQLite's own place."""
    if request.param == "sqlite":
        return None
    server = request.getfixturevalue("shared_postgres")
    return await server.new_database()


@pytest.fixture
async def engine(url: str | None, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """A writer's, of a store that is up to date."""
    opened = open_engine(store_url(url, tmp_path), writes=True)
    await schema.upgrade(opened)
    yield opened
    await opened.dispose()


@pytest.fixture
def writer(engine: AsyncEngine) -> Writer:
    return Writer(engine)


@pytest.fixture
async def reader(engine: AsyncEngine) -> AsyncIterator[Reader]:
    opened = Reader(open_engine(engine.url, writes=False))
    yield opened
    await opened.close()
