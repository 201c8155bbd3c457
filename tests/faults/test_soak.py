"""Thousands of streams, a third of them left by their clients, then mixed load for minutes: at the
end everything is as it was at the start (reliability 46, 94, 120).

    pytest tests/faults/test_soak.py --streams 10000 --soak 10
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.conftest import Figure
from tests.support.client import Address
from tests.support.samples import Sample, Sampler, sample, told
from tests.support.swarm import Line, Reply, SwarmUpstream, ask_for, loop_of_its_own
from tests.support.tap import LLMTap, settings

AT_ONCE = 500
CANCELLED = 0.3
WORKERS = 32
PAUSE_S = 0.05  # between two requests of a worker: the load is to last, not to be at the limit
EVENTS, GAP_MS = 10, 30

# What is still called flat, over the second half of the soak; a run of seconds is all warming up,
# so there only the rise counts. The journal keeps 12 segments of 2 MiB for use again, each with a
# file open for its mapping, which counts as memory too.
MB_PER_MINUTE = 1.0
RISE_MB = 80.0
FDS = 12
JOURNAL_MB = 26

_MARK = re.compile(r"mark=(m\d+)")


class Ledger:
    """What was asked for, by mark, and what became of it."""

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.answered: set[str] = set()
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._numbers = itertools.count(1)

    def mark(self) -> str:
        mark = f"m{next(self._numbers)}"
        self.sent.add(mark)
        return mark

    def note(self, mark: str, do: str, reply: Reply) -> None:
        self.ends[f"{do} {reply.end}"] += 1
        if reply.status:
            self.answered.add(mark)
        if not _as_wanted(do, reply):
            self.wrong.append(f"{mark} {do}: {reply.status} {reply.end} {reply.body[:200]!r}")


def _as_wanted(do: str, reply: Reply) -> bool:
    if reply.end == "cancelled":
        return reply.status in (0, 200, 429)
    if do == "cut":
        return (reply.status, reply.end, reply.events) == (200, "cut", EVENTS - EVENTS // 2)
    if do == "stream":
        return (reply.status, reply.end, reply.events) == (200, "whole", EVENTS)
    return (reply.status, reply.end) == (429 if do == "error" else 200, "whole")


async def _streams(address: Address, ledger: Ledger, count: int, dice: random.Random) -> None:
    """`count` streams, each on a connection of its own, so many at once."""
    slots = asyncio.Semaphore(AT_ONCE)
    longest_s = EVENTS * GAP_MS / 1000

    async def one(leave_after_s: float | None) -> None:
        async with slots:
            await _ask(await Line.open(address), ledger, "stream", leave_after_s)

    leaves = [
        dice.uniform(0, longest_s) if dice.random() < CANCELLED else None for _ in range(count)
    ]
    await asyncio.gather(*(one(leave) for leave in leaves))


async def _ask(line: Line, ledger: Ledger, do: str, leave_after_s: float | None = None) -> None:
    mark = ledger.mark()
    request = ask_for(mark, do, events=EVENTS, gap_ms=GAP_MS)
    ledger.note(mark, do, await line.ask(request, cancel_after_s=leave_after_s))
    line.transport.close()


async def _mixed(address: Address, ledger: Ledger, until: float, dice: random.Random) -> None:
    """One client: calls on a kept connection, streams, errors, cuts, and streams that it leaves."""
    kept = await Line.open(address)
    while time.monotonic() < until:
        do = dice.choices(("call", "stream", "leave", "error", "cut"), (60, 20, 8, 8, 4))[0]
        if do == "call":
            kept = await Line.open(address) if kept.closed else kept
            mark = ledger.mark()
            ledger.note(mark, do, await kept.ask(ask_for(mark, do)))
        elif do == "leave":
            leave_after_s = dice.uniform(0, EVENTS * GAP_MS / 1000)
            await _ask(await Line.open(address), ledger, "stream", leave_after_s)
        else:
            await _ask(await Line.open(address), ledger, do)
        await asyncio.sleep(dice.uniform(0, 2 * PAUSE_S))
    kept.transport.close()


def _traced(tap: LLMTap) -> Iterator[tuple[str, str]]:
    """The mark and the cause of every trace; one that does not parse fails."""
    for path in tap.files():
        document = orjson.loads(path.read_bytes())
        found = _MARK.search(document["request"]["query"] or "")
        assert found, f"{path.name} is no request of ours"
        yield found[1], document["termination"]["cause"]


def _settled(tap: LLMTap, timeout_s: float) -> Sample:
    """Once everything is written and what was idle is closed; the last sample if it never is."""
    deadline = time.monotonic() + timeout_s
    while True:
        now, health = sample(tap), told(tap)
        written = health["trace.written"] + health["trace.dropped"] + health["trace.failed"]
        idle = health["upstream_connections"] == 0 and health["connections"] == 1  # we who ask
        if (idle and written == health["accepted"]) or time.monotonic() > deadline:
            return now
        time.sleep(0.1)


def test_r120_after_streams_cancels_and_a_soak_all_is_as_before(
    tmp_path: Path, pytestconfig: pytest.Config, figure: Figure
) -> None:
    seed = pytestconfig.getoption("--load-seed") or random.randrange(1 << 32)
    streams, minutes = pytestconfig.getoption("--streams"), pytestconfig.getoption("--soak")
    print(f"--load-seed {seed}")
    dice = random.Random(seed)
    ledger = Ledger()
    with loop_of_its_own() as runner:
        upstream = runner.run(SwarmUpstream().start())
        limits = {"upstream_idle_s": 1}
        tap = LLMTap(tmp_path / "tap", config=settings(upstream.url, limits=limits, quiet=True))
        try:
            tap.start()
            runner.run(_streams(tap.address, ledger, 50, dice))  # imports, pools, first buffers
            start = _settled(tap, 10)
            runner.run(_streams(tap.address, ledger, streams, dice))
            cancelled = ledger.ends["stream cancelled"]
            with Sampler(tap, max(0.25, minutes * 60 / 600)) as sampler:
                runner.run(_soak(tap.address, ledger, minutes * 60, dice))
            end = _settled(tap, 30 + len(ledger.sent) / 1000)
            health = told(tap)
        finally:
            tap.stop()
            runner.run(upstream.stop())
    rise_mb = end.pss_mb - start.pss_mb
    per_minute = sampler.per_minute("pss_mb")
    figure(
        6,
        streams=streams,
        cancelled=cancelled,
        soak_minutes=minutes,
        requests=len(ledger.sent),
        wrong=len(ledger.wrong),
        fds_start=start.fds,
        fds_end=end.fds,
        tasks_start=start.tasks,
        tasks_end=end.tasks,
        threads_start=start.threads,
        threads_end=end.threads,
        memory_start_mb=round(start.pss_mb, 1),
        memory_end_mb=round(end.pss_mb, 1),
        memory_slope_mb_per_min=round(per_minute, 2),
        fds_slope_per_min=round(sampler.per_minute("fds"), 1),
        journal_most_mb=round(sampler.most("journal_mb"), 1),
        journal_end_mb=round(end.journal_mb, 1),
        accepted=health["accepted"],
        written=health["trace.written"],
        dropped=health["trace.dropped"],
        failed=health["trace.failed"],
    )
    print(ledger.ends, f"seed {seed}")
    assert not ledger.wrong, (len(ledger.wrong), ledger.wrong[:5])
    assert 0.2 * streams < cancelled < 0.4 * streams

    assert (end.in_flight, end.tasks) == (0, start.tasks)
    assert end.fds <= start.fds + FDS, "files stayed open"
    assert end.threads <= start.threads
    assert end.journal_mb < JOURNAL_MB, "the journal was not given back"
    if minutes >= 1:
        assert per_minute < MB_PER_MINUTE, [round(s.pss_mb, 1) for s in sampler.samples]
    assert rise_mb < RISE_MB

    assert health["trace.written"] == health["accepted"]
    assert health["trace.dropped"] == health["trace.failed"] == 0
    traced = Counter(mark for mark, _ in _traced(tap))
    assert max(traced.values()) == 1, "a request with two traces"
    assert len(traced) == health["accepted"]
    must = ledger.answered | set(upstream.seen)
    assert must <= set(traced) <= ledger.sent


async def _soak(address: Address, ledger: Ledger, seconds: float, dice: random.Random) -> None:
    until = time.monotonic() + seconds
    clients = (_mixed(address, ledger, until, random.Random(dice.random())) for _ in range(WORKERS))
    await asyncio.gather(*clients)
