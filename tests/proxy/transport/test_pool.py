"""The pool over real loopback connections: who gets one, who waits, what is left behind."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from src.proxy.errors import ConnectFailed, ConnectTimeout, PoolTimeout, ProxyError
from src.proxy.transport.base import TransportLimits
from src.proxy.transport.http1 import Connection
from src.proxy.transport.pool import Pool
from src.utils.tasks import Sweeper
from tests.proxy.kit import make_upstream, turns

from .kit import Loopback, attempted, loopback, out, replies


def pool_for(box: Loopback, **limits: Any) -> Pool:
    return Pool(box.upstream, TransportLimits(**limits), None, Sweeper())


async def use(pool: Pool) -> tuple[Connection, bytes]:
    """One request through the pool, as the transport does it."""
    connection = pool.take_idle() or await pool.open()
    response = await connection.start(attempted(), out())
    assert not isinstance(response.body, bytes)
    got: list[bytes] = []
    await response.body.pipe(got.append)
    return connection, b"".join(got)


async def emptied(pool: Pool) -> None:
    """Close the pool; everything it counts must come to nothing."""
    pool.close()
    for _ in range(200):
        if not pool.size:
            break
        await asyncio.sleep(0)
    await turns()
    assert pool.size == 0
    assert not pool._open
    assert not pool._idle
    assert not [w for w in pool._waiting if not w.done()]
    assert not pool._sweeper._watched
    pool._sweeper.stop()


async def test_connection_used_last_is_used_next():
    async with loopback(replies) as box:
        pool = pool_for(box)
        first, second = await pool.open(), await pool.open()
        pool.give_back(first)
        pool.give_back(second)
        assert (await use(pool))[0] is second
        assert (await use(pool))[0] is second
        assert box.opened == 2
        await emptied(pool)


async def test_idle_ones_beyond_the_limit_are_closed():
    async with loopback(replies) as box:
        pool = pool_for(box, idle_connections=1)
        first, second = await pool.open(), await pool.open()
        pool.give_back(first)
        pool.give_back(second)
        await turns()
        assert second.transport.is_closing()
        assert pool.take_idle() is first
        await emptied(pool)


async def test_closed_idle_connection_is_not_handed_out():
    async with loopback(replies) as box:
        pool = pool_for(box)
        first = await pool.open()
        pool.give_back(first)
        first.transport.close()
        assert pool.take_idle() is None
        await emptied(pool)


async def test_full_pool_is_a_503_after_its_time_and_not_before():
    async with loopback(replies) as box:
        pool = pool_for(box, connections=1, pool_s=0.01)
        await pool.open()
        with pytest.raises(PoolTimeout, match="all 1 connections") as caught:
            await pool.open()
        assert (caught.value.status, caught.value.retry_after_s) == (503, 1)
        assert box.opened == 1
        await emptied(pool)


async def test_waiters_are_served_in_their_order_and_newcomers_do_not_overtake():
    async with loopback(replies) as box:
        pool = pool_for(box, connections=1)
        connection = await pool.open()
        order: list[int] = []

        async def wait(n: int) -> None:
            got = await pool.open()
            order.append(n)
            pool.give_back(got)

        tasks = [asyncio.ensure_future(wait(n)) for n in range(3)]
        await turns()
        pool.give_back(connection)
        assert pool.take_idle() is None, "it is the first waiter's already"
        await asyncio.gather(*tasks)
        assert order == [0, 1, 2]
        assert box.opened == 1
        await emptied(pool)


@pytest.mark.parametrize("freed", ["given back", "closed"])
async def test_waiter_cancelled_as_it_is_served_passes_it_on(freed: str):
    """Reliability 45."""
    async with loopback(replies) as box:
        pool = pool_for(box, connections=1)
        connection = await pool.open()
        leaving = asyncio.ensure_future(pool.open())
        waiting = asyncio.ensure_future(pool.open())
        await turns()
        if freed == "given back":
            pool.give_back(connection)
        else:
            pool.forget(connection)
            connection.transport.abort()
        leaving.cancel()
        got = await asyncio.wait_for(waiting, 2)
        assert (got is connection) is (freed == "given back")
        assert leaving.cancelled()
        assert pool.size == 1
        await emptied(pool)


async def test_thousand_cancels_while_queued_lose_no_slot():
    """Reliability 45."""
    async with loopback(replies) as box:
        pool = pool_for(box, connections=3)
        held = [await pool.open() for _ in range(3)]
        for round_ in range(10):
            tasks = [asyncio.ensure_future(use(pool)) for _ in range(100)]
            await turns(2)
            if round_ % 2:
                pool.give_back(held.pop())
            for task in tasks:
                task.cancel()
            if round_ % 2:
                await turns()
                held.append(pool.take_idle() or await pool.open())
            await asyncio.gather(*tasks, return_exceptions=True)
        for connection in held:
            pool.give_back(connection)
        answers = await asyncio.gather(*(use(pool) for _ in range(100)))
        assert [body for _, body in answers] == [b"ok"] * 100
        assert pool.size <= 3
        await emptied(pool)


async def test_connection_that_dies_between_being_given_and_taken_costs_nobody_a_turn():
    async with loopback(replies) as box:
        pool = pool_for(box, connections=1)
        connection = await pool.open()
        waiting = asyncio.ensure_future(pool.open())
        await turns()
        pool.give_back(connection)
        connection.close()
        got = await asyncio.wait_for(waiting, 2)
        assert got is not connection
        assert pool.size == 1
        await emptied(pool)


async def test_cancelled_connecting_leaves_nothing():
    async with loopback(replies) as box:
        pool = pool_for(box, connections=1)
        for steps in range(12):
            task = asyncio.ensure_future(pool.open())
            await turns(steps)
            if task.done():
                pool.forget(task.result())
                task.result().abort()
                continue
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pool.size == 0
        assert (await use(pool))[1] == b"ok"
        await emptied(pool)


async def test_failed_connects_free_their_room_for_those_who_wait():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        upstream = make_upstream(host="127.0.0.1", port=closed.getsockname()[1])
        pool = Pool(upstream, TransportLimits(connections=2), None, Sweeper())
        results = await asyncio.gather(*(pool.open() for _ in range(9)), return_exceptions=True)
        assert [type(result) for result in results] == [ConnectFailed] * 9
        assert "Connect call failed" in str(results[0]) or "refused" in str(results[0]).lower()
        await emptied(pool)


async def test_connect_that_hangs_is_a_504():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        upstream = make_upstream(host="127.0.0.1", port=full.getsockname()[1])
        pool = Pool(upstream, TransportLimits(connect_s=0.05), None, Sweeper())
        with pytest.raises(ConnectTimeout) as caught:
            await pool.open()
        assert caught.value.status == 504
        for filler in fillers:
            filler.close()
        await emptied(pool)


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".test", "\udcff"])
async def test_name_that_cannot_be_looked_up_is_a_502(host: str):
    pool = Pool(make_upstream(host=host), TransportLimits(), None, Sweeper())
    with pytest.raises(ProxyError) as caught:
        await pool.open()
    assert caught.value.status == 502
    await emptied(pool)


async def test_give_back_gives_an_idle_deadline():
    async with loopback(replies) as box:
        pool = pool_for(box, idle_reuse_s=15)
        connection = await pool.open()
        pool.give_back(connection)
        connection.expire(connection.deadline)
        await turns()
        assert pool.take_idle() is None
        await emptied(pool)
