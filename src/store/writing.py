"""Writes batches into the store: rows, texts, labels, sums, and how far the spool was read, all in
one transaction.

    items ── what is there already? ── unchanged: nothing
                                    └─ changed, gone: take out ── new: put in ── sums ── spool
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Row as Result
from sqlalchemy import bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .items import Drop, Item, Put, unsqueezed
from .names import Names
from .rollups import SUMMED, Change
from .summing import add_up
from .tables import PARTS, labels, records, spools, squeezed_texts, tsvector_texts

_WORDS = re.compile(r"[\W_]+")
_MANY = 500  # parameters of one IN, which SQLite bounds
_WAS = ("id", "seq", "digest", "file", *SUMMED)
_OLD = select(*(records.c[name] for name in _WAS))


class Writer:
    """Writes into one store; one at a time, whoever else writes waits."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._sqlite = engine.url.get_backend_name() == "sqlite"
        self._names = Names()

    async def apply(
        self, items: Iterable[Item], read: Mapping[str, int] | None = None
    ) -> tuple[int, int]:
        """Make it so that each trace has one row, or none if it was dropped; rows written and
        taken out. `read`: the spools these came from, and how far they are done.

        Of several items of one trace the last counts. Raises SQLAlchemyError, and has then done
        nothing.
        """
        wanted = {item.id: item for item in items}
        try:
            async with self._engine.begin() as connection:
                done = await self._apply(connection, wanted)
                for name, offset in (read or {}).items():
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
        if self._sqlite:
            await _forget_said(connection, seqs)
        for table in (squeezed_texts, labels, records):
            for part in _split(seqs):
                await connection.execute(delete(table).where(table.c.seq.in_(part)))

    # --- in ---

    async def _put_in(
        self, connection: AsyncConnection, new: Sequence[Put], seqs: Sequence[int]
    ) -> None:
        if not new:
            return
        pairs = list(zip(new, seqs, strict=True))
        await connection.execute(insert(records), [put.columns(seq) for put, seq in pairs])
        members = [row for put, seq in pairs for row in put.labels(seq)]
        if members:
            await connection.execute(insert(labels), members)
        said = [(seq, put) for put, seq in pairs if any(put.parts)]
        if said and self._sqlite:
            await _say_sqlite(connection, said)
        elif said:
            await _say_postgres(connection, said)


def _goes(item: Item, known: Mapping[str, Result[Any]]) -> bool:
    return isinstance(item, Drop) and item.id in known and known[item.id].file == item.file


async def _known(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Result[Any]]:
    found: dict[str, Result[Any]] = {}
    for part in _split(ids):
        for row in await connection.execute(_OLD.where(records.c.id.in_(part))):
            found[row.id] = row
    return found


async def _places(connection: AsyncConnection, new: Sequence[Put]) -> list[int]:
    """A free `seq` for each."""
    wanted = [put.first_seq() for put in new]
    taken: set[int] = set()
    for part in _split(wanted):
        found = await connection.scalars(select(records.c.seq).where(records.c.seq.in_(part)))
        taken.update(found)
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


_COLUMNS = ", ".join(PARTS)
_VALUES = ", ".join(f":{part}" for part in PARTS)
_SAID = f"(rowid, {_COLUMNS}) VALUES (:seq, {_VALUES})"
_SAY = text(f"INSERT INTO said{_SAID}")
_TOLD = f"(said, rowid, {_COLUMNS}) VALUES ('delete', :seq, {_VALUES})"
_FORGET = text(f"INSERT INTO said{_TOLD}")


async def _say_sqlite(connection: AsyncConnection, said: Sequence[tuple[int, Put]]) -> None:
    await connection.execute(_SAY, [_named(seq, put.parts) for seq, put in said])
    rows = [{"seq": seq, "squeezed": put.squeezed} for seq, put in said]
    await connection.execute(insert(squeezed_texts), rows)


async def _forget_said(connection: AsyncConnection, seqs: Sequence[int]) -> None:
    """FTS5 without content has to be told what it is to forget."""
    for part in _split(seqs):
        query = select(squeezed_texts).where(squeezed_texts.c.seq.in_(part))
        found = (await connection.execute(query)).all()
        if found:
            rows = [_named(seq, unsqueezed(data)) for seq, data in found]
            await connection.execute(_FORGET, rows)


def _named(seq: int, parts: Sequence[str]) -> dict[str, object]:
    return {"seq": seq, **dict(zip(PARTS, parts, strict=True))}


async def _say_postgres(connection: AsyncConnection, said: Sequence[tuple[int, Put]]) -> None:
    """Words alone, apart by blanks: Postgres's parser would take `src/main.py` for one word."""
    vectors = {part: func.to_tsvector("simple", bindparam(f"{part}_")) for part in PARTS}
    query = insert(tsvector_texts).values(seq=bindparam("seq_"), **vectors)
    rows: list[dict[str, object]] = []
    for seq, put in said:
        pairs = zip(PARTS, put.parts, strict=True)
        words = {f"{part}_": _WORDS.sub(" ", text) for part, text in pairs}
        rows.append({"seq_": seq, **words})
    await connection.execute(query, rows)


async def _keep_offset(connection: AsyncConnection, name: str, offset: int) -> None:
    done = await connection.execute(
        update(spools).where(spools.c.name == name).values(offset=offset)
    )
    if not done.rowcount:
        await connection.execute(insert(spools).values(name=name, offset=offset))


T = TypeVar("T")


def _split(values: Sequence[T]) -> Iterable[Sequence[T]]:
    return (values[at : at + _MANY] for at in range(0, len(values), _MANY))
