"""Clients that are slow, silent or many: bounded in time and in number, and nobody else waits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from src.utils.addresses import network_of
from src.web.connection import ConnectionLimits
from src.web.view import Site
from tests.record.traces import Written, answer, chat
from tests.web.kit import ADMIN, Browser, Made, asked, index_of, make_site, serving, started

QUICK = ConnectionLimits(most=40, head_s=0.4, keep_alive_s=1.0, write_s=0.5)
ME = asked("/api/me")

Address = tuple[str, int]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One trace of 16 MB. The store plays no part here."""
    made = Made(tmp_path_factory.mktemp("large"))
    said = chat("gpt-4o", "x" * 8_000_000)
    made.ids["alice"] = [Written(made.folder).add(said, [answer("y" * 8_000_000)], key="alice")]
    index_of(made)
    return made


@pytest.fixture
async def address(site: Site) -> AsyncIterator[Address]:
    async with serving(site, QUICK) as address:
        yield address


async def answered(
    address: Address, request: bytes = ME, source: str = "127.0.0.1", within_s: float = 2.0
) -> bytes:
    """What comes to a request of an ordinary client, in time."""
    async with asyncio.timeout(within_s):
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
        try:
            writer.write(request)
            return await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.close()


async def until_cut(reader: asyncio.StreamReader, within_s: float = 3.0) -> bytes:
    """All that comes until the other side ends; red where it does not."""
    got = b""
    async with asyncio.timeout(within_s):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                got += piece
    return got


async def drip(writer: asyncio.StreamWriter, drop: bytes = b"x") -> None:
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)  # this is what the client does


@pytest.mark.parametrize(
    ("begins", "drops"),
    [
        (b"", b""),
        (b"", b"G"),
        (b"GET /api/me HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b"x"),
        (b"\r\n", b"\r\n"),
        (ME, b""),
        (ME, b"\r\n"),
        (asked("/api/me", "Content-Length: 100000"), b"x"),
        (asked("/api/me", "Transfer-Encoding: chunked"), b"1\r\nx\r\n"),
    ],
    ids=[
        "silent",
        "a method without end",
        "a head without end",
        "blank lines",
        "silent after an answer",
        "blank lines after an answer",
        "a body without end",
        "chunks without end",
    ],
)
async def test_r115_who_keeps_no_request_coming_is_cut(
    address: Address, begins: bytes, drops: bytes
) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(begins)
    dripping = asyncio.create_task(drip(writer, drops)) if drops else None
    await until_cut(reader)
    if dripping is not None:
        dripping.cancel()
    writer.close()
    assert (await answered(address)).startswith(b"HTTP/1.1 200")


PATIENT = ConnectionLimits(write_s=1.0)


async def test_who_never_reads_is_cut_and_who_reads_slowly_is_served(
    site: Site, made: Made
) -> None:
    async with serving(site, PATIENT) as address:
        await one_reads_the_other_does_not(address, made)


async def one_reads_the_other_does_not(address: Address, made: Made) -> None:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, address)
    request = asked(f"/api/request/{made.ids['alice'][0]}", "Connection: close")
    await loop.sock_sendall(sock, request)
    reader, writer = await asyncio.open_connection(*address, limit=500_000)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    got = 0
    async with asyncio.timeout(30):
        while got < length:
            got += len(await reader.read(400_000))
            await asyncio.sleep(0.05)  # 8 MB/s at the most: longer than write_s in all
    writer.close()
    assert got == length > 15_000_000
    seen = 0  # of what was on its way
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            while piece := await loop.sock_recv(sock, 65_536):
                seen += len(piece)
    sock.close()
    assert seen < length


async def test_answers_that_nobody_reads_cost_no_memory(made: Made) -> None:
    """Forty of 16 MB each: what is on its way is a piece of each."""
    request = asked(f"/api/request/{made.ids['alice'][0]}")
    with started(made) as web:
        await answered(web.address, within_s=20)  # when it is up
        before = web.memory_kb()
        held = []
        for _ in range(40):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            sock.connect(web.address)
            sock.sendall(request)
            held.append(sock)
        for sock in held:
            await asyncio.to_thread(sock.recv, 1)
        assert (await answered(web.address)).startswith(b"HTTP/1.1 200")
        grown = web.memory_kb() - before
        for sock in held:
            sock.close()
    assert grown < 320_000  # two at a time are read, for their owner's name


