"""The live feed as its listeners see it: over the server's own port, with traces that come."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from src.live.tail import Tail
from src.web.connection import ConnectionLimits
from src.web.view import Site
from tests.record.traces import Written, chat
from tests.web.kit import ADMIN, KEYS, LABELS, Made, asked, make_site, serving, started

OWNERS = LABELS[:-1]


class Listening:
    """A live feed, read in a task of its own. `events`: (name, data), `text`: all that came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.text = b""
        self.over = False
        self._reader, self._writer = reader, writer
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def to(
        cls, address: tuple[str, int], key: str = ADMIN, q: str = "", *headers: str
    ) -> Listening:
        listening = cls(*await asyncio.open_connection(*address))
        listening._writer.write(
            asked(f"/api/live{q and '?q=' + q}", "Connection: close", *headers, key=key)
        )
        listening._task = asyncio.create_task(listening._read())
        await listening.until(lambda: b"retry" in listening.text)
        return listening

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await self._reader.read(65_536):
                self.text += piece
                self._news.set()
        self.over = True
        self._news.set()

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        found = re.findall(rb"event: (\w+)\n(?:id: \w+\n)?data: (.*)\n\n", self.text)
        return [(name.decode(), json.loads(data)) for name, data in found]

    def ids(self) -> list[str]:
        return re.findall(r"event: end\nid: (\w+)", self.text.decode())

    async def until(self, there: Callable[[], bool], within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while not there():
                self._news.clear()
                await self._news.wait()

    async def leave(self) -> None:
        self._writer.close()
        if self._task is not None:
            await self._task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / f"{datetime.now(UTC):%Y-%m-%d}").mkdir()
    return tmp_path


@pytest.fixture
async def site(folder: Path) -> AsyncIterator[Site]:
    opened, engine = make_site(Made(folder))
    yield opened
    await engine.dispose()


@pytest.fixture
async def address(site: Site) -> AsyncIterator[tuple[str, int]]:
    async with serving(site) as address:
        yield address


class Traces:
    """Traces that come now. `target`: longer makes the row so much larger."""

    def __init__(self, folder: Path) -> None:
        self._written = Written(folder)

    def add(self, key: str | None, said: str = "hello", target: bytes = b"/v1/x") -> str:
        return self._written.add(chat("gpt-4o", said), at=datetime.now(UTC), key=key, target=target)


async def test_fifty_at_once_are_told_of_their_own_and_of_nothing_else(
    address: tuple[str, int], folder: Path
) -> None:
    traces = Traces(folder)
    labels = [LABELS[number % len(LABELS)] for number in range(40)]
    clients = await asyncio.gather(*(Listening.to(address, KEYS[label]) for label in labels))
    admins = await asyncio.gather(*(Listening.to(address) for _ in range(10)))
    added: dict[str | None, list[str]] = {label: [] for label in (*LABELS, None)}
    for number in range(30):
        label = (*OWNERS, None)[number % 5]
        added[label].append(await asyncio.to_thread(traces.add, label))
    everything = sorted(each for ids in added.values() for each in ids)
    for admin in admins:
        await admin.until(lambda admin=admin: len(admin.ids()) == 30)
        assert sorted(admin.ids()) == everything
    for label, client in zip(labels, clients, strict=True):
        await client.until(lambda client=client, own=added[label]: len(client.ids()) == len(own))
        assert sorted(client.ids()) == added[label]
        assert {data["key_label"] for _, data in client.events} <= {label}
        strange = [each for owner, ids in added.items() if owner != label for each in ids]
        assert not [each for each in strange if each.encode() in client.text]
    for listening in (*clients, *admins):
        await listening.leave()


async def test_a_filter_chooses_among_ones_own(address: tuple[str, int], folder: Path) -> None:
    traces = Traces(folder)
    hers = await Listening.to(address, KEYS["alice"], "key:*%20lighthouse")
    traces.add("bob", "a lighthouse")
    traces.add("alice", "a harbour")
    wanted = traces.add("alice", "a lighthouse")
    await hers.until(lambda: bool(hers.ids()))
    assert hers.ids() == [wanted]
    await hers.leave()


async def test_one_keys_feeds_are_bounded_and_leave_room_for_others(
    address: tuple[str, int],
) -> None:
    many = (Listening.to(address, KEYS["alice"]) for _ in range(16))
    alices = list(await asyncio.gather(*many))
    for key, status in ((KEYS["alice"], b" 429 "), (KEYS["bob"], b" 200 "), (ADMIN, b" 200 ")):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(asked("/api/live", key=key))
        assert status in await reader.readline()
        writer.close()
    await alices.pop().leave()
    async with asyncio.timeout(5):
        while True:  # the place is free when the server has seen that its client left
            reader, writer = await asyncio.open_connection(*address)
            writer.write(asked("/api/live", key=KEYS["alice"]))
            line = await reader.readline()
            writer.close()
            if b" 200 " in line:
                break
    for listening in alices:
        await listening.leave()


