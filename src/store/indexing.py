"""Makes the store from the files: every trace that is there becomes its row, rows without go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from . import schema
from .engine import StoreError, open_engine, store_url
from .feeding import AWAY, summary
from .items import Drop
from .loading import BATCH_ROWS, Loaded, load_some
from .tables import records
from .writing import Writer

_DAY = re.compile(r"\d{4}-\d\d-\d\d$")
_BUSY_S = 60.0  # a feeder beside us writes too
_AT_ONCE = 5000
_FEW = 100  # may go, whatever share of all they are

Progress = Callable[[int, int, float], None]
"""Done, of how many, how many a second."""


@dataclass(slots=True)
class Indexed:
    """What was done."""

    files: int = 0
    written: int = 0
    same: int = 0
    removed: int = 0
    unread: int = 0


async def index(
    trace_dir: Path, database_url: str | None, progress: Progress, *, remove_most: bool = False
) -> Indexed:
    """Bring the store in line with the folder. Raises StoreError, OSError of what cannot be read.

    A folder that is away, or empty as where a disk is not mounted, or not the one that these rows
    are of, takes no row with it: more than half of them go with `remove_most` alone.
    """
    files = list(trace_files(trace_dir))
    engine = open_engine(store_url(database_url, trace_dir), writes=True, busy_s=_BUSY_S)
    try:
        await schema.upgrade(engine)
        indexing = _Indexing(engine, trace_dir, progress)
        await indexing.write(files)
        await indexing.remove(await indexing.gone(all_of_them=remove_most))
        return indexing.done
    except AWAY as error:
        raise StoreError(f"the store cannot be written: {summary(error)}") from error
    finally:
        await engine.dispose()


class _Indexing:
    def __init__(self, engine: AsyncEngine, trace_dir: Path, progress: Progress) -> None:
        self._engine = engine
        self._writer = Writer(engine)
        self._trace_dir = trace_dir
        self._progress = progress
        self.done = Indexed()

    async def write(self, files: list[str]) -> None:
        """The rows of the files that are there."""
        began = time.monotonic()
        start = 0
        while start < len(files):
            some = [(file, False) for file in files[start : start + BATCH_ROWS]]
            loaded = await asyncio.to_thread(load_some, self._trace_dir, some)
            await self._write(loaded)
            start += loaded.taken
            self._progress(start, len(files), start / max(time.monotonic() - began, 1e-3))

    async def _write(self, loaded: Loaded) -> None:
        written, _ = await self._writer.apply(loaded.items)
        done = self.done
        done.files += loaded.taken
        done.unread += loaded.taken - len(loaded.items)
        done.written += written
        done.same += len(loaded.items) - written

    async def gone(self, *, all_of_them: bool) -> list[Drop]:
        """The rows without a file. Raises StoreError where these are too many to be believed."""
        gone: list[Drop] = []
        rows = 0
        async for some in self._rows():
            rows += len(some)
            # One by one, not in the list made before: traces have come since.
            gone += [row for row in some if not (self._trace_dir / row.file).exists()]
        if gone and not self._trace_dir.exists():
            raise StoreError(f"{self._trace_dir}: the folder is away; no row was removed")
        if len(gone) > max(_FEW, rows // 2) and not all_of_them:
            raise StoreError(
                f"{len(gone):,} of {rows:,} rows have no file in {self._trace_dir}, as if it were"
                " another's or its disk were away: they stay; if they are to go, add --remove-most"
            )
        return gone

    async def remove(self, gone: list[Drop]) -> None:
        """These rows."""
        for start in range(0, len(gone), _AT_ONCE):
            _, removed = await self._writer.apply(gone[start : start + _AT_ONCE])
            self.done.removed += removed

    async def _rows(self) -> AsyncIterator[list[Drop]]:
        """All that could go, a part at a time."""
        last = -1
        while True:
            query = select(records.c.seq, records.c.id, records.c.file)
            query = query.where(records.c.seq > last).order_by(records.c.seq).limit(_AT_ONCE)
            async with self._engine.connect() as connection:
                rows = (await connection.execute(query)).all()
            if not rows:
                return
            last = rows[-1].seq
            yield [Drop(row.id, row.file) for row in rows]


def trace_files(trace_dir: Path) -> Iterator[str]:
    """Paths below the folder, newest first. Raises OSError."""
    for day in sorted(filter(_DAY.match, os.listdir(trace_dir)), reverse=True):  # noqa: PTH208
        with contextlib.suppress(FileNotFoundError):  # retention has taken the day
            for name in sorted(os.listdir(trace_dir / day), reverse=True):  # noqa: PTH208
                if name.endswith(".json"):
                    yield f"{day}/{name}"
