from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from src.web.view import Site
from tests.web.kit import Browser, Made, make_site, make_traces


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_traces(tmp_path_factory.mktemp("site"))


@pytest.fixture
async def site(made: Made) -> AsyncIterator[Site]:
    opened, engine = make_site(made.folder)
    yield opened
    await engine.dispose()


@pytest.fixture
async def browser(site: Site) -> AsyncIterator[Browser]:
    opened = Browser(site)
    yield opened
    await opened.close()