def reading_little(address: tuple[str, int]) -> socket.socket:
    """Listens, and reads no more than the beginning."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.settimeout(5)
    sock.connect(address)
    sock.sendall(asked("/api/live"))
    while b"retry" not in sock.recv(1024):
        pass
    return sock


def held_bytes(site: Site) -> int:
    """What waits for the slowest listener."""
    return max(sum(map(len, each._waiting)) for each in site.feed._listening)


async def test_a_slow_reader_is_told_how_much_it_missed_and_costs_a_megabyte(
    address: tuple[str, int], site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four in earnest, which take longer to fill."""
    monkeypatch.setattr("src.web.subscription._BYTES", 1 << 20)
    traces, count, held = Traces(folder), 480, 0
    sock = await asyncio.to_thread(reading_little, address)
    other = await Listening.to(address)
    for number in range(count):
        await asyncio.to_thread(traces.add, None, target=b"/v1/" + b"x" * 15_000)
        if number % 60 == 59:
            await other.until(lambda so_far=number + 1: len(other.ids()) == so_far)
        held = max(held, held_bytes(site))
    assert 500_000 < held <= 1 << 20
    assert b"event: missed" not in other.text  # who reads misses nothing for another's sake
    sock.setblocking(False)
    loop, text = asyncio.get_running_loop(), b""
    async with asyncio.timeout(10):
        while not (gap := re.search(rb'event: missed\ndata: {"count":(\d+)}\n\n', text)):
            text += await loop.sock_recv(sock, 1 << 20)
        last = traces.add(None)  # it goes on behind the gap
        while last.encode() not in text[gap.end() :]:
            text += await loop.sock_recv(sock, 1 << 20)
    sock.close()
    await other.leave()
    told = re.findall(rb"event: end\nid: (\w+)", text)
    assert len(set(told)) == len(told)
    assert int(gap[1]) > 50
    assert len(told) - 1 + int(gap[1]) == count


async def test_who_never_reads_is_dropped(site: Site, folder: Path) -> None:
    traces = Traces(folder)
    async with serving(site, ConnectionLimits(write_s=0.3)) as address:
        sock = await asyncio.to_thread(reading_little, address)
        for _ in range(400):
            await asyncio.to_thread(traces.add, None, target=b"/v1/" + b"x" * 15_000)
        async with asyncio.timeout(10):
            while site.feed._listening:
                await asyncio.sleep(0.01)
        sock.close()


async def test_who_comes_back_is_told_that_something_may_be_missing(
    address: tuple[str, int], folder: Path
) -> None:
    traces = Traces(folder)
    first = await Listening.to(address)
    seen = traces.add("alice")
    await first.until(lambda: bool(first.ids()))
    assert f"id: {seen}\n".encode() in first.text  # what EventSource sends back
    await first.leave()
    again = await Listening.to(address, ADMIN, "", f"Last-Event-ID: {seen}")
    await again.until(lambda: bool(again.events))
    assert again.events == [("missed", {"count": None})]
    await again.leave()


async def test_a_feed_that_nobody_has_heard_for_a_while_begins_anew(
    address: tuple[str, int], site: Site, folder: Path
) -> None:
    traces = Traces(folder)
    for _ in range(3):
        listening = await Listening.to(address)
        expected = traces.add("alice")
        await listening.until(lambda listening=listening: bool(listening.ids()))
        assert listening.ids() == [expected]  # and nothing of before
        await listening.leave()
        async with asyncio.timeout(5):
            while site.feed._task is not None:
                await asyncio.sleep(0.01)
        assert not site.feed._listening
        traces.add("alice")


async def test_a_failure_while_looking_ends_the_feeds_and_the_next_ones_are_served(
    address: tuple[str, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feed that goes on in silence would look like one in which nothing happens."""
    traces, failing = Traces(folder), [True]
    step = Tail.step

    def failing_once(tail: Tail, new: Any) -> None:
        if failing and failing.pop():
            raise RuntimeError("once")
        step(tail, new)

    first = await Listening.to(address)
    monkeypatch.setattr(Tail, "step", failing_once)
    await first.until(lambda: first.over)
    await first.leave()
    second = await Listening.to(address)
    expected = traces.add("alice")
    await second.until(lambda: bool(second.ids()))
    assert second.ids() == [expected]
    await second.leave()


async def test_a_key_that_is_taken_away_ends_its_feed_and_no_other(folder: Path) -> None:
    keys_file = folder / "keys.yaml"
    own, others = "sk-llmtap-of-the-file-0123456789", "sk-llmtap-another-0123456789abc"

    def write(**keys: str) -> None:
        rows = [
            {"label": label, "hash": "sha256:" + hashlib.sha256(key.encode()).hexdigest()}
            for label, key in keys.items()
        ]
        draft = folder / "draft.yaml"
        draft.write_text(json.dumps({"keys": rows}))
        draft.rename(keys_file)

    write(mine=own, other=others)
    traces = Traces(folder)
    with started(Made(folder), keys_file=str(keys_file), reload_s=0.05) as web:
        mine = await Listening.to(web.address, own)
        other = await Listening.to(web.address, others)
        expected = traces.add("mine")
        await mine.until(lambda: mine.ids() == [expected])
        write(other=others)
        await mine.until(lambda: mine.over)
        traces.add("mine")
        expected = traces.add("other")
        await other.until(lambda: other.ids() == [expected])
        assert len(mine.events) == 1
        assert not other.over
        reader, writer = await asyncio.open_connection(*web.address)
        writer.write(asked("/api/live", key=own))
        assert b" 401 " in await reader.readline()
        writer.close()
        for listening in (mine, other):
            await listening.leave()
