"""Bodies in the journal: no more than their cap, no hole, whatever was held back on the way."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from src.proxy.exchange import Response
from src.proxy.frames import FrameWalker
from src.proxy.websocket import ClientFrames
from tests.support.frames import TEXT, frame
from tests.tracing.support import KEY, NoSource, load_traces, new_exchange, new_trace, pass_through

BEGUN = KEY[:1]  # of a secret: held back at the end of a chunk
CAP = 100


async def kept(folder: Path, *chunks: bytes) -> dict:
    """The traced body of an answer in these chunks."""
    trace = new_trace(folder, body_bytes=CAP)
    await trace.start()
    answer = Response(200, [(b"content-type", b"text/plain")], b"".join(chunks))
    wanted = await pass_through(trace, new_exchange(), answer, chunks)
    await trace.stop()
    body: dict = load_traces(folder)[wanted]["response"]["body"]
    assert len(body["value"]) == (body["truncated"] or {"kept_bytes": CAP})["kept_bytes"]
    assert body["wire_bytes"] == sum(map(len, chunks))
    return body


async def test_what_is_held_back_counts_for_the_cap(tmp_path: Path) -> None:
    body = await kept(tmp_path, b"x" * 49 + BEGUN, b"y" * 200, b"z" * 200)
    assert body["value"] == ("x" * 49 + BEGUN.decode() + "y" * 200)[:CAP]


async def test_a_body_as_long_as_the_cap_is_kept_to_its_end(tmp_path: Path) -> None:
    body = await kept(tmp_path, b"x" * (CAP - 1) + BEGUN)
    assert body["value"] == "x" * (CAP - 1) + BEGUN.decode()


@pytest.mark.parametrize("cut", [[40], [CAP], [CAP - 30, CAP - 10], [CAP - 5, CAP - 4, CAP + 1]])
async def test_of_a_secret_across_the_cap_nothing_is_kept(tmp_path: Path, cut: list[int]) -> None:
    """However the chunks are cut: what is written never shows how a secret begins."""
    whole = b"x" * (CAP - 20) + KEY + b"z" * 200
    edges = [0, *cut, len(whole)]
    body = await kept(tmp_path, *(whole[a:b] for a, b in pairwise(edges)))
    assert body["value"] == "x" * (CAP - 20)


async def test_nothing_held_back_is_written_behind_what_was_lost(tmp_path: Path) -> None:
    """Its place is in what the full queue had no room for."""
    trace = new_trace(tmp_path)
    await trace.start()
    journal = trace._journal
    assert journal is not None
    chunks = [b"x" * 10, b"y" * 10 + BEGUN]
    answer = Response(200, [(b"content-type", b"text/plain")], b"".join(chunks))

    async def forward(inner: object) -> Response:
        return answer

    exchange = new_exchange()
    exchange.response = await trace(exchange, forward)
    exchange.observe_chunk(chunks[0])
    journal.takes_bodies = False
    exchange.observe_chunk(chunks[1])
    journal.takes_bodies = True
    exchange.finish()
    await trace.stop()
    body = load_traces(tmp_path)[exchange.id]["response"]["body"]
    assert (body["value"], body["truncated"]["kept_bytes"]) == ("x" * 10, 10)


class Upstream:
    """Takes a client's frames."""

    def __init__(self) -> None:
        self.down = FrameWalker(1 << 20)

    def write_frames(self, data: bytes) -> None: ...


async def test_a_head_that_broke_off_stands_behind_what_was_held_back(tmp_path: Path) -> None:
    trace = new_trace(tmp_path)
    await trace.start()
    exchange = new_exchange(b"", method=b"GET", target=b"/v1/realtime?model=m")
    frames = exchange.body = ClientFrames(NoSource())
    frames.connect(Upstream())
    frames.open()

    def leave_within_a_head(_: object) -> None:
        frames.feed_data(frame(TEXT, b"it ends with " + BEGUN, key=b"abcd") + b"\x81")

    answer = Response(101, [(b"upgrade", b"websocket")], b"")
    wanted = await pass_through(trace, exchange, answer, (), while_open=leave_within_a_head)
    await trace.stop()
    document = load_traces(tmp_path)[wanted]
    assert [e["raw"] for e in document["stream"]["events"]] == ["it ends with " + BEGUN.decode()]
