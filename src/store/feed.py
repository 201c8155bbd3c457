"""Feeds the store from the spools: their lines become items, these are written in batches.

.store/<recorder>.<n>.todo ── lines past the stored offset ── trace files ── Writer.apply
            └─ read to its end, its recorder gone: removed
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from ..record.conversation import conversation_of
from ..record.row import row_of
from ..record.texts import texts_of
from ..tracing.spool import STORE_FOLDER, SUFFIX
from .items import Drop, Item, Put
from .tables import spools
from .writing import Writer

log = logging.getLogger("llmtap.store")

BATCH_ROWS = 2000
"""The more rows are written together, the fewer pages are written for each."""
_BATCH_BYTES = 32 << 20  # of trace files read for one batch
_READ_BYTES = 256 << 10


@dataclass(slots=True, frozen=True)
class Line:
    """One line of a spool. `end`: the offset behind it."""

    file: str
    gone: bool
    end: int


@dataclass(slots=True, frozen=True)
class Batch:
    """Lines of a spool from `start` to `end`, and what they say. `full`: there may be more."""

    start: int
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
        self._ahead: dict[str, asyncio.Task[Batch]] = {}
        self.rows = 0
        self.behind = False

    def forget(self) -> None:
        """After a failure: what was read is asked of the database again."""
        self._offsets = None
        self._ahead.clear()

    async def step(self) -> int:
        """A batch of each spool; the most lines of one. `behind`: more are there. Raises
        SQLAlchemyError, OSError."""
        if self._offsets is None:
            self._offsets = await self._stored()
        most, self.behind = 0, False
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
        if batch.full:  # the next is read while this is written
            self._ahead[name] = asyncio.create_task(self._read_later(name, batch.end))
        written, _ = await self._writer.apply(batch.items, {name: batch.end})
        self._offsets[name] = batch.end
        self.rows += written
        return batch.lines

    async def _next(self, name: str, offset: int) -> Batch:
        ahead = self._ahead.pop(name, None)
        if ahead is not None:
            batch = await ahead
            if batch.start == offset and batch.end > offset:
                return batch
        return await self._read_later(name, offset)

    async def _read_later(self, name: str, offset: int) -> Batch:
        if self._size(name) <= offset:
            return Batch(offset, offset, 0, full=False, items=[])
        return await asyncio.to_thread(self._read, name, offset)

    def _read(self, name: str, offset: int) -> Batch:
        items: list[Item] = []
        count, size, end = 0, 0, offset
        full = False
        for line in read_lines(self._folder / name, offset):
            if line.gone:
                items += dropped(line.file)
            else:
                item, read = load(self._trace_dir, line.file)
                items += [item] if item is not None else []
                size += read
            count += 1
            end = line.end
            full = count == BATCH_ROWS or size > _BATCH_BYTES
            if full:
                break
        return Batch(offset, end, count, full, items)

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


def load(trace_dir: Path, file: str) -> tuple[Item | None, int]:
    """The item of a trace file, and its size in bytes. None: it is gone, or no trace."""
    if not _is_plain(file):
        return None, 0
    try:
        data = (trace_dir / file).read_bytes()
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("a trace cannot be read: %s", error)
        return None, 0
    try:
        document = orjson.loads(data)
        item = Put(row_of(document, file), texts_of(conversation_of(document)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s is no trace: %s", file, type(error).__name__)
        return None, len(data)
    return item, len(data)


def dropped(file: str) -> Iterator[Drop]:
    """The item of a trace that was deleted."""
    parts = file.split("_")
    if _is_plain(file) and len(parts) > 1:
        yield Drop(parts[1], file)


def _is_plain(file: str) -> bool:
    """`day/name.json`: a spool is nothing to be led elsewhere by."""
    day, _, name = file.partition("/")
    return name.endswith(".json") and "/" not in name and day[:1].isdigit()
