"""Reliability 82, 87: one process of several is killed; the others go on, nothing accepted is lost.

The supervisor's children are its workers, their children the recorders.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Figure
from tests.support import bodies
from tests.support.disk import DiskTap, immutable, until
from tests.support.load import Ledger, Load
from tests.support.tap import settings
from tests.support.upstream import Upstream
from tests.test_crash import seen_by, serve, torn, traced, wait_for

WORKERS = 3


def whole(tap: DiskTap) -> bool:
    return len(tap.workers()) == WORKERS == len(tap.recorders())


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(default=(serve,)) as started:
        yield started


@pytest.fixture
def tap(upstream: Upstream, tmp_path: Path) -> Iterator[DiskTap]:
    config = settings(upstream.url, workers=WORKERS, quiet=True)
    started = DiskTap(tmp_path / "tap", config=config)
    try:
        yield started.start()
    finally:
        started.stop()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def rounds_of(
    tap: DiskTap, rounds: int, dice: random.Random, victims: Callable[[], list[int]]
) -> list[Ledger]:
    """Under load, one of the victims each round; the next begins when all is whole again."""
    ledgers = []
    for _ in range(rounds):
        until(lambda: whole(tap), "all processes", 20)
        load = Load(tap.address, seed=dice.getrandbits(32)).start()
        time.sleep(dice.uniform(0.05, 0.4))
        kill(dice.choice(victims()))
        before = len(load.ledger.whole)
        until(lambda load=load, before=before: len(load.ledger.whole) > before + 20, "traffic")
        ledgers.append(load.stop())
    return ledgers


@pytest.mark.parametrize("who", ["worker", "recorder"])
def test_r87_one_process_is_killed_and_the_others_go_on(
    tap: DiskTap, upstream: Upstream, who: str, pytestconfig: pytest.Config, figure: Figure
) -> None:
    seed = pytestconfig.getoption("--crash-seed") or random.randrange(1 << 32)
    print(f"--crash-seed {seed}")
    rounds = max(2, pytestconfig.getoption("--crash-rounds") // 5)
    victims = tap.workers if who == "worker" else tap.recorders
    ledgers = rounds_of(tap, rounds, random.Random(seed), victims)
    accepted = set().union(*(ledger.answered for ledger in ledgers)) | seen_by(upstream)
    cut = set().union(*(ledger.answered - ledger.whole for ledger in ledgers))
    counts = wait_for(tap, accepted, 20)  # without another start
    lost = accepted - set(counts)
    states = Counter(d["state"] for _, d in tap.documents())
    figure(
        4,
        kills=rounds,
        accepted=len(accepted),
        recovered=states["recovered"],
        lost=len(lost),
        torn=torn(tap),
        doubled=sum(count > 1 for count in counts.values()),
    )
    assert not lost, f"{len(lost)} of {len(accepted)} (seed {seed})"
    assert max(counts.values()) == 1
    if who == "recorder":
        assert not cut, "a client noticed the death of a recorder"
        assert states.keys() == {"complete"}
    else:
        assert len(cut) <= rounds * 8, "more connections were cut than the worker had"
    assert tap.stop() == 0
    assert list(tap.trace_dir.glob(".journal/*")) == []
    assert traced(tap) == counts, "the stop changed what was there"


def test_a_worker_that_cannot_be_replaced_for_a_while_ends_nothing(tap: DiskTap) -> None:
    """Where uvicorn would end the whole program: the folder cannot be written just now."""
    until(lambda: whole(tap), "all processes", 20)
    folders = [tap.trace_dir, *(p for p in tap.trace_dir.rglob("*") if p.is_dir())]
    with immutable(folders):
        kill(tap.workers()[0])
        until(lambda: "ended with code" in tap.output, "the supervisor has seen it", 10)
        until(lambda: "cannot" in tap.output, "its replacement has tried", 10)
        for _ in range(20):
            assert tap.call("POST", body=bodies.chat_request("x")).status == 200
    until(lambda: whole(tap), "the worker is replaced", 20)
    assert tap.stop() == 0
