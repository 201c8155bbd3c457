"""A journal looked at from outside, while the proxy and the recorder work on."""

from __future__ import annotations

import marshal
import os
from pathlib import Path

import pytest

from src.tracing.following import FolderFollower, JournalFollower
from src.tracing.reading import JournalReader
from src.tracing.records import MARSHAL_VERSION, PUT_HEADER, Kind, Mark
from src.tracing.segments import free_path, make_segment, segment_path

SEGMENT = 4096


class Writer:
    """Writes records as the proxy does, without a recorder."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.number = -1
        self.advance()

    def advance(self, *, closed: bool = True) -> None:
        if self.number >= 0 and closed and self.at + 24 <= SEGMENT:
            PUT_HEADER(self.segment.map, self.at, 0.0, 0, 0, 0, 0xFFFFFFFF)
        self.number += 1
        self.segment = make_segment(self.directory, self.number, SEGMENT)
        self.at = 0

    def put(self, kind: Kind, exchange: int, payload: bytes, t: float = 1.0) -> None:
        end = self.at + 24 + len(payload)
        if end > SEGMENT:
            self.advance()
            end = 24 + len(payload)
        self.segment.map[self.at + 24 : end] = payload
        PUT_HEADER(self.segment.map, self.at, t, exchange, kind, 0, end - self.at)
        self.at = end + 7 & ~7

    def open(self, exchange: int, body: bytes | None = b'{"model": "gpt-4o"}') -> None:
        upstream = ("main", "https://up.test", b"", "openai")
        target, headers = b"/v1/chat/completions", ()
        head = (f"ID{exchange}", 10**18, 1.0, b"POST", target, target, b"1.1", headers, "1.2.3.4:5")
        opened = (*head, None, (), upstream, (), body)
        self.put(Kind.OPEN, exchange, marshal.dumps(opened, MARSHAL_VERSION))

    def head(self, exchange: int) -> None:
        self.put(Kind.RESPONSE_HEAD, exchange, marshal.dumps((200, b"1.1", (), ()), 2))

    def finish(self, exchange: int) -> None:
        body = (0, None, None, 0)
        fields = [None] * 7 + [2.0, None, 0.0, 200, b"1.1", "ok", "done", None, None, None, None]
        fields += [None, [], None, body, body, (), [], None]
        self.put(Kind.FINISH, exchange, marshal.dumps(tuple(fields), 2))


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / ".journal" / f"{os.getpid()}-01M7YP3ZJM4CHZY65DPDCSG3Y9")


def test_a_request_is_followed_from_its_start_to_its_end(writer: Writer) -> None:
    follower = JournalFollower(writer.directory)
    follower.poll()
    assert follower.live == {}
    writer.open(1)
    follower.poll()
    live = follower.live[1]
    assert (live.opened.id, live.model, live.answered, live.events) == ("ID1", "gpt-4o", None, 0)
    writer.head(1)
    writer.put(Kind.RESPONSE_CHUNK, 1, b"data: 1\n\nda", t=5.0)
    follower.poll()
    writer.put(Kind.RESPONSE_CHUNK, 1, b"ta: 2\n\nevent: x\nda")
    writer.put(Kind.RESPONSE_CHUNK, 1, b"ta: 3\n\n")
    follower.poll()
    assert (live.answered.status, live.events, live.response_bytes) == (200, 3, 36)
    assert live.finished is None
    writer.finish(1)
    follower.poll()
    assert follower.live[1].finished.cause == "ok"
    follower.forget(1)
    assert follower.live == {}
    follower.close()


def test_models_are_found_wherever_they_stand(writer: Writer) -> None:
    follower = JournalFollower(writer.directory)
    writer.open(1, None)
    follower.poll()
    assert follower.live[1].model is None
    pieces = (b'{"messages": ["say \\"model\\": \\"x\\""]', b', "model":"claude-sonnet-4-5"}')
    for piece in pieces:
        writer.put(Kind.REQUEST_CHUNK, 1, piece)
    follower.poll()
    assert follower.live[1].model == "claude-sonnet-4-5"
    assert follower.live[1].request_bytes == sum(map(len, pieces))


def test_records_of_any_size_over_many_segments(writer: Writer) -> None:
    follower = JournalFollower(writer.directory)
    writer.open(1)
    for size in range(0, 4000, 37):
        writer.put(Kind.RESPONSE_CHUNK, 1, b"x" * size)
    writer.advance(closed=False)  # made ahead, not used yet
    follower.poll()
    assert follower.live[1].response_bytes == sum(range(0, 4000, 37))
    assert writer.number > 40


def test_what_the_recorder_is_done_with_is_not_running(writer: Writer) -> None:
    for exchange in (1, 2):
        writer.open(exchange)
    writer.finish(1)
    reader = JournalReader(writer.directory, None)
    (finished,) = reader.scan(None)
    reader.mark(finished, Mark.WRITTEN, 1)
    follower = JournalFollower(writer.directory)
    follower.poll()
    assert list(follower.live) == [2]
    reader.close()


def test_a_segment_that_is_used_again_under_way_is_not_believed(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renamed, emptied and filled anew between our reading and our asking."""
    writer.open(1)
    follower = JournalFollower(writer.directory)
    pread, first = os.pread, writer.directory / "000000.seg"

    def recycled(fd: int, size: int, at: int) -> bytes:
        if first.exists():
            first.rename(free_path(writer.directory, 0))
            old = writer.segment.map
            writer.number = 4
            old[:] = bytes(SEGMENT)
            writer.at = 0
            writer.open(7)
            free_path(writer.directory, 0).rename(segment_path(writer.directory, 4))
        return pread(fd, size, at)

    monkeypatch.setattr(os, "pread", recycled)
    follower.poll()
    assert list(follower.live) == [7]


