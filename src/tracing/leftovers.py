"""Journals of processes that were killed, the recorder's with the proxy's: found by their locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from .child import LOCK_NAME

_UNLOCKED_S = 60.0  # a journal without a lock file is being made, or was never finished


def take_leftovers(own: Path) -> Iterator[Path]:
    """Directories beside our own whose processes are dead. Each is locked while it is worked on,
    so that of several recorders starting at once one takes it."""
    try:
        directories = sorted(path for path in own.parent.iterdir() if path != own)
    except OSError:
        return
    for directory in directories:
        lock = _lock(directory)
        if lock is None:
            continue
        try:
            yield directory
        finally:
            os.close(lock)


def _lock(directory: Path) -> int | None:
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        _remove_unfinished(directory)
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def _remove_unfinished(directory: Path) -> None:
    """One that was made but never locked holds nothing."""
    with contextlib.suppress(OSError):
        if time.time() - directory.stat().st_mtime > _UNLOCKED_S:
            remove_journal(directory)


def remove_journal(directory: Path) -> None:
    """Delete a journal that is worked off; the lock last, so that a crash half way is found."""
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            if path.name != LOCK_NAME:
                path.unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
