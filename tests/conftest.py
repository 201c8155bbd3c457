"""Fixtures of the black-box kit: one upstream and one proxy a module, a `case` for each test."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import own_postgres, shared_postgres
from tests.support.steps import reply
from tests.support.tap import LLMTap
from tests.support.tls import Authority
from tests.support.upstream import Upstream
from tests.support.wire import Header

__all__ = ["own_postgres", "shared_postgres"]

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("llmtap")
    group.addoption("--crash-rounds", type=int, default=10, help="kill -9 so many times under load")
    group.addoption(
        "--disk-errors", default="ENOSPC", help="what each disk call fails with: ENOSPC,EROFS,…"
    )
    group.addoption("--limit-rounds", type=int, default=3, help="exactly N of M so many times")
    group.addoption("--crash-seed", type=int, default=None, help="the seed a crash run has printed")
    group.addoption("--every-byte", action="store_true", help="cut at all offsets, not a sample")
    group.addoption("--fault-examples", type=int, default=192, help="mutations tried, each way")
    group.addoption(
        "--trace-requests", type=int, default=1000, help="traced by processes side by side"
    )
    group.addoption("--fault-seed", type=int, default=None, help="the seed a fault run has printed")
    group.addoption("--streams", type=int, default=500, help="streams, of which 30% are cancelled")
    group.addoption("--soak", type=float, default=0.1, help="minutes of mixed load after them")
    group.addoption("--slow-clients", type=int, default=300, help="slowloris connections at once")
    group.addoption("--held-streams", type=int, default=300, help="streams held on one core")
    group.addoption("--hold-more", action="store_true", help="more and more streams, to the limit")
    group.addoption("--load-seed", type=int, default=None, help="the seed a load run has printed")
    group.addoption("--session-turns", type=int, default=60, help="of the session that is shown")
    group.addoption("--store-rounds", type=int, default=6, help="kill -9 of feeder and proxy")
    group.addoption("--store-away", type=float, default=1.5, help="seconds a database is away")
    group.addoption("--store-rows", type=int, default=400, help="rows of four writers at once")
    group.addoption("--figures", metavar="FILE", help="append what was measured, a JSON line each")


_figures = pytest.StashKey[list[dict[str, Any]]]()  # values are what the test measured
Figure = Callable[..., None]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Publishes what a test counted: `figure(2, runs=1800, untruthful=0)`.

    The number is the point of bench/RELIABILITY.md it belongs to; figures of the record have a
    range of their own, `"record 3"`, that no point of that page takes in. Shown at the end of the
    run, and written with `--figures FILE` as `{"point", "test", "values"}`.
    """

    def publish(point: int | str, **values: object) -> None:
        row = {"point": point, "test": request.node.nodeid, "values": values}
        request.config.stash.setdefault(_figures, []).append(row)
        if path := request.config.getoption("--figures"):
            with open(path, "a") as file:
                file.write(json.dumps(row) + "\n")

    return publish


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for row in config.stash.get(_figures, []):
        shown = ", ".join(f"{name} {value}" for name, value in row["values"].items())
        terminalreporter.write_line(
            f"figure {row['point']}: {row['test'].split('::')[-1]}: {shown}"
        )


@pytest.fixture
def case() -> str:
    """A marker that no other test uses: it chooses the script and finds the trace."""
    return f"case-{os.getpid()}-{next(_numbers):04}"


@pytest.fixture
def tagged(case: str) -> list[Header]:
    """The least headers a request needs: the marker and a JSON type."""
    return [(b"X-Case", case.encode()), (b"Content-Type", b"application/json")]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(default=reply()) as started:
        yield started


@pytest.fixture(scope="module")
def tap(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMTap]:
    """The program in front of `upstream` as `--type openai`, with its defaults."""
    started = LLMTap(tmp_path_factory.mktemp("tap"), base_url=upstream.url, args=["--quiet"])
    try:
        yield started.start()
    finally:
        started.stop()


StartTap = Callable[..., LLMTap]


@pytest.fixture
def start_tap(tmp_path: Path) -> Iterator[StartTap]:
    """Starts the program with settings of a test's own: `start_tap(config={…})`."""
    started: list[LLMTap] = []

    def start(*, wait: bool = True, **options: object) -> LLMTap:
        tap = LLMTap(tmp_path / f"tap{len(started)}", **options)  # type: ignore[arg-type]  # its own
        started.append(tap)
        if wait:
            tap.start()
        return tap

    yield start
    for tap in started:
        tap.kill9(group=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority")).start()
