"""Writes batches into the store: rows, texts, labels, sums, and how far the spool was read, all in
one transaction.

    items ── what is there already? ── unchanged: nothing
                                    └─ changed, gone: take out ── new: put in ── sums ── spool
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Row as Result
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .engine import is_about_values
from .items import Drop, Item, Put
from .many import among, insert_rows
from .names import Names
from .rollups import SUMMED, Change
from .saying import Sayer
from .summing import add_up
from .tables import labels, records, spools, squeezed_texts

log = logging.getLogger("llmtap.store")

_WAS = ("id", "seq", "digest", "file", *SUMMED)
_OLD = select(*(records.c[name] for name in _WAS))


class _RefusedError(Exception):
    """There is a value among these that the database, or its driver, does not take."""


class Writer:
    """Writes into one store; one at a time, whoever else writes waits."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._sayer = Sayer()
        self._names = Names()

    async def apply(
        self, items: Iterable[Item], read: Mapping[str, int] | None = None
    ) -> tuple[int, int]:
        """Make it so that each trace has one row, or none if it was dropped; rows written and
        taken out. `read`: the spools these came from, and how far they are done.

        Of several items of one trace the last counts. A row that the database cannot take is left
        out, for the others would wait for it for ever. Raises SQLAlchemyError, OSError where the
        database cannot be had; a part of the items may be in it then, but not `read`.
        """
        wanted = {item.id: item for item in items}
        return await self._apply_all(list(wanted.values()), read or {})

    async def _apply_all(self, items: Sequence[Item], read: Mapping[str, int]) -> tuple[int, int]:
        """All at once, or by halves until those that are refused stand alone."""
        try:
            return await self._apply_at_once(items, read)
        except _RefusedError as error:
            if not items:
                raise
            if len(items) == 1:
                text = "the store cannot take %s: %s"
                log.warning(text, items[0].file, type(error.__cause__).__name__)
                return await self._apply_all((), read)
        half = len(items) // 2
        first = await self._apply_all(items[:half], {})
        last = await self._apply_all(items[half:], read)
        return first[0] + last[0], first[1] + last[1]

    async def _apply_at_once(
        self, items: Sequence[Item], read: Mapping[str, int]
    ) -> tuple[int, int]:
        try:
            async with self._engine.begin() as connection:
                try:
                    done = await self._apply(connection, {item.id: item for item in items})
                except Exception as error:
                    if is_about_values(error):
                        raise _RefusedError from error
                    raise
                for name, offset in read.items():
                    await _keep_offset(connection, name, offset)
        except BaseException:
            self._names.forget()
            raise
        return done

    async def _apply(
        self, connection: AsyncConnection, wanted: Mapping[str, Item]
    ) -> tuple[int, int]:
        known = await _known(connection, list(wanted))
        new = [
            item
            for item in wanted.values()
            if isinstance(item, Put)
            and not (item.id in known and known[item.id].digest == item.digest)
        ]
        old = [known[item.id] for item in wanted.values() if _goes(item, known)]
        old += [known[item.id] for item in new if item.id in known]
        await self._take_out(connection, [row.seq for row in old])
        seqs = await _places(connection, new)
        await self._put_in(connection, new, seqs)
        changes = [Change.of_result(row) for row in old]
        changes += [
            Change.of_row(put.row, put.counted(), seq) for put, seq in zip(new, seqs, strict=True)
        ]
        await add_up(connection, changes)
        await self._names.note(connection, [put.row for put in new])
        return len(new), len(old)

    # --- out ---

    async def _take_out(self, connection: AsyncConnection, seqs: Sequence[int]) -> None:
        if not seqs:
            return
        await self._sayer.forget(connection, seqs)
        for table in (squeezed_texts, labels, records):
            await connection.execute(delete(table).where(among(connection, table.c.seq, seqs)))

    # --- in ---

    async def _put_in(
        self, connection: AsyncConnection, new: Sequence[Put], seqs: Sequence[int]
    ) -> None:
        if not new:
            return
        # In order: FTS5 writes out what it holds, a segment, before a rowid that is not greater.
        pairs = sorted(zip(new, seqs, strict=True), key=itemgetter(1))
        await insert_rows(connection, insert(records), [put.columns(seq) for put, seq in pairs])
        members = [row for put, seq in pairs for row in put.labels(seq)]
        await insert_rows(connection, insert(labels), members)
        await self._sayer.say(connection, [(seq, put.parts) for put, seq in pairs])


def _goes(item: Item, known: Mapping[str, Result[Any]]) -> bool:
    return isinstance(item, Drop) and item.id in known and known[item.id].file == item.file


async def _known(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Result[Any]]:
    query = _OLD.where(among(connection, records.c.id, ids))
    return {row.id: row for row in await connection.execute(query)}


async def _places(connection: AsyncConnection, new: Sequence[Put]) -> list[int]:
    """A free `seq` for each."""
    wanted = [put.first_seq() for put in new]
    query = select(records.c.seq).where(among(connection, records.c.seq, wanted))
    taken = set(await connection.scalars(query))
    places = []
    for seq in wanted:
        place = seq
        while place in taken or (place != seq and await _is_taken(connection, place)):
            place += 1
        taken.add(place)
        places.append(place)
    return places


async def _is_taken(connection: AsyncConnection, seq: int) -> bool:
    found = await connection.scalar(select(records.c.seq).where(records.c.seq == seq))
    return found is not None


async def _keep_offset(connection: AsyncConnection, name: str, offset: int) -> None:
    done = await connection.execute(
        update(spools).where(spools.c.name == name).values(offset=offset)
    )
    if not done.rowcount:
        await connection.execute(insert(spools).values(name=name, offset=offset))
