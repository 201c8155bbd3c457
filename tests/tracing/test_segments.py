"""Segments: every block is there before a byte is written through the mapping."""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.tracing.segments import SEGMENT_BYTES, SegmentMaker, make_segment, segment_path
from tests.support.disk import Ballast, small_disk
from tests.tracing.support import wait_until

AHEAD = 3


def exit_of(job: Callable[[], None]) -> int:
    """What becomes of a process that does this: its exit code, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        job()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def touch(mapping: mmap.mmap) -> None:
    for at in range(0, len(mapping), mmap.PAGESIZE):
        mapping[at : at + 8] = b"12345678"


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with small_disk(request.param, tmp_path, 24) as found:
        yield found


def test_a_sparse_mapping_on_a_full_disk_would_be_the_end(disk: Path) -> None:
    """What the others guard against; without it they prove nothing."""
    fd = os.open(disk / "sparse", os.O_RDWR | os.O_CREAT)
    os.truncate(fd, SEGMENT_BYTES)
    mapping = mmap.mmap(fd, SEGMENT_BYTES)
    Ballast(disk).fill()
    assert exit_of(lambda: touch(mapping)) == -signal.SIGBUS
    mapping.close()
    os.close(fd)


def test_segments_made_ahead_can_be_written_when_the_disk_is_full(disk: Path) -> None:
    maker = SegmentMaker(disk, SEGMENT_BYTES, AHEAD)
    maker.start()
    Ballast(disk).fill()
    for segment in maker.ready:
        assert segment_path(disk, segment.number).stat().st_blocks * 512 >= SEGMENT_BYTES
        assert exit_of(lambda segment=segment: touch(segment.map)) == 0
    maker.stop()


def test_a_segment_used_again_can_be_written_when_the_disk_is_full(disk: Path) -> None:
    maker = SegmentMaker(disk, SEGMENT_BYTES, AHEAD)
    maker.start()
    used = maker.ready.popleft()
    touch(used.map)
    segment_path(disk, used.number).rename(disk / f"{used.number:06}.free")
    Ballast(disk).fill()
    maker.refill(used)
    wait_until(lambda: len(maker.ready) == AHEAD)
    again = maker.ready[-1]
    assert again.map is used.map
    assert bytes(again.map[:SEGMENT_BYTES]) == bytes(SEGMENT_BYTES)
    assert exit_of(lambda: touch(again.map)) == 0
    maker.stop()


def test_what_does_not_fit_is_not_made_at_all(disk: Path) -> None:
    Ballast(disk).fill(SEGMENT_BYTES - 100_000)
    with pytest.raises(OSError, match="No space"):
        make_segment(disk, 0, SEGMENT_BYTES)
    assert not segment_path(disk, 0).exists()


def test_a_failing_disk_holds_other_jobs_for_one_pause_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder is started again by the same thread."""
    monkeypatch.setattr("src.tracing.segments._BACKOFF_S", (0.2,))
    gone = tmp_path / "gone"
    maker = SegmentMaker(gone, SEGMENT_BYTES, AHEAD)
    maker.start()
    for _ in range(20):
        maker.refill(None)
    done: list[int] = []
    maker.do(lambda: done.append(1))
    wait_until(lambda: bool(done), 1.0)
    gone.mkdir()
    wait_until(lambda: len(maker.ready) == AHEAD)
    maker.stop()
