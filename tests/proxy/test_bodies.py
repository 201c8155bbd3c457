from __future__ import annotations

import asyncio

import pytest

from src.proxy.bodies import HIGH_WATER, RequestBody, ResponseBody
from src.proxy.errors import BodyError, ClientDisconnected, PayloadTooLarge

from .kit import Source, streamed, turns


class Sink:
    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.ended = False
        self.error: Exception | None = None

    def write_body(self, chunk: bytes) -> None:
        self.got.append(chunk)

    def end_body(self) -> None:
        self.ended = True

    def fail_body(self, error: Exception) -> None:
        self.error = error


def request_body(limit: int = 1 << 20, replay: int = 100) -> tuple[RequestBody, Source]:
    source = Source()
    return RequestBody(source, limit, replay), source


# --- requests ---


def test_what_came_before_the_sink_and_after_reaches_it_in_its_pieces():
    body, _ = request_body()
    sink = Sink()
    body.feed(b"a")
    body.feed(b"b")
    body.attach(sink)
    body.feed(b"c")
    body.end()
    assert sink.got == [b"a", b"b", b"c"]
    assert sink.ended


def test_small_body_is_sent_again_the_same_though_it_came_in_part_between_two_tries():
    body, _ = request_body(replay=100)
    first, second = Sink(), Sink()
    body.feed(b"a" * 10)
    body.attach(first)
    body.feed(b"b" * 10)
    body.detach()
    body.feed(b"c" * 10)
    body.attach(second)
    body.feed(b"d" * 10)
    body.end()
    assert b"".join(second.got) == b"a" * 10 + b"b" * 10 + b"c" * 10 + b"d" * 10
    assert not body.discarded
    assert not first.ended


@pytest.mark.parametrize("arrived_before", [True, False])
def test_body_over_the_replay_size_is_not_kept(arrived_before: bool):
    body, _ = request_body(replay=10)
    sink = Sink()
    if arrived_before:
        body.feed(b"x" * 11)
        body.attach(sink)
    else:
        body.attach(sink)
        body.feed(b"x" * 6)
        body.feed(b"y" * 5)
    assert body.discarded
    assert body.chunks == []
    assert sum(map(len, sink.got)) == 11


def test_client_is_paused_while_nobody_takes_its_body_and_resumed_when_somebody_does():
    body, source = request_body(replay=0)
    body.feed(b"x" * HIGH_WATER)
    assert source.reading
    body.feed(b"x")
    assert not source.reading
    body.attach(Sink())
    assert source.reading


def test_sink_that_is_full_from_the_first_piece_holds_the_client_back():
    body, source = request_body()

    class Fills(Sink):
        def write_body(self, chunk: bytes) -> None:
            super().write_body(chunk)
            body.pause()  # as asyncio does, from within the write

    body.feed(b"x" * HIGH_WATER * 2)
    body.attach(Fills())
    assert not source.reading
    body.resume()
    assert source.reading
    body.pause()
    body.detach()
    body.attach(Sink())
    assert source.reading, "the next one has room"


@pytest.mark.parametrize("taken", [False, True])
def test_client_whose_body_is_whole_is_read_from_so_that_its_leaving_is_noticed(taken: bool):
    body, source = request_body()
    if taken:
        body.attach(Sink())
    body.feed(b"x" * HIGH_WATER * 2)
    if taken:
        body.pause()
    assert not source.reading
    body.end()
    assert source.reading
    body.pause()
    assert source.reading


def test_reading_the_whole_body_does_not_pause_the_client():
    async def scenario() -> None:
        body, source = request_body()
        body.feed(b"x" * (HIGH_WATER + 1))
        reader = asyncio.ensure_future(body.read())
        await turns()
        assert source.reading
        body.feed(b"x" * HIGH_WATER)
        assert source.reading
        body.end()
        assert len(await reader) == 2 * HIGH_WATER + 1
        sink = Sink()
        body.attach(sink)
        assert len(sink.got) == 2
        assert sink.ended

    asyncio.run(scenario())


async def test_body_that_was_sent_on_is_not_read_as_if_it_were_empty():
    body, _ = request_body(replay=1)
    body.feed(b"xx")
    body.end()
    body.attach(Sink())
    with pytest.raises(RuntimeError, match="before call_next"):
        await body.read()


def test_limit_counts_what_comes_and_tells_the_sink():
    body, _ = request_body(limit=10)
    sink = Sink()
    body.attach(sink)
    body.feed(b"x" * 10)
    assert sink.error is None
    body.feed(b"y")
    assert isinstance(sink.error, PayloadTooLarge)
    assert sink.got == [b"x" * 10]


async def test_limit_ends_a_read():
    body, _ = request_body(limit=10)
    reader = asyncio.ensure_future(body.read())
    await turns()
    body.feed(b"x" * 11)
    with pytest.raises(PayloadTooLarge):
        await reader


