"""A living proxy's journal, looked at from outside: which requests run, and how far they are.

Only files are read, by `pread`: nothing is mapped, locked or written, so neither the proxy nor its
recorder can notice. Both work on while we read:

- a record's length is stored last, so what was read before it was seen is read a second time;
- a segment that is worked off is renamed before it is emptied for use again: what was read counts
  only if the name still leads to the same file afterwards;
- a segment that went away unread may have held the ends of requests. No segment goes that a running
  request needs, so all that run are found by reading what there is from its beginning.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from .records import (
    END_OF_SEGMENT,
    GET_HEADER,
    HEADER_BYTES,
    LENGTH_AT,
    Answered,
    Finished,
    Kind,
    Opened,
)
from .segments import SUFFIX, segment_path

_BLOCK_BYTES = 1 << 18
_LENGTH = Struct("@I").unpack_from
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')
_MODEL_IN_PATH = re.compile(rb"/models/([^/:?]{1,200})")
_LOOKED_THROUGH = 1 << 16  # bytes at either end of a request's body that a model is looked for in
_DATA_LINE = b"\ndata:"

_Record = tuple[float, int, int, int, bytes]  # t, exchange, kind, mark, payload


@dataclass(slots=True)
class Live:
    """A request that runs. Times are monotonic seconds of this machine; `model` is what the
    request's body seems to ask for. `events`: the stream's lines of data so far."""

    opened: Opened
    model: str | None
    last: float
    request_bytes: int = 0
    response_bytes: int = 0
    events: int = 0
    answered: Answered | None = None
    finished: Finished | None = None
    end: bytes = b"\n"  # of the last chunk: a line may begin in it


class JournalFollower:
    """Follows one journal. `live`: the exchanges that are open or finished, by number, until
    `forget`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._segment = -1
        self._at = 0
        self._fd = -1
        self._gone = False
        self.live: dict[int, Live] = {}

    def poll(self) -> None:
        """Read what has come. Raises OSError where the journal cannot be read."""
        self._gone = False
        self._read_on()
        if self._gone:
            self.live.clear()
            self._leave(-1)
            self._read_on()

    def forget(self, number: int) -> None:
        """It is over and has been told."""
        self.live.pop(number, None)

    def close(self) -> None:
        """Let go of the file."""
        self._leave(self._segment)

    def _read_on(self) -> None:
        while self._fd >= 0 or self._enter():
            records, at, closed = self._records()
            if not self._is_still_there():
                self._gone = True
                self._leave(self._segment)
                continue
            for record in records:
                with contextlib.suppress(ValueError, TypeError, EOFError):  # another version's
                    self._take(*record)
            read_on, self._at = at > self._at, at
            if closed:
                self._leave(self._segment)
            elif not read_on:
                return

    # --- segments --------------------------------------------------------------------------

    def _enter(self) -> bool:
        """Open the next segment; False if there is none."""
        names = os.listdir(self._directory)  # noqa: PTH208  names only
        numbers = sorted(int(name[: -len(SUFFIX)]) for name in names if name.endswith(SUFFIX))
        for number in numbers:
            if number > self._segment:
                with contextlib.suppress(FileNotFoundError):
                    path = self._path(number)
                    self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    self._segment, self._at = number, 0
                    return True
        return False

    def _leave(self, segment: int) -> None:
        self._segment = segment
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _is_still_there(self) -> bool:
        try:
            return self._path(self._segment).stat().st_ino == os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False

    def _path(self, number: int) -> Path:
        return segment_path(self._directory, number)

    # --- records ---------------------------------------------------------------------------

    def _records(self) -> tuple[list[_Record], int, bool]:
        """The next of them, where the one after them begins, and whether the segment ends there."""
        block = os.pread(self._fd, _BLOCK_BYTES, self._at)
        places, end, closed = _walk(block)
        block = os.pread(self._fd, min(end, _BLOCK_BYTES), self._at)
        records = []
        for place in places:
            t, number, kind, mark, length = GET_HEADER(block, place)
            payload = block[place + HEADER_BYTES : place + length]
            if len(payload) < length - HEADER_BYTES:
                at = self._at + place + HEADER_BYTES
                payload = os.pread(self._fd, length - HEADER_BYTES, at)
            records.append((t, number, kind, mark, payload))
        at = self._at + end
        if not closed:
            closed = at + HEADER_BYTES > os.fstat(self._fd).st_size
        return records, at, closed

    def _take(self, t: float, number: int, kind: int, mark: int, payload: bytes) -> None:
        if kind == Kind.OPEN:
            if not mark:  # else the recorder is done with it
                self.live[number] = _begun(t, payload)
            return
        live = self.live.get(number)
        if live is None:
            return
        live.last = t
        if kind in (Kind.RESPONSE_CHUNK, Kind.RESPONSE_MASKED):
            live.response_bytes += len(payload)
            joined = live.end + payload
            live.events += joined.count(_DATA_LINE)
            live.end = joined[-len(_DATA_LINE) + 1 :]
        elif kind in (Kind.REQUEST_CHUNK, Kind.REQUEST_MASKED):
            live.request_bytes += len(payload)
            live.model = live.model or _model_in(payload)
        elif kind == Kind.RESPONSE_HEAD:
            live.answered = Answered(*marshal.loads(payload))  # noqa: S302  see reading._load
        elif kind == Kind.FINISH:
            live.finished = Finished(*marshal.loads(payload))  # noqa: S302


