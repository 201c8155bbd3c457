"""Segment files: making them ahead of need, in a thread, so that the event loop never waits.

Every block is allocated before the file is mapped: writing to a mapping of a sparse file on a
full disk would be a SIGBUS.

    ready ──▶ written by the proxy ──▶ read by the recorder ──▶ `.free` ──zeroed──▶ ready

What the recorder is done with is used again, and what is new is filled with zeros first: the first
touch of a page costs the loop 4 µs and more, of one that is in memory already 0.1, and a small
exchange fills nearly a page.
"""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

log = logging.getLogger("llmtap.tracing")

SEGMENT_BYTES = 2 << 20
SUFFIX = ".seg"
FREE_SUFFIX = ".free"  # worked off by the recorder; the proxy's thread takes it from here
MOST_FREE = 8  # kept for use again; more are deleted
_ZEROS = bytes(1 << 16)
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Segment:
    """One file of the journal, mapped for writing."""

    __slots__ = ("map", "number", "size")

    def __init__(self, number: int, mapping: mmap.mmap, size: int) -> None:
        self.number = number
        self.map = mapping
        self.size = size

    def close(self) -> None:
        """Unmap; the file stays for the recorder."""
        self.map.close()


def segment_path(directory: Path, number: int) -> Path:
    """Where a segment lies: six digits, so that `ls` sorts them."""
    return directory / f"{number:06d}{SUFFIX}"


def make_segment(directory: Path, number: int, size: int) -> Segment:
    """A new, fully allocated, mapped segment. Raises OSError (disk full, no rights, …)."""
    path = segment_path(directory, number)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        if hasattr(os, "posix_fallocate"):  # elsewhere writing is the only way to be sure
            os.posix_fallocate(fd, 0, size)
        _empty(fd, size)
        return Segment(number, mmap.mmap(fd, size), size)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def free_path(directory: Path, number: int) -> Path:
    """What a segment is called when nothing in it is needed any more."""
    return directory / f"{number:06d}{FREE_SUFFIX}"


def _empty(fd: int, size: int) -> None:
    """Fill with zeros. By write, not through the mapping: it lets go of the interpreter, and brings
    the pages into memory at half of what the loop would pay for touching each first."""
    for offset in range(0, size, len(_ZEROS)):
        os.pwrite(fd, _ZEROS[: size - offset], offset)


class SegmentMaker:
    """Keeps a few segments ready in `ready`, and unmaps those that are full.

    One daemon thread, asleep unless asked. A failure is logged once, tried again with growing
    pauses, and forgotten when it works again.
    """

    def __init__(self, directory: Path, size: int, ahead: int) -> None:
        self._directory = directory
        self._size = size
        self._ahead = ahead
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._number = 0
        self._thread: threading.Thread | None = None
        self._closing = False
        self._failures = 0
        self._again = False  # a try is in the queue: one is enough, or they would all wait in turn
        self._pause = threading.Event()  # set at the end: nobody waits for a pause
        self._used: dict[int, mmap.mmap] = {}  # full ones, still mapped in case they come back
        self.ready: deque[Segment] = deque()

    def start(self) -> None:
        """Make the first segments here and now; where that fails, the thread goes on trying."""
        self._jobs.put(self._fill)
        self._fill_once()
        self._thread = threading.Thread(target=self._run, name="llmtap-segments", daemon=True)
        self._thread.start()

    def refill(self, used: Segment | None) -> None:
        """Ask for another; `used` is full."""
        if used is not None:
            self._jobs.put(lambda: self._keep(used))
        self._jobs.put(self._fill)

    def _keep(self, used: Segment) -> None:
        self._used[used.number] = used.map
        while len(self._used) > MOST_FREE:
            self._used.pop(next(iter(self._used))).close()

    def do(self, job: Callable[[], None]) -> None:
        """Run something slow in the thread."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End the thread and throw away what was not used."""
        self._closing = True
        self._pause.set()
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join(timeout=1.0)
        while self._used:
            self._used.popitem()[1].close()
        while self.ready:
            segment = self.ready.pop()
            segment.close()
            segment_path(self._directory, segment.number).unlink(missing_ok=True)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                log.exception("a job of the journal's thread failed")

    def _fill(self) -> None:
        """Fill up; after a failure wait and queue behind other jobs, so that those are not held."""
        if not self._closing and not self._again:
            self._try()

    def _try_again(self) -> None:
        self._again = False
        self._fill()

    def _try(self) -> None:
        error = self._fill_once()
        if error is None:
            if self._failures:
                log.info("the trace journal can be written again")
            self._failures = 0
            return
        if not self._failures:
            log.error("the trace journal cannot grow: %s; traffic goes on untraced", error)
        self._pause.wait(_BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)])
        self._failures += 1
        self._again = True
        self._jobs.put(self._try_again)

    def _fill_once(self) -> OSError | None:
        while len(self.ready) < self._ahead:
            try:
                segment = self._reused() or make_segment(self._directory, self._number, self._size)
            except OSError as error:
                return error
            self._number += 1
            self.ready.append(segment)
        return None

    def _reused(self) -> Segment | None:
        """One that the recorder is done with, emptied and under a new number."""
        for path in sorted(self._directory.glob(f"*{FREE_SUFFIX}")):
            if path.stat().st_size != self._size:
                continue
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                _empty(fd, self._size)
                mapping = self._used.pop(int(path.stem), None) or mmap.mmap(fd, self._size)
            finally:
                os.close(fd)
            path.rename(segment_path(self._directory, self._number))
            return Segment(self._number, mapping, self._size)
        return None