async def test_a_thousand_idle_clients_leave_room(made: Made) -> None:
    with started(made) as web:
        await answered(web.address, within_s=20)  # when it is up
        idle = [await asyncio.open_connection(*web.address) for _ in range(1000)]
        for source in ("127.0.0.1", "127.0.0.2"):
            assert (await answered(web.address, source=source)).startswith(b"HTTP/1.1 200")
        assert (await answered(web.address, asked("/api/requests"))).startswith(b"HTTP/1.1 200")
        # The first 489 made room: 512 are kept, and the answered ones have left.
        await asyncio.gather(*(until_cut(reader) for reader, _ in idle[:480]))
        assert not idle[-1][0].at_eof()
        for _, writer in idle:
            writer.close()


async def test_those_of_the_address_that_has_most_make_room(address: Address) -> None:
    others = await asyncio.open_connection(*address, local_addr=("127.0.0.3", 0))
    served = await asyncio.open_connection(*address, local_addr=("127.0.0.2", 0))
    served[1].write(asked("/api/live"))
    await served[0].readuntil(b"retry")
    many = []
    async with asyncio.timeout(QUICK.head_s):  # or their time were over
        for _ in range(QUICK.most + 20):
            many.append(await asyncio.open_connection(*address, local_addr=("127.0.0.2", 0)))
        await asyncio.gather(*(until_cut(reader) for reader, _ in many[:20]))
    others[1].write(ME)  # the oldest of all
    assert (await others[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert not served[0].at_eof()
    for _, writer in (others, served, *many):
        writer.close()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:1::1", "20010db800000001::/64"),
        ("2001:db8:0:1:ffff::", "20010db800000001::/64"),
        ("2001:db8:0:2::1", "20010db800000002::/64"),
        ("fe80::1%eth0", "fe80000000000000::/64"),
        ("", ""),
    ],
)
def test_whom_an_address_stands_for(address: str, network: str) -> None:
    assert network_of(address) == network


SECOND = b"GET /api/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
        b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND,
        b"Content-Length: 3\r\n\r\nabc" + SECOND,
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS"])
async def test_nothing_behind_a_body_is_a_request(
    address: Address, method: bytes, body: bytes
) -> None:
    """Two readers may disagree on where it ends: what follows is read by none here."""
    reader, writer = await asyncio.open_connection(*address)
    head = b" /api/me HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: " + ADMIN.encode() + b"\r\n"
    writer.write(method + head + body)
    got = await until_cut(reader, 1.0)  # at once, not when its time is over
    assert got.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in got.lower()
    writer.close()


async def test_what_breaks_in_the_middle_of_an_answer_ends_it_quietly(
    address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(asked("/api/live", "Transfer-Encoding: chunked"))
    await reader.readuntil(b"retry")
    writer.write(b"this is no chunk\r\n")
    await until_cut(reader)
    writer.close()
    assert not caplog.records


async def test_what_is_no_http_is_400_in_json(address: Address) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    head, _, body = (await until_cut(reader)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["type"] == "bad_request"
    writer.close()


async def test_too_many_requests_at_once_are_told_so_and_health_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.web.guards._AT_ONCE", 2)
    (tmp_path / "2026-11-21").mkdir()
    site, engine = make_site(Made(tmp_path))
    async with serving(site) as address:
        held = [await asyncio.open_connection(*address) for _ in range(2)]
        for reader, writer in held:
            writer.write(asked("/api/live"))
            await reader.readuntil(b"retry")
        assert (await answered(address)).startswith(b"HTTP/1.1 503")
        assert (await answered(address, asked("/health"))).startswith(b"HTTP/1.1 200")
        for _, writer in held:
            writer.close()
    browser = Browser(site)
    assert (await browser.get("/health")).status_code == 200
    await browser.close()
    await engine.dispose()