def test_ends_missed_in_a_segment_that_went_away_leave_nobody_running(writer: Writer) -> None:
    writer.open(1)
    writer.open(2)
    follower = JournalFollower(writer.directory)
    follower.poll()
    assert sorted(follower.live) == [1, 2]
    writer.finish(1)
    writer.advance()
    writer.put(Kind.RESPONSE_CHUNK, 2, b"x")
    # The recorder has written 1 and kept of the segment what 2 still needs, as squeezing does.
    reader = JournalReader(writer.directory, None)
    (finished,) = reader.scan(None)
    reader.mark(finished, Mark.WRITTEN, 1)
    reader.release(finished)
    reader.squeeze()
    reader.close()
    follower.poll()
    assert list(follower.live) == [2]
    assert follower.live[2].response_bytes == 1


def test_half_a_record_is_not_read(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy writes on between two copies of a block: payload and head come before length."""
    writer.open(1)
    writer.put(Kind.RESPONSE_CHUNK, 1, b"whole")
    pread, torn = os.pread, []

    def tearing(fd: int, size: int, at: int) -> bytes:
        data = pread(fd, size, at)
        if not torn:
            torn.append(True)
            begin = data.index(b"whole") - 24
            return (
                data[:begin]
                + bytes(20)
                + data[begin + 20 : begin + 24]
                + bytes(5)
                + data[begin + 29 :]
            )
        return data

    monkeypatch.setattr(os, "pread", tearing)
    follower = JournalFollower(writer.directory)
    follower.poll()
    assert follower.live[1].response_bytes == 5


def test_journals_of_the_dead_are_not_followed(writer: Writer, tmp_path: Path) -> None:
    writer.open(1)
    folder = FolderFollower(tmp_path)
    assert list(folder.poll()) == ["ID1"]
    writer.directory.rename(tmp_path / ".journal" / f"{2**22 + 1}-X")
    (tmp_path / ".journal" / "notes").mkdir()
    assert folder.poll() == {}
    folder.close()
    assert FolderFollower(tmp_path / "none").poll() == {}


def test_it_opens_nothing_for_writing(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.open(1)
    before = {path: path.read_bytes() for path in writer.directory.iterdir()}
    opened, real = [], os.open
    monkeypatch.setattr(
        os, "open", lambda path, flags, *a, **k: opened.append(flags) or real(path, flags, *a, **k)
    )
    FolderFollower(writer.directory.parents[1]).poll()
    assert opened
    assert all(flags & os.O_ACCMODE == os.O_RDONLY for flags in opened)
    assert {path: path.read_bytes() for path in writer.directory.iterdir()} == before
