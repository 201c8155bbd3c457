"""Traces as they are written into a folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .folder import Folder, TraceFile, moment

_WATCHED_US = 129_600_000_000  # a day and a half: a trace lies where its request came
_TICK_NS = 50_000_000
_SHARE = 0.1  # of the time may go into listing folders
_LEAP_US = 3_600_000_000  # the clock was set: what was known may be seen again
_FRESH_US = 60_000_000


class NewTraces:
    """What has come since this was made. Folders are listed when they have changed, those of many
    files less often, so that watching costs little.

    The wall clock may be set while we watch. Where it goes back, files come into sight that were
    too old to be known: of these only the ones of this minute are new.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._changed: dict[str, int] = {}
        self._known: set[str] = set()
        self._before_leap: set[str] = set()
        self._since_us = 0
        self._not_before = 0.0
        self.poll()

    def poll(self) -> list[TraceFile]:
        """The new ones, in the order their requests came."""
        begin = time.monotonic()
        now_us = time.time_ns() // 1000
        since_us = now_us - _WATCHED_US
        if begin < self._not_before or not (self._has_changed() or since_us < self._since_us):
            return []
        files = list(self._folder.files(since_us))
        new = list(self._unknown(files, now_us))
        if since_us > self._since_us + _LEAP_US:
            self._before_leap = self._known
        self._known = {file.file for file in files}
        self._since_us = since_us
        self._not_before = time.monotonic() + (time.monotonic() - begin) / _SHARE
        return new[::-1]

    def watches(self, received_us: int) -> bool:
        """Would the trace of a request of that time be noticed?"""
        return moment(received_us)[:10] in self._days() and received_us >= self._since_us

    def known(self, file: TraceFile) -> None:
        """Somebody has found it otherwise: it is not new any more."""
        self._known.add(file.file)

    def _unknown(self, files: list[TraceFile], now_us: int) -> Iterator[TraceFile]:
        seen, first, last = map(moment, (self._since_us, now_us - _FRESH_US, now_us + _FRESH_US))
        for file in files:
            if file.file in self._known or file.file in self._before_leap:
                continue
            # Without a folder no day is known of it.
            if "/" not in file.file or file.file >= seen or first <= file.file < last:
                yield file

    def _has_changed(self) -> bool:
        changed = {day: _changed_ns(self._folder.root / day) for day in self._days()}
        if changed == self._changed:
            return False
        # A file may come after the listing within the same tick of the folder's clock.
        settled = max(changed.values()) < time.time_ns() - _TICK_NS
        self._changed = changed if settled else {}
        return True

    def _days(self) -> set[str]:
        now = datetime.fromtimestamp(time.time(), UTC)
        return {f"{now - timedelta(days=ago):%Y-%m-%d}" for ago in (0, 1, 2)}


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0
