"""The shared store with a real Redis that is stopped, slow, and back again."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from src.limits import Claim, Grant, Limit, Refusal, StoreUnavailable
from src.limits.link import Link, address_of
from src.limits.shared import RedisStore
from tests.support.redis import RedisServer, SlowPath

ONE: list[Claim] = [("k", Limit(100, 3600.0), 1)]
SLOT: list[Claim] = [("s", Limit(1, 0.0), 1)]


@asynccontextmanager
async def store(
    url: str, *, lease_s: float = 15.0, timeout_s: float = 0.1
) -> AsyncIterator[RedisStore]:
    made = RedisStore(Link(url), time.monotonic, timeout_s=timeout_s, lease_s=lease_s)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def until(true: Callable[[], bool], within_s: float = 5) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.01)


async def test_a_thousand_at_once_over_four_connections_admit_exactly_the_limit(
    redis: RedisServer,
) -> None:
    async with store(redis.url, timeout_s=5) as a, store(redis.url, timeout_s=5) as b:
        takes = [(a, b)[n % 2].take(ONE, f"h{n}") for n in range(1000)]
        found = await asyncio.gather(*takes)
    assert sum(isinstance(f, Grant) for f in found) == 100


async def test_one_take_is_one_round_trip_whatever_its_rules(redis: RedisServer) -> None:
    claims: list[Claim] = [(f"k{n}", Limit(10, 60.0), 1) for n in range(5)] + SLOT
    async with store(redis.url) as shared:
        await shared.take(claims, "warm")
        before = _calls(redis)
        await shared.take(claims, "again")
        assert _calls(redis) - before == 1


async def test_a_redis_that_was_emptied_gets_the_script_again(redis: RedisServer) -> None:
    async with store(redis.url) as shared:
        redis.command("SCRIPT", "FLUSH")
        assert isinstance(await shared.take(ONE, "h"), Grant)
        assert not shared.outage.lasts


async def test_nobody_waits_longer_than_the_limit_and_after_the_first_nobody_waits(
    own_redis: RedisServer,
) -> None:
    slow = SlowPath(own_redis.port)
    async with store(own_redis.url_at(slow.port)) as shared:
        assert isinstance(await shared.take(ONE, "h"), Grant)
        slow.delay_s = 0.2
        began = time.monotonic()
        found = await asyncio.gather(
            *(shared.take(ONE, f"h{n}") for n in range(300)), return_exceptions=True
        )
        assert all(isinstance(f, StoreUnavailable) for f in found)
        assert 0.09 <= time.monotonic() - began < 0.16
        began = time.monotonic()
        for n in range(100):
            with pytest.raises(StoreUnavailable):
                await shared.take(ONE, f"i{n}")
        assert time.monotonic() - began < 0.05
        connections = slow.accepted
        await asyncio.sleep(1.0)
        assert slow.accepted - connections <= 5  # probes one at a time, further and further apart
        slow.delay_s = 0.0
        await until(lambda: not shared.outage.lasts)
        assert await shared.take(ONE, "j")
    slow.close()


async def test_a_redis_that_was_stopped_limits_again_once_it_is_back(
    own_redis: RedisServer,
) -> None:
    async with store(own_redis.url) as shared:
        for n in range(100):
            assert isinstance(await shared.take(ONE, f"h{n}"), Grant)
        assert isinstance(await shared.take(ONE, "one more"), Refusal)
        own_redis.stop()
        with pytest.raises(StoreUnavailable):
            await shared.take(ONE, "away")
        own_redis.start()
        await until(lambda: not shared.outage.lasts)
        found = [await shared.take(ONE, f"i{n}") for n in range(150)]
        assert sum(isinstance(f, Grant) for f in found) == 100  # it had forgotten


async def test_a_redis_that_is_away_at_the_start_is_found_later(own_redis: RedisServer) -> None:
    own_redis.stop()
    async with store(own_redis.url) as shared:
        with pytest.raises(StoreUnavailable):
            await shared.take(ONE, "h")
        own_redis.start()
        await until(lambda: not shared.outage.lasts)
        assert isinstance(await shared.take(ONE, "h"), Grant)


async def test_one_line_an_interval_with_a_count_and_never_the_password(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with store(own_redis.url) as shared:
        shared.outage._interval_s = 0.5
        own_redis.stop()
        for n in range(200):
            with pytest.raises(StoreUnavailable):
                await shared.take(ONE, f"h{n}")
        await asyncio.sleep(0.3)
        own_redis.start()
        await until(lambda: not shared.outage.lasts)
        await asyncio.sleep(0.6)
    lines = [record.getMessage() for record in caplog.records if record.name == "llmtap.limits"]
    assert 2 <= len(lines) <= 4, lines
    assert "200 requests decided without it" in lines[0]
    assert any("answers again" in line for line in lines)
    assert f"127.0.0.1:{own_redis.port}" in lines[0]
    assert own_redis.password not in caplog.text


async def test_a_wrong_password_is_told_without_either_password(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with store(f"redis://:wrong-horse@127.0.0.1:{own_redis.port}/0") as shared:
        with pytest.raises(StoreUnavailable) as refused:
            await shared.take(ONE, "h")
        await asyncio.sleep(0.05)
    assert "invalid" in str(refused.value) or "WRONGPASS" in str(refused.value)
    assert "wrong-horse" not in f"{refused.value} {caplog.text}"


def test_the_address_for_log_lines_has_no_credentials() -> None:
    assert address_of("redis://user:p%40ss@host:6379/2") == "host:6379/2"


async def test_a_slot_is_renewed_while_it_is_held_and_freed_at_the_end(
    redis: RedisServer,
) -> None:
    async with store(redis.url, lease_s=0.3) as a, store(redis.url, lease_s=0.3) as b:
        grant = await a.take(SLOT, "a")
        assert isinstance(grant, Grant)
        await asyncio.sleep(0.8)  # nearly three leases
        assert isinstance(await b.take(SLOT, "b"), Refusal)
        a.finish(grant, None)
        await asyncio.sleep(0.05)
        assert isinstance(await b.take(SLOT, "c"), Grant)


async def test_a_process_that_is_gone_loses_its_slots_with_their_lease(redis: RedisServer) -> None:
    async with store(redis.url, lease_s=0.3) as a, store(redis.url, lease_s=0.3) as b:
        assert isinstance(await a.take(SLOT, "a"), Grant)
        assert a._renewing is not None
        a._renewing.cancel()  # as if killed
        assert isinstance(await b.take(SLOT, "b"), Refusal)
        await asyncio.sleep(0.35)
        assert isinstance(await b.take(SLOT, "c"), Grant)


async def test_what_was_admitted_without_the_redis_is_counted_when_it_is_back(
    own_redis: RedisServer,
) -> None:
    async with store(own_redis.url) as shared:
        own_redis.stop()
        with pytest.raises(StoreUnavailable):
            await shared.take(SLOT, "open")
        free = shared.hold(SLOT, "open")
        assert free is not None
        own_redis.start()
        await until(lambda: not shared.outage.lasts)
        assert isinstance(await shared.take(SLOT, "next"), Refusal)
        free()
        await asyncio.sleep(0.05)
        assert isinstance(await shared.take(SLOT, "last"), Grant)


async def test_a_client_that_leaves_while_it_is_decided_holds_nothing(redis: RedisServer) -> None:
    tokens: list[Claim] = [("t", Limit(100, 3600.0, settles=True), 100), *SLOT]
    async with store(redis.url) as shared:
        task = asyncio.ensure_future(shared.take(tokens, "leaves"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # under way
        task.cancel()
        await asyncio.sleep(0.05)
        assert isinstance(await shared.take(tokens, "stays"), Grant)


async def test_settled_tokens_are_what_was_used(redis: RedisServer) -> None:
    limit = Limit(1000, 3600.0, settles=True)
    async with store(redis.url) as shared:
        grant = await shared.take([("t", limit, 1000)], "h")
        assert isinstance(grant, Grant)
        shared.finish(grant, 137)
        after = await shared.take([("t", limit, 100)], "i")
        assert isinstance(after, Grant)
        assert list(after.remaining) == [1000 - 137 - 100]
        shared.finish(after, 450)
        last = await shared.take([("t", limit, 1)], "j")
        assert list(last.remaining) == [1000 - 137 - 450 - 1]


async def test_stopping_gives_back_what_was_still_to_be_given(redis: RedisServer) -> None:
    async with store(redis.url) as shared:
        grant = await shared.take(SLOT, "h")
        assert isinstance(grant, Grant)
        shared.finish(grant, None)
    async with store(redis.url) as other:
        assert isinstance(await other.take(SLOT, "i"), Grant)


def _calls(server: RedisServer) -> int:
    """What clients have sent so far, but for the questions of this test."""
    stats = re.findall(r"cmdstat_(\w+):calls=(\d+)", server.command("INFO", "all").decode())
    return sum(int(n) for name, n in stats if name in {"evalsha", "eval", "ping", "client"})
