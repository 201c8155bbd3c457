"""A page of figures shared by the proxy and its recorder: no file, no lock, no system call.

While nothing is in flight `accepted = written + dropped + failed`.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import astuple, dataclass, replace

PAGE_BYTES = 4096

# Slots of eight bytes, all written by the recorder.
WRITTEN = 0
FAILED = 1
DROPPED = 2
RECOVERED = 3  # of an earlier, killed process; not among the accepted
RECLAIMED = 4  # journal bytes given back to the disk
LIVES = 5  # recorders that have begun on this page: the second takes over from one that died


@dataclass(slots=True, frozen=True)
class Counters:
    """How many exchanges were accepted, and what became of their traces."""

    accepted: int
    written: int
    dropped: int
    failed: int
    recovered: int
    bodies_omitted: int
    pending_bytes: int

    def plus(self, other: Counters) -> Counters:
        """Both together."""
        return Counters(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def plus_dropped(self, number: int) -> Counters:
        """With so many of the pending ones given up."""
        return replace(self, dropped=self.dropped + number, pending_bytes=0)

    @property
    def pending(self) -> int:
        """Exchanges whose trace is still to come: those in flight too."""
        return self.accepted - self.written - self.dropped - self.failed


class CounterPage:
    """The shared page. `slots[WRITTEN] += 1` is the way to count; one writer per slot."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, PAGE_BYTES)
        self.slots = memoryview(self._map).cast("Q")

    def close(self) -> None:
        """Let go of the page."""
        self.slots.release()
        self._map.close()
        os.close(self.fd)


def new_page() -> CounterPage:
    """A fresh page that a child can inherit by its file descriptor."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("llmtap-counters")
    else:  # macOS
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, PAGE_BYTES)
    return CounterPage(fd)