def _walk(block: bytes) -> tuple[list[int], int, bool]:
    """Where records begin whose length is there, where the last of them ends, and whether the end
    of the segment follows."""
    places: list[int] = []
    at = 0
    while at + HEADER_BYTES <= len(block):
        (length,) = _LENGTH(block, at + LENGTH_AT)
        if length in (0, END_OF_SEGMENT) or length < HEADER_BYTES:
            return places, at, length == END_OF_SEGMENT
        places.append(at)
        at = at + length + 7 & ~7
    return places, at, False


def _begun(t: float, payload: bytes) -> Live:
    opened = Opened(*marshal.loads(payload))  # noqa: S302  our own file, in a folder only we enter
    body = opened.body or b""
    found = _MODEL_IN_PATH.search(opened.target)
    model = found[1].decode("utf-8", "replace") if found else _model_in(body)
    return Live(opened, model, t, len(body))


def _model_in(body: bytes) -> str | None:
    """What the body seems to ask for, until it is known."""
    found = _MODEL.search(body, 0, _LOOKED_THROUGH) or _MODEL.search(
        body, max(len(body) - _LOOKED_THROUGH, 0)
    )
    return found[1].decode("utf-8", "replace") if found else None


class FolderFollower:
    """All journals of a trace folder whose proxies live."""

    def __init__(self, trace_dir: Path) -> None:
        self._root = trace_dir / ".journal"
        self._journals: dict[str, JournalFollower] = {}

    def poll(self) -> dict[str, Live]:
        """What runs, or is finished and not forgotten, by id."""
        names = {name for name in _names(self._root) if _lives(name)}
        for name in self._journals.keys() - names:
            self._journals.pop(name).close()
        found: dict[str, Live] = {}
        for name in names:
            journal = self._journals.setdefault(name, JournalFollower(self._root / name))
            with contextlib.suppress(FileNotFoundError):  # it is being removed
                journal.poll()
            found |= {live.opened.id: live for live in journal.live.values()}
        return found

    def forget(self, ids: set[str]) -> None:
        """These are over and have been told."""
        for journal in self._journals.values():
            for number in [n for n, live in journal.live.items() if live.opened.id in ids]:
                journal.forget(number)

    def close(self) -> None:
        """Let go of all files."""
        for journal in self._journals.values():
            journal.close()


def _names(folder: Path) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from os.listdir(folder)  # noqa: PTH208  names only


def _lives(name: str) -> bool:
    """Journals are named after their process: `4711-<ULID>`."""
    pid = name.partition("-")[0]
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
