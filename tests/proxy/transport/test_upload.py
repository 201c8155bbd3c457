from __future__ import annotations

import asyncio

import pytest

from src.proxy.bodies import HIGH_WATER, RequestBody
from src.proxy.errors import ClientDisconnected
from src.proxy.transport.upload import Upload
from tests.proxy.kit import Source, turns


async def test_pieces_come_as_they_arrive_until_the_end():
    body = RequestBody(Source(), 1 << 20, 0)
    body.feed(b"1")
    got: list[bytes] = []

    async def pull() -> None:
        async for chunk in Upload(body):
            got.append(chunk)

    task = asyncio.ensure_future(pull())
    await turns()
    assert got == [b"1"]
    body.feed(b"2")
    body.end()
    await task
    assert got == [b"1", b"2"]


async def test_client_is_paused_while_the_pieces_pile_up():
    source = Source()
    body = RequestBody(source, 1 << 20, 0)
    pieces = aiter(Upload(body))
    body.feed(b"1")
    await anext(pieces)
    body.feed(b"x" * (HIGH_WATER + 1))
    assert not source.reading
    await anext(pieces)
    assert source.reading


async def test_failure_comes_after_what_had_arrived():
    body = RequestBody(Source(), 1 << 20, 0)
    pieces = aiter(Upload(body))
    body.feed(b"1")
    assert await anext(pieces) == b"1"
    body.feed(b"2")
    body.fail(ClientDisconnected("left"))
    assert await anext(pieces) == b"2"
    with pytest.raises(ClientDisconnected):
        await anext(pieces)