async def test_failed_body_is_neither_sent_nor_asked_for():
    """Reliability 22: no 100 for what is refused."""
    asked: list[bool] = []
    for take in ("attach", "read"):
        body, _ = request_body()
        body.wanted = lambda: asked.append(True)
        body.fail(ClientDisconnected("gone"))
        if take == "attach":
            with pytest.raises(ClientDisconnected):
                body.attach(Sink())
        else:
            with pytest.raises(ClientDisconnected):
                await body.read()
    assert not asked


async def test_body_is_asked_for_once():
    asked: list[bool] = []
    body, _ = request_body()
    body.wanted = lambda: asked.append(True)
    reader = asyncio.ensure_future(body.read())
    await turns()
    assert asked == [True]
    body.end()
    await reader
    body.attach(Sink())
    assert asked == [True]


def test_observer_sees_what_is_here_and_what_comes_and_one_that_raises_is_dropped(
    caplog: pytest.LogCaptureFixture,
):
    body, _ = request_body()
    seen: list[bytes] = []
    calls: list[bytes] = []

    def fails(chunk: bytes) -> None:
        calls.append(chunk)
        raise ValueError("watcher")

    body.feed(b"1")
    body.observe(seen.append)
    body.observe(fails)
    body.feed(b"2")
    body.end()
    assert seen == [b"1", b"2"]
    assert calls == [b"1"]
    assert body.complete
    assert "dropped" in caplog.text


# --- answers ---


async def test_pieces_are_pushed_the_moment_they_come():
    body = streamed(None, b"1")
    got: list[bytes] = []
    piping = asyncio.ensure_future(body.pipe(got.append))
    await turns()
    body.feed(b"2")
    assert got == [b"1", b"2"]  # without a turn of the loop
    body.finish()
    await piping


async def test_upstream_is_paused_while_nobody_takes_its_body():
    source = Source()
    body = ResponseBody(source)
    body.feed(b"x" * (HIGH_WATER + 1))
    assert not source.reading
    piping = asyncio.ensure_future(body.pipe(lambda _: None))
    await turns()
    assert source.reading
    body.finish()
    await piping


@pytest.mark.parametrize("how", ["pipe", "iterate"])
async def test_error_comes_after_what_was_there(how: str):
    body = streamed(None, b"1", b"2")
    body.finish(BodyError("upstream_eof", "short"))
    got: list[bytes] = []

    async def iterate() -> None:
        async for chunk in body:
            got.append(chunk)

    with pytest.raises(BodyError):
        await (body.pipe(got.append) if how == "pipe" else iterate())
    assert got == [b"1", b"2"]


def doubled(chunk: bytes) -> bytes:
    return chunk * 2 if chunk else b"[d]"


def marked(chunk: bytes) -> bytes:
    return b"<" + chunk + b">" if chunk else b"[m]"


@pytest.mark.parametrize("how", ["pipe", "iterate"])
async def test_transforms_apply_in_the_order_they_were_added_each_flushed_through_the_next(
    how: str,
):
    body = streamed(None, b"a")
    body.map(doubled)
    body.map(marked)
    got: list[bytes] = []

    async def iterate() -> None:
        async for chunk in body:
            got.append(chunk)

    task = asyncio.ensure_future(body.pipe(got.append) if how == "pipe" else iterate())
    await turns()
    body.feed(b"b")
    await turns()
    body.finish()
    await task
    assert got == [b"<aa>", b"<bb>", b"<[d]>", b"[m]"]


@pytest.mark.parametrize("late", [False, True])
async def test_transform_that_raises_ends_the_body_with_its_own_error(late: bool):
    source = Source()
    body = ResponseBody(source)

    def fails(chunk: bytes) -> bytes:
        if chunk == b"bad":
            raise ZeroDivisionError
        return chunk

    body.map(fails)
    got: list[bytes] = []
    if not late:
        body.feed(b"ok")
        body.feed(b"bad")
        body.feed(b"after")
    piping = asyncio.ensure_future(body.pipe(got.append))
    await turns()
    if late:
        for chunk in (b"ok", b"bad", b"after"):
            body.feed(chunk)
    with pytest.raises(ZeroDivisionError):
        await piping
    assert got == [b"ok"]
    assert source.aborted


async def test_body_that_a_middleware_has_read_is_not_sent_as_an_empty_one():
    body = streamed(None, b"1")
    body.finish()
    assert [chunk async for chunk in body] == [b"1"]
    with pytest.raises(RuntimeError, match="was read"):
        await body.pipe(lambda _: None)


async def test_cut_gives_its_error_and_lets_the_upstream_go_but_only_before_the_end():
    source = Source()
    body = ResponseBody(source)
    piping = asyncio.ensure_future(body.pipe(lambda _: None))
    await turns()
    body.cut(BodyError("timeout", "over"))
    with pytest.raises(BodyError):
        await piping
    assert source.aborted

    whole = Source()
    body = ResponseBody(whole)
    body.finish()
    body.cut(BodyError("timeout", "over"))
    body.abort()
    assert not whole.aborted
    await body.pipe(lambda _: None)
