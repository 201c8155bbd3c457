"""Making a segment small that is held for little: one long stream must not hold the disk.

A segment is needed until the last exchange with a record in it is written. Beside thousands of
short exchanges a stream of ten minutes would hold ten minutes of everybody's bodies, so of old
segments only the records still needed are kept, in a file under the same name.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from .records import GET_HEADER, HEADER_BYTES, end_record


def live_bytes(mapping: mmap.mmap, offsets: Sequence[int]) -> int:
    """What the records at these offsets would take, with the end mark."""
    return sum([_size(mapping, at) for at in offsets]) + HEADER_BYTES


def rewrite(path: Path, mapping: mmap.mmap, offsets: Sequence[int]) -> list[int]:
    """Replace a segment by one with these records only; their new offsets.

    Written beside and renamed: a kill leaves the one or the other. Raises OSError.
    """
    pieces: list[bytes] = []
    moved: list[int] = []
    at = 0
    for offset in offsets:
        size = _size(mapping, offset)
        pieces.append(mapping[offset : offset + size])
        moved.append(at)
        at += size
    _replace(path, b"".join([*pieces, end_record()]))
    return moved


def _size(mapping: mmap.mmap, at: int) -> int:
    length: int = GET_HEADER(mapping, at)[4]
    return length + 7 & ~7


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_suffix(".squeezed")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        draft.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
