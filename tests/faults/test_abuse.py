"""Slow, endless and exploding requests beside ordinary load: nobody else notices (reliability 46,
94, 115).

    pytest tests/faults/test_abuse.py --slow-clients 1000
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import threading
import time
import zlib
from collections import Counter
from pathlib import Path
from types import TracebackType

import pytest

from tests.conftest import Figure
from tests.support import bodies
from tests.support.client import Address, Client
from tests.support.samples import Sampler, percentile, sample, told
from tests.support.slow import SlowSwarm, endless_head
from tests.support.steps import JSON_TYPE, SSE_TYPE
from tests.support.swarm import Line, SwarmUpstream, ask_for, loop_of_its_own, whole
from tests.support.tap import LLMTap, settings

READY_S = 0.2
DEADLINE_S = 2.0
CUT_WITHIN_S = DEADLINE_S + 0.1 + 0.9  # deadlines are looked at ten times a second; the machine
SECONDS = 5.0
BOMB_MB = 1000
GZIP = (b"Content-Encoding", b"gzip")
MEMORY_MB = 300.0

_numbers = itertools.count(1)


def bomb(begin: bytes = b"") -> bytes:
    """A gigabyte of zeros behind `begin`, in about one megabyte: gzip by hand (RFC 1952), since
    after a full flush the same block can stand again and again."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(10_000_000)
    first = deflate.compress(begin) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
    times = BOMB_MB // 10
    check, size = zlib.crc32(begin), len(begin) + times * len(zeros)
    for _ in range(times):
        check = zlib.crc32(zeros, check)
    head = b"\x1f\x8b\x08" + bytes(7)
    return head + first + block * times + deflate.flush() + struct.pack("<LL", check, size)


class Readiness:
    """Asks `/readiness` every 50 ms on a connection of its own each time, in a thread."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.took_s: list[float] = []
        self.failures: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Readiness:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.05):
            began = time.monotonic()
            try:
                with Client(self.address, timeout=5) as client:
                    client.request("GET", "/readiness")
                    status = client.answer().status
            except Exception as error:
                self.failures.append(repr(error))
                continue
            self.took_s.append(time.monotonic() - began)
            if status != 200:
                self.failures.append(str(status))


class Ordinary:
    """What everybody else does: four clients with a call every few milliseconds."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.took_s: list[float] = []
        self.statuses: Counter[int] = Counter()

    async def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._client(until) for _ in range(4)))

    async def _client(self, until: float) -> None:
        line = await Line.open(self.address)
        while time.monotonic() < until:
            reply = await line.ask(ask_for(f"n{next(_numbers)}", "call"))
            self.took_s.append(reply.took_s)
            self.statuses[reply.status if reply.end == "whole" else 0] += 1
            await asyncio.sleep(0.01)
        line.transport.close()


class Bombs:
    """Sends gzip bombs, and asks for some: one of each kind after the other."""

    def __init__(self, address: Address, request_body: bytes) -> None:
        self.address = address
        self.request_body = request_body
        self.statuses: Counter[tuple[str, int]] = Counter()

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            for kind in ("call", "bomb", "sse_bomb"):
                line = await Line.open(self.address)
                headers = [GZIP] if kind == "call" else []
                body = self.request_body if kind == "call" else bodies.chat_request(stream=True)
                reply = await line.ask(ask_for(f"b{next(_numbers)}", kind, *headers, body=body))
                self.statuses[kind, reply.status] += 1
                line.transport.close()
            await asyncio.sleep(0.2)


async def _heads(address: Address, until: float, statuses: Counter[int]) -> None:
    while time.monotonic() < until:
        found = await asyncio.gather(*(endless_head(address, 5_000_000) for _ in range(4)))
        statuses.update(found)
        await asyncio.sleep(0.05)


def test_r115_slow_endless_and_exploding_requests_disturb_nobody(
    tmp_path: Path, pytestconfig: pytest.Config, figure: Figure
) -> None:
    count = pytestconfig.getoption("--slow-clients")
    packed, packed_sse = bomb(), bomb(b"data: ")
    canned = {
        "bomb": whole(packed, JSON_TYPE, GZIP),
        "sse_bomb": whole(packed_sse, SSE_TYPE, GZIP),
    }
    times = {"request_head_s": DEADLINE_S, "request_body_s": DEADLINE_S}
    with loop_of_its_own() as runner:
        upstream = runner.run(SwarmUpstream(canned).start())
        tap = LLMTap(tmp_path / "tap", config=settings(upstream.url, timeouts=times, quiet=True))
        try:
            tap.start()
            before, during = Ordinary(tap.address), Ordinary(tap.address)
            runner.run(before.run(1.5))
            start = sample(tap)
            bombs, heads = Bombs(tap.address, packed), Counter[int]()
            swarm = SlowSwarm(tap.address, count)
            with Readiness(tap.address) as ready, Sampler(tap, 0.25) as sampler:
                runner.run(_abuse(tap.address, swarm, bombs, heads, during))
            end = _written(tap)
            health = told(tap)
        finally:
            tap.stop()
            runner.run(upstream.stop())
    p99_before, p99_during = (percentile(load.took_s, 0.99) for load in (before, during))
    figure(
        7,
        slow_clients=count,
        seconds=SECONDS,
        slow_cut=sum(swarm.cut.values()),
        longest_held_s=round(swarm.longest_s, 2),
        heads_of_5_mb=sum(heads.values()),
        gzip_bombs_of_1_gb=sum(bombs.statuses.values()),
        readiness_asked=len(ready.took_s),
        readiness_p99_ms=round(percentile(ready.took_s, 0.99) * 1000, 1),
        readiness_max_ms=round(max(ready.took_s) * 1000, 1),
        ordinary_requests=sum(during.statuses.values()),
        ordinary_failed=sum(during.statuses.values()) - during.statuses[200],
        ordinary_p99_before_ms=round(p99_before * 1000, 1),
        ordinary_p99_during_ms=round(p99_during * 1000, 1),
        memory_before_mb=round(start.pss_mb, 1),
        memory_most_mb=round(sampler.most("pss_mb"), 1),
        memory_after_mb=round(end, 1),
    )
    assert not ready.failures
    assert max(ready.took_s) < READY_S
    assert set(before.statuses) == set(during.statuses) == {200}
    assert p99_during < max(10 * p99_before, 0.1)

    assert min(swarm.cut[kind] for kind in ("silent", "head", "body", "chunks")) >= count // 4
    assert swarm.longest_s < CUT_WITHIN_S
    assert set(swarm.statuses) <= {0, 408}
    assert health["slow"] >= sum(swarm.cut.values())
    assert set(heads) <= {0, 431}
    assert health["refused"] >= heads[431] > 0
    assert {status for _, status in bombs.statuses} == {200}
    assert sampler.most("pss_mb") < start.pss_mb + MEMORY_MB
    assert health["trace.written"] == health["accepted"]


async def _abuse(
    address: Address, swarm: SlowSwarm, bombs: Bombs, heads: Counter[int], ordinary: Ordinary
) -> None:
    until = time.monotonic() + SECONDS
    async with swarm:
        await asyncio.gather(ordinary.run(SECONDS), bombs.run(until), _heads(address, until, heads))


def _written(tap: LLMTap) -> float:
    """The memory in MB once every trace is written."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        health = told(tap)
        if health["trace.written"] >= health["accepted"] and not health["in_flight"]:
            break
        time.sleep(0.1)
    return sample(tap).pss_mb
