"""Every test of the API that takes `made`, `site` or `browser` runs twice: on SQLite, and on a real
Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from src.web.view import Site
from tests.web.kit import Browser, Made, make_site, make_traces, threads_ended


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    url = None
    if request.param == "postgres":
        url = asyncio.run(request.getfixturevalue("shared_postgres").new_database())
    return make_traces(tmp_path_factory.mktemp("site"), url)


@pytest.fixture
async def site(made: Made) -> AsyncIterator[Site]:
    opened, engine = make_site(made)
    yield opened
    await engine.dispose()
    await threads_ended()


@pytest.fixture
async def browser(site: Site) -> AsyncIterator[Browser]:
    opened = Browser(site)
    yield opened
    await opened.close()
