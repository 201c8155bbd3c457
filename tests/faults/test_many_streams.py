"""As many streams at once as the defaults allow, on one core with tracing, and beyond (issue's
point 8).

    pytest tests/faults/test_many_streams.py --held-streams 2000 --hold-more
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from tests.conftest import Figure
from tests.support.client import Address
from tests.support.samples import percentile, sample, told
from tests.support.swarm import Line, Reply, SwarmUpstream, ask_for, loop_of_its_own
from tests.support.tap import LLMTap, settings

DEFAULT = 2000
GAP_MS = 200  # between two events of a stream
RAMP_PER_S = 1500
HELD_S = 5.0  # all of them at once
LATE_S = 1.0
MOST = 9000


@dataclass(slots=True)
class Held:
    """What became of so many streams. `refused`: the answer to the one too many."""

    events: int
    replies: list[Reply]
    refused: Reply
    refused_head: bytes
    load_share: float
    proxy_share: float

    @property
    def wrong(self) -> list[Reply]:
        return [
            r for r in self.replies if (r.status, r.end, r.events) != (200, "whole", self.events)
        ]

    def late_s(self, share: float) -> float:
        return percentile([late for reply in self.replies for late in reply.late_s], share)

    def first_s(self, share: float) -> float:
        return percentile([reply.first_s for reply in self.replies], share)


@contextmanager
def core_of_its_own() -> Iterator[None]:
    """What is started meanwhile gets the first core alone, and as many files as most systems give;
    afterwards we leave that core."""
    mine, files = os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_NOFILE)
    os.sched_setaffinity(0, {min(mine)})
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, files[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        os.sched_setaffinity(0, mine - {min(mine)} or mine)


@pytest.fixture(autouse=True)
def room() -> Iterator[None]:
    """All cores again afterwards, and files for both ends of every stream meanwhile."""
    mine, files = os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    os.sched_setaffinity(0, mine)


def _cpu_s(tap: LLMTap) -> float:
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2] for pid in tap.members()]
    ticks = sum(int(n) for stat in stats for n in stat.split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


async def _hold(tap: LLMTap, upstream: SwarmUpstream, count: int) -> Held:
    """Begins the streams one by one, and asks for one more once all are in flight."""
    lines = []
    for _ in range(count):
        lines.append(await Line.open(tap.address))
    upstream.seen.clear()
    events = round((HELD_S + count / RAMP_PER_S) * 1000 / GAP_MS)
    began, used, proxy = time.monotonic(), time.process_time(), _cpu_s(tap)
    tasks = []
    for number, line in enumerate(lines):
        request = ask_for(f"s{number}", "stream", events=events, gap_ms=GAP_MS)
        tasks.append(asyncio.ensure_future(line.ask(request)))
        ahead_s = (number + 1) / RAMP_PER_S - (time.monotonic() - began)
        if ahead_s > 0.002:
            await asyncio.sleep(ahead_s)
    while len(upstream.seen) < count and not all(task.done() for task in tasks):
        await asyncio.sleep(0.01)
    refused, head = await _one_more(tap.address)
    replies = await asyncio.gather(*tasks)
    took = time.monotonic() - began
    shares = (time.process_time() - used) / took, (_cpu_s(tap) - proxy) / took
    for line in lines:
        line.transport.close()
    return Held(events, replies, refused, head, *shares)


async def _one_more(address: Address) -> tuple[Reply, bytes]:
    line = await Line.open(address)
    reply = await line.ask(ask_for("more", "call"))
    head = line.head
    line.transport.close()
    return reply, head


def _run(folder: Path, count: int, **limits: object) -> tuple[Held, dict[str, int], float, int]:
    """Holds `count` streams: what became of them, `/health` afterwards, the memory in MB, and how
    many traces have every event."""
    with loop_of_its_own() as runner:
        upstream = runner.run(SwarmUpstream().start())
        tap = LLMTap(folder, config=settings(upstream.url, quiet=True, limits=limits))
        try:
            with core_of_its_own():
                tap.start()
            held = runner.run(_hold(tap, upstream, count))
            memory = sample(tap).pss_mb
            health = _written(tap, 20 + count / 100)
            return held, health, memory, _whole(tap, held.events)
        finally:
            tap.stop()
            runner.run(upstream.stop())


def _written(tap: LLMTap, timeout_s: float) -> dict[str, int]:
    deadline = time.monotonic() + timeout_s
    while (health := told(tap))["trace.written"] < health["accepted"]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return health


def _whole(tap: LLMTap, events: int) -> int:
    """How many traces have every event and the end."""
    count = 0
    for path in tap.files():
        document = orjson.loads(path.read_bytes())
        raws = "".join(event["raw"] for event in (document["stream"] or {"events": []})["events"])
        count += (raws.count('"t":'), raws.count("[DONE]")) == (events, 1)
    return count


def test_streams_are_held_on_one_core_and_the_one_too_many_is_told(
    tmp_path: Path, pytestconfig: pytest.Config, figure: Figure
) -> None:
    count = pytestconfig.getoption("--held-streams")
    limits = {} if count == DEFAULT else {"in_flight": count, "upstream_connections": count}
    held, health, memory, whole = _run(tmp_path / "tap", count, **limits)
    figure(8, streams=count, **_figures(held, memory), traces_with_every_event=whole)
    assert not held.wrong, (len(held.wrong), held.wrong[0])
    assert held.late_s(0.99) < LATE_S

    assert held.refused.status == 503
    assert b"retry-after: 1" in held.refused_head.lower()
    assert "in flight" in json.loads(held.refused.body)["error"]["message"]

    assert whole == count
    assert health["accepted"] == health["trace.written"] == count + 1
    assert health["in_flight"] == 0
    if pytestconfig.getoption("--hold-more"):
        _hold_more(tmp_path, figure)


def _hold_more(folder: Path, figure: Figure) -> None:
    """What the machine gives beyond the default: told, not promised, but with every trace."""
    for count in range(DEFAULT + 1000, MOST + 1, 1000):
        limits = {"in_flight": count, "upstream_connections": count, "connections": count + 10}
        held, health, memory, whole = _run(folder / str(count), count, **limits)
        figure(8, streams=count, **_figures(held, memory), traces_with_every_event=whole)
        assert health["accepted"] == health["trace.written"]
        if held.wrong or held.late_s(0.99) > LATE_S or held.refused.status != 503:
            return
        assert whole == count


def _figures(held: Held, memory_mb: float) -> dict[str, object]:
    return {
        "events_each": held.events,
        "wrong": len(held.wrong),
        "first_byte_p99_ms": round(held.first_s(0.99) * 1000, 1),
        "delay_p50_ms": round(held.late_s(0.5) * 1000, 1),
        "delay_p99_ms": round(held.late_s(0.99) * 1000, 1),
        "one_more": held.refused.status,
        "memory_mb": round(memory_mb, 1),
        "cpu_of_proxy": round(held.proxy_share, 2),
        "cpu_of_load": round(held.load_share, 2),
    }
