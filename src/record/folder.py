"""The traces of a folder: found by their names, newest first, and read as far as is needed.

    traces/2026-11-21/101112.123456Z_<ULID>_openai_gpt-4o_200.json

Files that lie in the folder itself, such as copies of a few, count too. What is written meanwhile
is seen or not; what is deleted meanwhile is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..utils.ulid import ALPHABET
from .row import Document, Row, row_of
from .skeleton import loads, skeleton

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_NAME = re.compile(r"(\d{6}\.\d{6})Z_([0-9A-HJKMNP-TV-Z]{26})_.+\.json")
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{1,26}")
_ID_TIME = 10  # characters of a ULID that are its milliseconds


@dataclass(slots=True, frozen=True)
class TraceFile:
    """One file. `file`: its path below the folder, with slashes."""

    file: str
    id: str


class Folder:
    """A folder of traces. `skipped`: files that look like traces and are none, found so far.

    Everything raises OSError where the folder cannot be listed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.skipped: list[str] = []

    def files(
        self, since_us: int | None = None, until_us: int | None = None
    ) -> Iterator[TraceFile]:
        """The files received in [since, until), microseconds since 1970; newest first."""
        since = moment(since_us) if since_us is not None else ""
        until = moment(until_us) if until_us is not None else "~"
        top = _names(self.root)
        for day in sorted(filter(_DAY.fullmatch, top), reverse=True):
            if since[:10] <= day <= until[:10]:
                yield from self._day(day, since, until)
        for name in sorted(top, reverse=True):  # no day is known of these
            if found := _NAME.fullmatch(name):
                yield TraceFile(name, found[2])

    def _day(self, day: str, since: str, until: str) -> Iterator[TraceFile]:
        try:
            names = _names(self.root / day)
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in sorted(names, reverse=True):
            if found := _NAME.fullmatch(name):
                if since <= f"{day}/{found[1]}" < until:
                    yield TraceFile(f"{day}/{name}", found[2])
            elif name.endswith(".json"):
                self.skipped.append(f"{day}/{name}")

    def find(self, beginning: str) -> list[TraceFile]:
        """The traces whose id is this or begins so, newest first. The days that the id can be of
        are looked through, all of them only where that finds nothing."""
        wanted = beginning.upper()
        if not _ID.fullmatch(wanted):
            return []
        since, until = _made_between(wanted)
        found = [file for file in self.files(since, until) if file.id.startswith(wanted)]
        return found or [file for file in self.files() if file.id.startswith(wanted)]

    def find_ending(self, end: str) -> list[TraceFile]:
        """The traces whose id ends so, newest first: all files are looked through."""
        wanted = end.upper()
        return [file for file in self.files() if file.id.endswith(wanted)]

    def read(self, file: TraceFile) -> bytes | None:
        """The file's bytes; None if it is gone or cannot be read."""
        try:
            return (self.root / file.file).read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            self.skipped.append(file.file)
            return None

    def document(self, file: TraceFile) -> Document | None:
        """The whole trace; None if it is gone or none."""
        data = self.read(file)
        try:
            return loads(data) if data is not None else None
        except (ValueError, TypeError):
            self.skipped.append(file.file)
            return None

    def row(self, file: TraceFile, data: bytes | None = None) -> Row | None:
        """Its row, read without the large parts; None if it is gone or no trace."""
        data = self.read(file) if data is None else data
        if data is None:
            return None
        try:
            return row_of(skeleton(data), file.file)
        except (ValueError, TypeError, KeyError, AttributeError):
            self.skipped.append(file.file)
            return None


def moment(us: int) -> str:
    """Microseconds since 1970 as files are named: `2026-11-21/101112.123456`."""
    seconds, part = divmod(us, 1_000_000)
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%Y-%m-%d/%H%M%S}.{part:06d}"


def _names(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208 - names only: a Path each would take ten times as long


def _made_between(beginning: str) -> tuple[int, int]:
    """When ids that begin so were made: [from, until), microseconds since 1970. A second on either
    side, as an id may be a little ahead of its time."""
    bounds = []
    for filling in (ALPHABET[0], ALPHABET[-1]):
        ms = 0
        for char in beginning[:_ID_TIME].ljust(_ID_TIME, filling):
            ms = ms * 32 + ALPHABET.index(char)
        bounds.append(min(ms, _LATEST_MS) * 1000)
    return max(bounds[0] - 1_000_000, 0), bounds[1] + 1_001_000


_LATEST_MS = 253_402_300_790_000  # in the year 9999, the last that can be written
