"""What the store takes too long for is ended by the store itself, and holds up nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from src.store.reader import Page, Reader
from src.web.view import Site
from tests.web.kit import ADMIN, KEYS, Browser, Made, make_site

LIMIT_S = 0.6
FOR_EVER = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    " SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}


class SlowReader(Reader):
    """Its pages never come. `began`: how many have been asked for."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.engine = engine
        self.began = 0

    async def page(self, *args: Any, **kwargs: Any) -> Page:
        """For ever."""
        del args, kwargs
        self.began += 1
        async with self.engine.connect() as connection:
            await connection.execute(text(FOR_EVER[self.engine.url.get_backend_name()]))
        raise AssertionError("it came")


@pytest.fixture
async def site(made: Made) -> AsyncIterator[Site]:
    opened, engine = make_site(made, query_s=LIMIT_S)
    opened.reader = SlowReader(engine)
    yield opened
    await engine.dispose()


async def test_a_query_without_end_is_503_at_the_limit_and_frees_its_connection(
    browser: Browser, site: Site
) -> None:
    began = time.monotonic()
    answered = await browser.get("/api/requests")
    took_s = time.monotonic() - began
    assert answered.status_code == 503
    assert answered.json()["error"]["type"] == "too_slow"
    assert "retry-after" in answered.headers
    assert "pg_sleep" not in answered.text
    assert LIMIT_S <= took_s < LIMIT_S + 0.5  # by the store, not by whoever watches it
    assert isinstance(site.reader, SlowReader)
    assert site.reader.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a queue's
    async with site.reader.engine.connect() as connection:  # and works on
        assert await connection.scalar(text("SELECT 1")) == 1
        if site.reader.engine.url.get_backend_name() == "postgresql":
            still = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
            still += " AND state = 'active'"
            assert await connection.scalar(text(still)) == 0
    assert (await browser.get("/api/sessions")).status_code == 200


async def test_whoever_asks_too_much_waits_behind_himself(
    browser: Browser, site: Site, made: Made
) -> None:
    """Ten of bob's that never end: alice is answered at once, bob's own in their turn or not."""
    assert isinstance(site.reader, SlowReader)
    bobs = [asyncio.create_task(browser.get("/api/requests", KEYS["bob"])) for _ in range(10)]
    async with asyncio.timeout(5):
        while site.reader.began < 4:
            await asyncio.sleep(0.005)
    began = time.monotonic()
    assert (await browser.get("/api/sessions", KEYS["alice"])).status_code == 200
    assert (await browser.get(f"/api/request/{made.ids['bob'][0]}", ADMIN)).status_code == 200
    assert time.monotonic() - began < LIMIT_S
    answers = await asyncio.gather(*bobs)
    assert {answered.status_code for answered in answers} == {503}
    kinds = [answered.json()["error"]["type"] for answered in answers]
    assert kinds.count("too_slow") >= 4
    assert set(kinds) <= {"too_slow", "busy"}
