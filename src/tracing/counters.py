"""A page of figures shared by the proxy and its recorder: no file, no lock, no system call.

Each slot has one writer. While nothing is in flight `accepted = written + dropped + failed`.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass

PAGE_BYTES = 4096

# Slots of eight bytes.
ACCEPTED = 0  # by the proxy: exchanges that came by
REFUSED = 1  # by the proxy: dropped for want of room, nothing in the journal
WRITTEN = 2  # by the recorder, as all below
FAILED = 3
DROPPED = 4
RECOVERED = 5  # of an earlier, killed process; not among the accepted
RECLAIMED = 6  # journal bytes given back to the disk
BODIES_OMITTED = 7  # by the proxy: bodies dropped for want of room


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
