"""Old traces are deleted: by age, by number, by total size; the oldest first."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from . import believing
from .archive import Archive

_DAY = re.compile(r"\d{4}-\d\d-\d\d$")
LOCK_NAME = ".retention"
_AHEAD = timedelta(minutes=10)  # traces come while we look
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


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
    doubting: Callable[[], None] | None = None,
) -> int:
    """Delete what is over the limits; the number of files deleted. One process at a time does it,
    the others return at once. `deleting` is told of the traces of a day before they go, as paths
    below the folder; `archive` goes over what stays. `doubting` is told when a clock that has leapt
    ahead is not believed: until it is, nothing is old. Raises OSError."""
    fd = os.open(trace_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        before = believing.read(fd)
        belief = believing.judge(now.timestamp(), before)
        believing.write(fd, belief)
        if belief.doubted is not None:
            keep, archive = replace(keep, days=None), None
            if doubting is not None and belief.doubted != before.doubted:
                doubting()
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
    for day, names in _newest_first(trace_dir, _written(now + _AHEAD)):
        folder = trace_dir / day
        gone: list[str] = []
        for name in names:
            count += name.endswith(".json")
            if not over and keep.total_bytes is not None:
                size += _size(folder / name)
            over = over or _is_over(keep, count, size)
            if over or f"{day}/{name}" < oldest:
                gone.append(name)
        _delete(folder, gone, deleting)
        deleted += len(gone)
        if len(gone) == len(names) and day != _written(now)[:10]:
            with contextlib.suppress(OSError):  # a trace may just have come
                folder.rmdir()
    return deleted


def _newest_first(trace_dir: Path, latest: str) -> Iterator[tuple[str, list[str]]]:
    """The names of each day. What is dated later than `latest` was written by a wrong clock. It
    comes last: as the newest, it would take the place of all that is written until then."""
    days = sorted(filter(_DAY.match, _names(trace_dir)), reverse=True)
    for ahead in (False, True):
        for day in days:
            if day == latest[:10] or (day > latest) == ahead:
                names = [n for n in _names(trace_dir / day) if (f"{day}/{n}" > latest) == ahead]
                yield day, sorted(names, key=_trace_first, reverse=True)


def _delete(folder: Path, gone: list[str], deleting: Callable[[list[str]], None] | None) -> None:
    told = [f"{folder.name}/{name}" for name in gone if name.endswith(".json")]
    if told and deleting is not None:
        try:
            deleting(told)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            for name in gone:  # emptied, they make room for the lines that tell of them
                with contextlib.suppress(FileNotFoundError):
                    (folder / name).chmod(0o600)
                    os.truncate(folder / name, 0)
            deleting(told)
    for name in gone:
        (folder / name).unlink(missing_ok=True)


def _trace_first(name: str) -> str:
    """Backwards, a trace comes before the files beside it: they go with it."""
    return name.removesuffix(".json") + "~" if name.endswith(".json") else name


def _names(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208 - names only: a Path each would take ten times as long


def _oldest(keep: Retention, now: datetime) -> str:
    return "" if keep.days is None else _written(now - timedelta(days=keep.days))


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d/%H%M%S")


def _is_over(keep: Retention, count: int, size: int) -> bool:
    too_many = keep.count is not None and count > keep.count
    return too_many or (keep.total_bytes is not None and size > keep.total_bytes)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
