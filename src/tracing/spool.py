"""The spool: which traces were written or deleted, a line each, for whoever keeps an index of them.

    2026-11-21/101112.123456Z_<ULID>_openai_gpt-4o_200.json       written, or written anew
    -2026-11-21/101112.123456Z_<ULID>_openai_gpt-4o_200.json      deleted, or about to be

One file per recorder, which holds a lock on it: whoever can take the lock knows that nothing more
comes, and may remove it once it is read. A file that has grown large is followed by another.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

STORE_FOLDER = ".store"
SUFFIX = ".todo"
MOST_BYTES = 4 << 20
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Spool:
    """Appends lines. `owner`: a name that no other process anywhere has."""

    def __init__(self, trace_dir: Path, owner: str) -> None:
        self._folder = trace_dir / STORE_FOLDER
        self._owner = owner
        self._fd = -1
        self._size = 0
        self._number = 0
        self._torn = False

    def written(self, day: str, name: str) -> None:
        """A trace lies there, whole. Raises OSError; the line then has to be told again."""
        self._append(f"{day}/{name}\n".encode())

    def deleted(self, files: list[str]) -> None:
        """These are about to be deleted: told before, so that no row outlives its file."""
        if files:
            self._append("".join(f"-{file}\n" for file in files).encode())

    def changed(self, file: str) -> None:
        """A trace has been written anew."""
        self._append(f"{file}\n".encode())

    def close(self) -> None:
        """Nothing more comes."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, lines: bytes) -> None:
        if self._fd < 0 or self._size > MOST_BYTES or not os.fstat(self._fd).st_nlink:
            self._open()  # the first, the next, or one in place of what somebody has removed
        if self._torn:  # what an earlier, failed write has left is a line of its own
            lines = b"\n" + lines
        done = os.write(self._fd, lines)
        self._size += done
        self._torn = done < len(lines)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self) -> None:
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while self._fd < 0:
            self._number += 1
            path = self._folder / f"{self._owner}.{self._number}{SUFFIX}"
            fd = os.open(path, _FLAGS, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = os.fstat(fd)
            except OSError:
                os.close(fd)  # the reader looks at what a recorder before us has left: the next
                continue
            if found.st_nlink:
                self._fd, self._size, self._torn = fd, found.st_size, found.st_size > 0
            else:
                os.close(fd)
