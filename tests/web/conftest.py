"""Every test of the API that takes `made`, `site` or `browser` runs twice: on SQLite, and on a real
Postgres."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from src.web.view import Site
from tests.web.kit import Browser, Made, make_site, make_traces


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
    await _threads_ended()


async def _threads_ended() -> None:
    """A connection to SQLite that was given up ends in its own thread, which tells the loop that
    it has: that must not be closed by then."""
    until = time.monotonic() + 2
    while any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
        if time.monotonic() > until:
            return
        await asyncio.sleep(0.005)


@pytest.fixture
async def browser(site: Site) -> AsyncIterator[Browser]:
    opened = Browser(site)
    yield opened
    await opened.close()
