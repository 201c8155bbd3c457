"""Traces as they are written into a folder."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .folder import Folder, TraceFile

_WATCHED_DAYS = 1.5  # a trace lies in the folder of the day its request came
_TICK_NS = 50_000_000
_SHARE = 0.1  # of the time may go into listing folders


class NewTraces:
    """What has come since this was made. Folders are listed when they have changed, those of many
    files less often, so that watching costs little."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._changed: dict[str, int] = {}
        self._known: set[str] = set()
        self._not_before = 0.0
        self.poll()

    def poll(self) -> list[TraceFile]:
        """The new ones, in the order their requests came."""
        begin = time.monotonic()
        if begin < self._not_before or not self._has_changed():
            return []
        since_us = _since_us()
        files = list(self._folder.files(since_us))
        new = [file for file in files if file.file not in self._known]
        self._known = {file.file for file in files}
        self._not_before = time.monotonic() + (time.monotonic() - begin) / _SHARE
        return new[::-1]

    def _has_changed(self) -> bool:
        now = datetime.now(UTC)
        days = {f"{now - timedelta(days=ago):%Y-%m-%d}" for ago in (0, 1, 2)}
        changed = {day: _changed_ns(self._folder.root / day) for day in days}
        if changed == self._changed:
            return False
        # A file may come after the listing within the same tick of the folder's clock.
        settled = max(changed.values()) < time.time_ns() - _TICK_NS
        self._changed = changed if settled else {}
        return True


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _since_us() -> int:
    return round((time.time() - _WATCHED_DAYS * 86_400) * 1e6)
