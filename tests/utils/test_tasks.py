from __future__ import annotations

import asyncio
import gc

import pytest

from src.utils import tasks
from src.utils.tasks import Sweeper, spawn


async def test_spawned_task_is_kept_until_it_ends():
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        gc.collect()
        done.set()

    spawn(work(), "work")
    await asyncio.wait_for(done.wait(), 1)
    await asyncio.sleep(0)
    assert not tasks._kept


async def test_failure_of_a_spawned_task_is_logged_with_its_name(caplog: pytest.LogCaptureFixture):
    async def fails() -> None:
        raise ValueError("broken")

    task = spawn(fails(), "the work")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert "the work" in caplog.text
    assert "broken" in caplog.text


async def test_cancelled_spawned_task_is_no_failure(caplog: pytest.LogCaptureFixture):
    task = spawn(asyncio.sleep(60), "sleep")
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert not caplog.text
    assert not tasks._kept


class Item:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired = asyncio.Event()

    def expire(self, now: float) -> None:
        assert now >= self.deadline
        self.deadline = float("inf")
        self.expired.set()


async def test_sweeper_finds_what_is_due_and_only_that():
    sweeper = Sweeper(0.001)
    due, later = Item(0), Item(float("inf"))
    sweeper.add(due)
    sweeper.add(later)
    await asyncio.wait_for(due.expired.wait(), 1)
    assert not later.expired.is_set()
    later.deadline = 0
    await asyncio.wait_for(later.expired.wait(), 1)
    sweeper.stop()


async def test_sweeper_survives_a_handler_that_raises(caplog: pytest.LogCaptureFixture):
    class Broken(Item):
        def expire(self, now: float) -> None:
            super().expire(now)
            raise ValueError

    sweeper = Sweeper(0.001)
    items = [Broken(0), Item(0), Broken(0)]
    for item in items:
        sweeper.add(item)
    for item in items:
        await asyncio.wait_for(item.expired.wait(), 1)
    assert "deadline" in caplog.text
    sweeper.stop()


async def test_many_that_are_due_together_do_not_stop_the_loop():
    """Between some of them and the next everybody else has a turn; those that move on are not
    told of what was due before."""
    sweeper = Sweeper(0.001)
    told: list[Item] = []

    class Counted(Item):
        def expire(self, now: float) -> None:
            told.append(self)
            self.deadline = 1e12

    items = [Counted(0) for _ in range(220)]
    for item in items:
        sweeper.add(item)
    sweeper._sweep()
    assert len(told) == 50
    moved, gone = [item for item in items if item not in told][:2]
    moved.deadline = 1e12
    sweeper.discard(gone)
    seen = {len(told)}
    while len(told) < 218:
        await asyncio.sleep(0)
        seen.add(len(told))
    assert len(seen) >= 4
    sweeper.stop()
    assert moved not in told
    assert gone not in told


async def test_handler_may_discard_and_add():
    sweeper = Sweeper(0.001)
    added = Item(0)

    class Moves(Item):
        def expire(self, now: float) -> None:
            super().expire(now)
            sweeper.discard(self)
            sweeper.add(added)

    sweeper.add(Moves(0))
    await asyncio.wait_for(added.expired.wait(), 1)
    assert sweeper._watched == {added}
    sweeper.stop()


async def test_sweeper_rests_with_nothing_to_watch_and_begins_again():
    sweeper = Sweeper(0.001)
    item = Item(0)
    sweeper.add(item)
    sweeper.discard(item)
    while sweeper._timer is not None:
        await asyncio.sleep(0.001)
    sweeper.add(item)
    await asyncio.wait_for(item.expired.wait(), 1)
    sweeper.stop()
    assert sweeper._timer is None
    sweeper.stop()
