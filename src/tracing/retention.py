"""Old traces are deleted: by age, by number, by total size; the oldest first."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .archive import Archive

_DAY = re.compile(r"\d{4}-\d\d-\d\d$")
LOCK_NAME = ".retention"


@dataclass(slots=True, frozen=True)
class Retention:
    """What to keep; None: no limit. Age counts from the name's time, size is that of the files."""

    days: float | None = None
    total_bytes: int | None = None
    count: int | None = None

    def limited(self) -> bool:
        """Is there anything to do?"""
        return self.days is not None or self.total_bytes is not None or self.count is not None


def sweep(
    trace_dir: Path,
    keep: Retention,
    now: datetime,
    deleting: Callable[[list[str]], None] | None = None,
    archive: Archive | None = None,
) -> int:
    """Delete what is over the limits; the number of files deleted. One process at a time does it,
    the others return at once. `deleting` is told of the traces of a day before they go, as paths
    below the folder; `archive` goes over what stays. Raises OSError."""
    fd = os.open(trace_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        deleted = _sweep(trace_dir, keep, now, deleting) if keep.limited() else 0
        if archive is not None:
            archive.sweep(now)
        return deleted
    finally:
        os.close(fd)


def _sweep(
    trace_dir: Path,
    keep: Retention,
    now: datetime,
    deleting: Callable[[list[str]], None] | None,
) -> int:
    """From the newest backwards: what is over a limit goes, and all that is older."""
    oldest = _oldest(keep, now)
    count = size = deleted = 0
    over = False
    for day in sorted(filter(_DAY.match, _names(trace_dir)), reverse=True):
        folder = trace_dir / day
        left = 0
        gone: list[str] = []
        for name in sorted(_names(folder), key=_trace_first, reverse=True):
            path = folder / name
            count += name.endswith(".json")
            if not over and keep.total_bytes is not None:
                size += _size(path)
            over = over or _is_over(keep, count, size) or f"{day}/{name}" < oldest
            if over:
                gone.append(name)
            else:
                left += 1
        if gone and deleting is not None:
            deleting([f"{day}/{name}" for name in gone if name.endswith(".json")])
        for name in gone:
            (folder / name).unlink(missing_ok=True)
        deleted += len(gone)
        if not left and day < now.strftime("%Y-%m-%d"):
            with contextlib.suppress(OSError):  # a trace may just have come
                folder.rmdir()
    return deleted


def _trace_first(name: str) -> str:
    """Backwards, a trace comes before the files beside it: they go with it."""
    return name.removesuffix(".json") + "~" if name.endswith(".json") else name


def _names(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208 - names only: a Path each would take ten times as long


def _oldest(keep: Retention, now: datetime) -> str:
    if keep.days is None:
        return ""
    return (now - timedelta(days=keep.days)).astimezone(UTC).strftime("%Y-%m-%d/%H%M%S")


def _is_over(keep: Retention, count: int, size: int) -> bool:
    too_many = keep.count is not None and count > keep.count
    return too_many or (keep.total_bytes is not None and size > keep.total_bytes)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
