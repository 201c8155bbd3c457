"""What the recorder knows of a journal, and which files it lets go."""

from __future__ import annotations

import marshal
import os
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import pytest

from src.tracing.journal import Journal
from src.tracing.reading import JournalReader, OpenExchange
from src.tracing.records import Kind, Mark
from tests.tracing.building import recorded
from tests.tracing.support import wait_until
from tests.tracing.test_journal import SEGMENT, NoRecorder

OPENED = marshal.dumps(astuple(recorded().opened), 2)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "j", NoRecorder(), queue_bytes=1 << 40, segment_bytes=SEGMENT)
    made.start()
    yield made
    made.stop(0)


@pytest.fixture
def reader(journal: Journal) -> Iterator[JournalReader]:
    made = JournalReader(journal.directory, {1: []})
    yield made
    made.close()


def begin(journal: Journal) -> int:
    wait_until(lambda: len(journal._maker.ready) > 0)
    return journal.open(0.0, OPENED)


def put(journal: Journal, number: int, chunk: bytes) -> None:
    wait_until(lambda: len(journal._maker.ready) > 0)
    assert journal.append(Kind.RESPONSE_CHUNK, number, 1.0, chunk)


def chunks(reader: JournalReader, exchange: OpenExchange) -> list[bytes]:
    return [chunk for _, chunk in reader.read(exchange).response]


def written(journal: Journal) -> int:
    """Bytes of the segments that hold something."""
    ready = {segment.number for segment in journal._maker.ready}
    paths = [p for p in journal.directory.glob("*.seg") if int(p.stem) not in ready]
    return sum(path.stat().st_size for path in paths)


def finish_all(journal: Journal, reader: JournalReader, numbers: list[int]) -> None:
    for number in numbers:
        wait_until(lambda: len(journal._maker.ready) > 0)
        journal.finish(number, 2.0, marshal.dumps(astuple(recorded().finished), 2))
    for exchange in list(reader.scan(None)):
        reader.mark(exchange, Mark.WRITTEN, 1)
        reader.release(exchange)


def test_a_segment_goes_when_nobody_needs_it(journal: Journal, reader: JournalReader) -> None:
    for _ in range(30):
        number = begin(journal)
        put(journal, number, b"x" * 9000)
        finish_all(journal, reader, [number])
    assert len(list(journal.directory.glob("*.seg"))) <= 4
    assert reader.reclaimed_bytes >= 3 * SEGMENT


def test_a_segment_stays_while_one_record_in_it_is_needed(
    journal: Journal, reader: JournalReader
) -> None:
    kept = begin(journal)
    for number in [begin(journal) for _ in range(10)]:
        put(journal, number, b"x" * 20_000)
    list(reader.scan(None))
    assert (journal.directory / "000000.seg").exists()
    assert kept in reader.open


def test_one_long_stream_does_not_hold_everybodys_bodies(
    journal: Journal, reader: JournalReader
) -> None:
    stream = begin(journal)
    sent = []
    for round_ in range(40):
        sent.append(b"event %d" % round_)
        put(journal, stream, sent[-1])
        number = begin(journal)
        put(journal, number, b"x" * 30_000)
        finish_all(journal, reader, [number])
        reader.squeeze()
    assert written(journal) < 6 * SEGMENT, "without squeezing it would be twenty"
    assert reader.held_bytes <= written(journal)
    assert chunks(reader, reader.open[stream]) == sent


def test_what_was_squeezed_is_read_again_by_the_next_recorder(
    journal: Journal, reader: JournalReader
) -> None:
    streams = [begin(journal) for _ in range(3)]
    for round_ in range(30):
        for stream in streams:
            put(journal, stream, b"%d %d" % (stream, round_))
        number = begin(journal)
        put(journal, number, b"x" * 30_000)
        finish_all(journal, reader, [number])
    for _ in range(10):
        reader.squeeze()
    again = JournalReader(journal.directory, {1: []})
    assert list(again.scan(None)) == []
    assert sorted(again.open) == streams
    for stream in streams:
        wanted = [b"%d %d" % (stream, round_) for round_ in range(30)]
        assert chunks(again, again.open[stream]) == wanted
        assert chunks(reader, reader.open[stream]) == wanted
    again.close()
    finish_all(journal, reader, streams)
    assert written(journal) <= 2 * SEGMENT


def test_a_full_disk_leaves_a_segment_as_it_is(
    journal: Journal, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = begin(journal)
    put(journal, stream, b"mine")
    for _ in range(6):
        number = begin(journal)
        put(journal, number, b"x" * 30_000)
        finish_all(journal, reader, [number])
    journal._maker.stop()  # its thread makes segments ahead, which are none of this
    before = written(journal)

    def refuse(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        reader.squeeze()
    assert written(journal) == before
    assert chunks(reader, reader.open[stream]) == [b"mine"]
    assert list(journal.directory.glob("*.squeezed")) == []


def test_what_is_marked_is_not_done_again(journal: Journal, reader: JournalReader) -> None:
    numbers = [begin(journal) for _ in range(3)]
    for number in numbers:
        journal.finish(number, 2.0, b"")
    done = next(iter(reader.scan(None)))
    reader.mark(done, Mark.WRITTEN, 7)
    again = JournalReader(journal.directory, {})
    assert [exchange.number for exchange in again.scan(None)] == numbers[1:]
    assert again.highest_marks()[Mark.WRITTEN] == 7
    again.close()


def test_a_secret_nobody_knows_any_more_makes_the_exchange_unsearchable(
    journal: Journal,
) -> None:
    begin(journal)
    for secrets, found in (({1: [b"abcdefgh"]}, [b"abcdefgh"]), ({}, None), (None, None)):
        reader = JournalReader(journal.directory, secrets)
        list(reader.scan(None))
        (exchange,) = reader.open.values()
        assert reader.read(exchange).secrets == found
        reader.close()
