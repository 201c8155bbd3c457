from __future__ import annotations

import asyncio
import itertools

from src.proxy.turns import _A_TURN, Turns


async def begin(turns: Turns, begun: list[int], number: int) -> None:
    if (turn := turns.take()) is not None:
        await turn
    begun.append(number)


async def test_a_burst_begins_in_order_so_many_a_turn_and_others_run_in_between() -> None:
    turns = Turns()
    begun: list[int] = []
    seen = [0]
    tasks = [asyncio.ensure_future(begin(turns, begun, n)) for n in range(5 * _A_TURN)]
    while len(begun) < len(tasks):
        await asyncio.sleep(0)
        seen.append(len(begun))
    assert begun == list(range(len(tasks)))
    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert max(steps) <= _A_TURN
    await asyncio.gather(*tasks)


async def test_the_next_turn_begins_anew() -> None:
    turns = Turns()
    for _ in range(3):
        assert [turns.take() for _ in range(_A_TURN)] == [None] * _A_TURN
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_one_that_is_cancelled_while_it_waits_takes_nobodys_place() -> None:
    turns = Turns()
    begun: list[int] = []
    tasks = [asyncio.ensure_future(begin(turns, begun, n)) for n in range(3 * _A_TURN)]
    await asyncio.sleep(0)
    for task in tasks[_A_TURN : 2 * _A_TURN]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert begun == [*range(_A_TURN), *range(2 * _A_TURN, 3 * _A_TURN)]


async def test_a_long_queue_moves_faster() -> None:
    turns = Turns()
    begun: list[int] = []
    tasks = [asyncio.ensure_future(begin(turns, begun, n)) for n in range(10_000)]
    count = 0
    while len(begun) < len(tasks):
        await asyncio.sleep(0)
        count += 1
    assert begun == list(range(len(tasks)))
    assert count < 10_000 / _A_TURN / 2
    await asyncio.gather(*tasks)
