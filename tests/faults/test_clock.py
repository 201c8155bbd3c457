"""The wall clock is set while the program runs: an hour back, a day ahead, a year, and back again.

Whoever looks sees each request once, and no trace is deleted because a clock was wrong. Times
within a request are told by the monotonic clock and cannot jump.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Figure, StartTap
from tests.store.test_feeding import call_many, database, ids_in, is_complete, traced, wait_until
from tests.support import bodies, steps
from tests.support.clock import DAY, HOUR, WallClock
from tests.support.tap import ROOT, LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import free_port

YEAR = 400 * DAY
JUMPS = (-HOUR, 0, DAY, 0, YEAR, 0, -YEAR, 0)


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


class Watching:
    """The ids that were told as ended, by `tail` and by the live feed."""

    def __init__(self, tap: LLMTap, clock: WallClock, web_port: int) -> None:
        command = [sys.executable, "-m", "src.main", "tail", "--json", "--last", "1"]
        self.tail = subprocess.Popen(
            [*command, "--trace-dir", str(tap.trace_dir)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", **clock.env},
        )
        self.tailed: list[str] = []
        self.fed: list[str] = []
        self.joined = threading.Event()  # the feed tells of all that ends from now on
        self.runs = threading.Event()  # it has told of one that runs
        self._feed = urllib.request.urlopen(f"http://127.0.0.1:{web_port}/api/live", timeout=60)
        for read in (self._read_tail, self._read_feed):
            threading.Thread(target=read, daemon=True).start()

    def _read_tail(self) -> None:
        assert self.tail.stdout is not None
        for line in self.tail.stdout:
            if (told := json.loads(line))["event"] == "end":
                self.tailed.append(told["id"])

    def _read_feed(self) -> None:
        for line in self._feed:
            self.joined.set()
            if line == b"event: start\n":
                self.runs.set()
            if line.startswith(b"id: "):
                self.fed.append(line[4:].decode().strip())

    def close(self) -> None:
        self.tail.kill()
        self.tail.communicate()


@pytest.fixture
def watching() -> Iterator[Callable[..., Watching]]:
    begun: list[Watching] = []

    def begin(*args: Any) -> Watching:
        begun.append(Watching(*args))
        return begun[-1]

    yield begin
    for each in begun:
        each.close()


def asked(port: int, what: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{what}", timeout=10) as answer:
        return dict(json.loads(answer.read()))


def pages(port: int) -> list[str]:
    """The ids of all pages, one after the other."""
    page = asked(port, "requests?limit=4")
    found = [row["id"] for row in page["requests"]]
    while page["cursor"]:
        page = asked(port, f"requests?limit=4&cursor={page['cursor']}")
        found += [row["id"] for row in page["requests"]]
    return found


def test_a_clock_that_jumps_loses_doubles_and_hides_nothing(
    start_tap: StartTap,
    upstream: Upstream,
    clock: WallClock,
    watching: Callable[..., Watching],
    figure: Figure,
) -> None:
    port = free_port()
    config = settings(upstream.url, store={}, web={"port": port}, quiet=True)
    tap = start_tap(config=config, env=clock.env)
    clock.set(-36.5 * HOUR)  # what was out of sight, and comes into it when the clock goes back
    before = call_many(tap, 2)
    clock.set(0)
    before += call_many(tap, 2)
    wait_until(lambda: set(before) <= set(ids_in(database(tap))))
    watched = watching(tap, clock, port)
    since: list[str] = []

    def told(told_ids: list[str]) -> Callable[[], bool]:
        return lambda: set(since) <= set(told_ids)

    wait_until(lambda: watched.tailed == before[-1:])
    assert watched.joined.wait(20)
    for ahead_s in JUMPS:
        clock.set(ahead_s)
        since += call_many(tap, 2)
        wait_until(told(watched.tailed), 5)
        wait_until(told(watched.fed), 5)
        wait_until(is_complete(tap, lambda: ids_in(database(tap))), 5)
        recent = asked(port, "requests?q=since:2m&limit=100")["requests"]
        assert set(since[-2:]) <= {row["id"] for row in recent}
    everything = before + since
    assert sorted(watched.tailed) == sorted(before[-1:] + since)
    assert sorted(watched.fed) == sorted(since)
    assert sorted(ids_in(database(tap))) == sorted(everything)
    assert sorted(pages(port)) == sorted(everything)
    assert asked(port, "stats")["buckets"][0]["requests"] == len(everything)
    for document in map(json.loads, (path.read_text() for path in tap.files())):
        assert 0 <= document["timing"]["finished_ms"] < 10_000
    figure("record clock", jumps=len(JUMPS), requests=len(everything), lost=0, doubled=0)


def test_a_stream_that_ends_under_another_clock_is_told_all_the_same(
    start_tap: StartTap, upstream: Upstream, clock: WallClock, watching: Callable[..., Watching]
) -> None:
    """Its trace lies in the folder of a day that nobody looks at."""
    gate = threading.Event()
    upstream.script("late", steps.wait(gate), *steps.reply(200, bodies.chat_answer()))
    port = free_port()
    config = settings(upstream.url, store={}, web={"port": port}, quiet=True)
    tap = start_tap(config=config, env=clock.env)
    call_many(tap, 1)
    wait_until(lambda: len(ids_in(database(tap))) == 1)
    watched = watching(tap, clock, port)
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(tap.call("GET", "/v1/models?late")))
    caller.start()
    upstream.request("late")
    assert watched.runs.wait(20)
    clock.set(YEAR)
    gate.set()
    caller.join()
    wanted = [answers[0].one("x-llmtap-id").decode()]
    wait_until(lambda: watched.fed == wanted, 15)


def test_a_start_with_a_clock_a_year_ahead_deletes_nothing(
    start_tap: StartTap, upstream: Upstream, clock: WallClock
) -> None:
    trace = {"trace": {"keep_days": 2, "keep_bodies_days": 1, "keep_count": 20}}
    config = settings(upstream.url, store={}, quiet=True)
    tap = start_tap(config={**config, "middlewares": [trace]}, env=clock.env)
    call_many(tap, 5)
    wait_until(lambda: len(traced(tap)) == 5)
    retention = tap.trace_dir / ".retention"
    wait_until(lambda: retention.exists() and bool(retention.read_text().strip()))
    kept = {path: path.read_bytes() for path in tap.files()}
    tap.stop()
    for ahead_s, said in ((YEAR, 1), (0, 1)):
        clock.set(ahead_s)
        swept_ns = retention.stat().st_mtime_ns
        tap.restart()
        call_many(tap, 1)
        wait_until(lambda before=swept_ns: retention.stat().st_mtime_ns > before)  # type: ignore[misc]
        assert tap.stop() == 0
        assert len(re.findall("the clock has leapt ahead", tap.output)) == said
        assert {path: path.read_bytes() for path in kept} == kept
    assert sorted(ids_in(database(tap))) == sorted(traced(tap))
    assert len(traced(tap)) == 7
