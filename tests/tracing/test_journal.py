"""The journal's file format, and what happens when there is no room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from src.tracing import counters as slot
from src.tracing import journal as journal_module
from src.tracing import segments
from src.tracing.journal import Journal
from src.tracing.reading import JournalReader
from src.tracing.records import GET_HEADER, HEADER_BYTES, LENGTH_AT, Kind
from tests.tracing.support import wait_until

SEGMENT = 1 << 16


class NoRecorder:
    """A recorder that never does anything."""

    def __init__(self) -> None:
        self.wakes: list[tuple[int, int]] = []
        self.page_fd = -1

    def start(self, page_fd: int) -> None:
        self.page_fd = page_fd

    def secret(self, number: int, texts: bytes) -> None: ...

    def wake(self, segment: int, offset: int) -> bool:
        self.wakes.append((segment, offset))
        return True

    def restart(self) -> None: ...

    def finish(self, timeout_s: float) -> bool:
        return True


@pytest.fixture
def recorder() -> NoRecorder:
    return NoRecorder()


@pytest.fixture
def journal(tmp_path: Path, recorder: NoRecorder) -> Iterator[Journal]:
    made = Journal(tmp_path / "j", recorder, queue_bytes=16 * SEGMENT, segment_bytes=SEGMENT)
    made.start()
    yield made
    made.stop(0)


def records(directory: Path) -> list[tuple[int, int, bytes]]:
    """(kind, exchange, payload) of everything visible, in order."""
    found = []
    for path in sorted(directory.glob("*.seg")):
        data = path.read_bytes()
        at = 0
        while at + HEADER_BYTES <= len(data):
            _, exchange, kind, _, length = GET_HEADER(data, at)
            if length in (0, 0xFFFFFFFF):
                break
            found.append((kind, exchange, data[at + HEADER_BYTES : at + length]))
            at = at + length + 7 & ~7
    return found


def test_what_is_appended_is_in_the_file_at_once(journal: Journal) -> None:
    number = journal.open(1.0, b"open")
    assert journal.append(Kind.RESPONSE_CHUNK, number, 2.0, b"chunk")
    journal.finish(number, 3.0, b"end")
    assert records(journal.directory) == [
        (Kind.OPEN, number, b"open"),
        (Kind.RESPONSE_CHUNK, number, b"chunk"),
        (Kind.FINISH, number, b"end"),
    ]


def test_a_record_whose_length_is_not_there_yet_is_not_there(journal: Journal) -> None:
    first, second = journal.open(1.0, b"one"), journal.open(1.0, b"two")
    path = next(journal.directory.glob("000000.seg"))
    at = HEADER_BYTES + 8
    with path.open("r+b") as file:  # killed after the payload, before the length
        file.seek(at + LENGTH_AT)
        file.write(bytes(4))
    assert records(journal.directory) == [(Kind.OPEN, first, b"one")]
    reader = JournalReader(journal.directory, {})
    assert list(reader.scan(None)) == []
    assert list(reader.open) == [first]
    assert second not in reader.open
    reader.close()


def test_it_goes_on_in_the_next_segment(journal: Journal) -> None:
    payloads = [bytes([i]) * 5000 for i in range(60)]
    number = journal.open(0.0, b"")
    for payload in payloads:
        wait_until(lambda: len(journal._maker.ready) > 0)
        assert journal.append(Kind.RESPONSE_CHUNK, number, 0.0, payload)
    found = [
        payload for kind, _, payload in records(journal.directory) if kind == Kind.RESPONSE_CHUNK
    ]
    assert found == payloads


@pytest.mark.parametrize("spare", range(0, 2 * HEADER_BYTES, 8))
def test_a_segment_may_end_anywhere(journal: Journal, spare: int) -> None:
    number = journal.open(0.0, b"")
    size = SEGMENT - journal._at - HEADER_BYTES - spare
    assert journal.append(Kind.RESPONSE_CHUNK, number, 0.0, b"x" * size)
    assert journal.append(Kind.RESPONSE_CHUNK, number, 0.0, b"next" * 20)
    journal.finish(number, 0.0, b"")
    reader = JournalReader(journal.directory, {})
    (exchange,) = reader.scan(None)
    assert len(exchange.records) == 4
    reader.close()


def test_a_body_larger_than_a_piece_is_cut_into_pieces(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "PIECE_BYTES", 10_000)
    body = bytes(range(256)) * 200
    number = journal.open(0.0, b"")
    assert journal.append(Kind.REQUEST_CHUNK, number, 0.0, body)
    assert b"".join(p for kind, _, p in records(journal.directory) if kind == 2) == body


def test_what_comes_while_no_segment_is_ready_is_put_aside_and_poured_back(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = list(journal._maker.ready)
    monkeypatch.setattr(journal._maker, "refill", lambda used: None)
    journal._maker.ready.clear()
    number = journal.open(0.0, b"")
    payloads = [bytes([i]) * 9000 for i in range(12)]
    assert all(journal.append(Kind.RESPONSE_CHUNK, number, 0.0, p) for p in payloads)
    assert len(records(journal.directory)) < 12
    journal._maker.ready.extend(ready)
    journal.wake()
    journal.finish(number, 0.0, b"end")
    found = [payload for kind, _, payload in records(journal.directory)]
    assert found == [b"", *payloads, b"end"], "in order"


def test_above_three_quarters_bodies_are_refused_when_full_exchanges(
    tmp_path: Path, recorder: NoRecorder
) -> None:
    journal = Journal(tmp_path / "j", recorder, queue_bytes=4 * SEGMENT, segment_bytes=SEGMENT)
    journal.start()
    number = journal.open(0.0, b"")
    states = set()
    for _ in range(60):
        wait_until(lambda: len(journal._maker.ready) > 0)
        journal.append(Kind.RESPONSE_CHUNK, number, 0.0, b"x" * 8000)
        states.add((journal.takes_bodies, journal.takes_exchanges))
    assert states == {(True, True), (False, True), (False, False)}
    assert journal.open(0.0, b"one more") == 0
    journal.finish(number, 0.0, b"never refused")
    assert journal.counters().dropped == 1
    assert journal.counters().accepted == 2
    page = journal._page
    assert page is not None
    page.slots[slot.RECLAIMED] = 20 * SEGMENT
    journal.wake()
    assert journal.takes_bodies, "the recorder has caught up"
    journal.stop(0)


def test_a_disk_that_is_full_stops_traces_and_nothing_else(
    tmp_path: Path, recorder: NoRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = segments.make_segment
    full = True

    def refuse(directory: Path, number: int, size: int) -> segments.Segment:
        if full:
            raise OSError(28, "No space left on device")
        return make(directory, number, size)

    monkeypatch.setattr(segments, "make_segment", refuse)
    monkeypatch.setattr(segments, "_BACKOFF_S", (0.01,))
    monkeypatch.setattr(journal_module, "SPILL_BYTES", 1000)
    journal = Journal(tmp_path / "j", recorder, segment_bytes=SEGMENT)
    journal.start()
    assert journal.open(0.0, b"x" * 700) > 0, "a little is kept in memory"
    assert journal.open(0.0, b"x" * 700) == 0
    full = False
    wait_until(lambda: len(journal._maker.ready) > 0)
    journal.wake()
    assert journal.open(0.0, b"x" * 700) > 0, "and it recovers by itself"
    assert len(records(journal.directory)) == 2
    journal.stop(0)


def test_a_journal_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    assert Journal(tmp_path / "j", NoRecorder()).stop(1).accepted == 0


def test_the_folders_are_the_users_own(journal: Journal) -> None:
    assert journal.directory.stat().st_mode & 0o777 == 0o700
    modes = {path.stat().st_mode & 0o777 for path in journal.directory.iterdir()}
    assert modes == {0o600}


def test_the_recorder_is_told_only_what_is_surely_written(
    journal: Journal, recorder: NoRecorder
) -> None:
    number = journal.open(0.0, b"abc")
    journal.wake()
    segment, offset = recorder.wakes[-1]
    journal.finish(number, 0.0, b"")
    reader = JournalReader(journal.directory, {})
    assert list(reader.scan((segment, offset))) == []
    assert len(list(reader.scan(None))) == 1
    reader.close()
