"""Feeds the store from the spools: their lines become items, these are written in batches.

.store/<recorder>.<n>.todo ── lines past the stored offset ── trace files ── Writer.apply
            └─ read to its end, its recorder gone: removed
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from ..tracing.spool import STORE_FOLDER, SUFFIX
from .items import Item
from .loading import BATCH_ROWS, load_some
from .tables import spools
from .writing import Writer

_READ_BYTES = 256 << 10


@dataclass(slots=True, frozen=True)
class Line:
    """One line of a spool. `end`: the offset behind it."""

    file: str
    gone: bool
    end: int


@dataclass(slots=True, frozen=True)
class Batch:
    """Lines of a spool up to `end`, and what they say. `full`: there may be more."""

    end: int
    lines: int
    full: bool
    items: list[Item]


class Feed:
    """Works off the spools of one trace folder."""

    def __init__(self, engine: AsyncEngine, trace_dir: Path) -> None:
        self._engine = engine
        self._writer = Writer(engine)
        self._trace_dir = trace_dir
        self._folder = trace_dir / STORE_FOLDER
        self._offsets: dict[str, int] | None = None
        # A server writes while we read on. SQLite writes in this process: there the two would wait
        # for the interpreter's lock, and be slower than one after the other.
        self._reads_ahead = engine.url.get_backend_name() != "sqlite"
        self._ahead: dict[str, tuple[int, asyncio.Task[Batch]]] = {}
        self.rows = 0
        self.behind = False

    def forget(self) -> None:
        """After a failure: what was read is asked of the database again."""
        self._offsets = None
        for _, reading in self._ahead.values():  # an error of one nobody waits for is no news
            reading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._ahead.clear()

    async def step(self) -> int:
        """A batch of each spool; the most lines of one. `behind`: more are there. Raises
        SQLAlchemyError, OSError."""
        most, self.behind = 0, False
        if not self._folder.is_dir():
            if not self._trace_dir.is_dir():
                return 0  # moved away, perhaps to come back
            self._folder.mkdir(mode=0o700)
            self.forget()  # the database may be gone with it
        if self._offsets is None:
            self._offsets = await self._stored()
        for name in self._names():
            most = max(most, await self._step(name))
        return most

    def waiting(self) -> bool:
        """Does any spool have lines that are not in the store yet?"""
        offsets = self._offsets or {}
        return any(self._size(name) > offsets.get(name, 0) for name in self._names())

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._folder.glob(f"*{SUFFIX}"))

    def _size(self, name: str) -> int:
        try:
            return (self._folder / name).stat().st_size
        except FileNotFoundError:
            return 0

    async def _stored(self) -> dict[str, int]:
        async with self._engine.connect() as connection:
            found = await connection.execute(select(spools.c.name, spools.c.offset))
            return {name: offset for name, offset in found.all()}  # noqa: C416  rows are no pairs

    async def _step(self, name: str) -> int:
        assert self._offsets is not None  # noqa: S101  step has asked for them
        offset = self._offsets.get(name, 0)
        batch = await self._next(name, offset)
        if batch.end == offset:
            await self._remove(name)
            return 0
        self.behind = self.behind or batch.full
        written, _ = await self._writer.apply(batch.items, {name: batch.end})
        self._offsets[name] = batch.end
        self.rows += written
        return batch.lines

    async def _next(self, name: str, offset: int) -> Batch:
        begun, ahead = self._ahead.pop(name, (-1, None))
        if ahead is None or begun != offset:
            ahead = self._reading(name, offset)
        batch = await ahead
        if batch.full and self._reads_ahead and not self._ahead:  # one: each is tens of megabytes
            self._ahead[name] = batch.end, self._reading(name, batch.end)
        return batch

    def _reading(self, name: str, offset: int) -> asyncio.Task[Batch]:
        return asyncio.create_task(asyncio.to_thread(self._read, name, offset))

    def _read(self, name: str, offset: int) -> Batch:
        lines = read_lines(self._folder / name, offset) if self._size(name) > offset else []
        told = [(line.file, line.gone) for line in lines]
        found = load_some(self._trace_dir, told)
        end = lines[found.taken - 1].end if found.taken else offset
        return Batch(end, found.taken, found.full, found.items)

    async def _remove(self, name: str) -> None:
        """A spool that is worked off, unless its recorder may still add to it. Forgotten first:
        should we die in between, it is read again, and changes nothing."""
        path = self._folder / name
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _has_line(fd, (self._offsets or {}).get(name, 0)):
                async with self._engine.begin() as connection:
                    await connection.execute(delete(spools).where(spools.c.name == name))
                path.unlink(missing_ok=True)
                (self._offsets or {}).pop(name, None)
        except BlockingIOError:
            return  # its recorder lives
        finally:
            os.close(fd)


def _has_line(fd: int, offset: int) -> bool:
    """Has more come since we looked? It is locked only now."""
    return b"\n" in os.pread(fd, _READ_BYTES, offset)


def read_lines(path: Path, offset: int) -> list[Line]:
    """The whole lines from there on, at most a batch of them."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(_READ_BYTES)
    except FileNotFoundError:
        return []
    lines: list[Line] = []
    for raw in data.splitlines(keepends=True):
        if not raw.endswith(b"\n") or len(lines) == BATCH_ROWS:
            break
        offset += len(raw)
        text = raw[:-1].decode("utf-8", "replace")
        lines.append(Line(text.removeprefix("-"), text.startswith("-"), offset))
    return lines
