"""What was said, in each database's own full-text index.

SQLite's (`said`) keeps no texts, and has to be told them again to forget them: `texts` has them,
squeezed. Postgres keeps only tsvectors, which it forgets with their rows.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import orjson
import zstandard
from sqlalchemy import ColumnClause, bindparam, func, insert, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from .many import among, insert_rows
from .tables import PARTS, squeezed_texts, tsvector_texts
from .upserting import is_sqlite

Said = tuple[int, tuple[str, ...]]
"""A row's `seq`, and its parts in the order of `PARTS`."""
_NO_WORDS = re.compile(r"[\W_]+")
_NO_ASCII_WORDS = {code: " " for code in range(128) if not chr(code).isalnum()}
_FORGOTTEN_AT_ONCE = 20  # each may be three million characters
_LEVEL = 3  # for a few KB as small as zlib's first, in half the time
_COLUMNS = ", ".join(PARTS)
_PLACES = ", ".join("?" * len(PARTS))
_SAY = f"INSERT INTO said(rowid, {_COLUMNS}) VALUES (?, {_PLACES})"  # noqa: S608  our own names
_FORGET = f"INSERT INTO said(said, rowid, {_COLUMNS}) VALUES ('delete', ?, {_PLACES})"  # noqa: S608
_SIMPLE: ColumnClause[str] = literal_column("'simple'")
_VECTORS = {part: func.to_tsvector(_SIMPLE, bindparam(f"{part}_")) for part in PARTS}
_SAY_POSTGRES = insert(tsvector_texts).values(seq=bindparam("seq_"), **_VECTORS)


class Sayer:
    """Adds to the index and takes from it; for one writer."""

    def __init__(self) -> None:
        self._squeezer = zstandard.ZstdCompressor(level=_LEVEL)  # made once: that takes longest

    async def say(self, connection: AsyncConnection, said: Sequence[Said]) -> None:
        """Index these. Postgres those that say nothing too: whoever does not say a word is among
        them."""
        if not is_sqlite(connection):
            await insert_rows(
                connection, _SAY_POSTGRES, [_worded(seq, parts) for seq, parts in said]
            )
            return
        said = [(seq, parts) for seq, parts in said if any(parts)]
        if not said:
            return
        await connection.exec_driver_sql(_SAY, [(seq, *parts) for seq, parts in said])
        squeeze = self._squeezer.compress
        rows = [(seq, squeeze(orjson.dumps(parts))) for seq, parts in said]
        await insert_rows(connection, insert(squeezed_texts), rows)

    async def forget(self, connection: AsyncConnection, seqs: Sequence[int]) -> None:
        """Take these out of the index, before their texts go."""
        if not is_sqlite(connection):
            return
        some = select(squeezed_texts).where(among(connection, squeezed_texts.c.seq, seqs))
        async with connection.stream(some) as found:
            async for part in found.partitions(_FORGOTTEN_AT_ONCE):
                rows = [(seq, *_unsqueezed(data)) for seq, data in part]
                await connection.exec_driver_sql(_FORGET, rows)


def _unsqueezed(data: bytes) -> list[str]:
    """Earlier versions wrote zlib's form, whose first byte is no Zstandard's."""
    squeezed = data.startswith(zstandard.FRAME_HEADER)
    written = zstandard.decompress(data) if squeezed else zlib.decompress(data)
    parts: list[str] = orjson.loads(written)
    return parts


def _worded(seq: int, parts: Sequence[str]) -> tuple[object, ...]:
    """Words alone, apart by blanks: Postgres's parser would take `src/main.py` for one word."""
    return (seq, *map(_words, parts))


def _words(text: str) -> str:
    # A translation of ASCII takes a twentieth of the expression's time.
    return text.translate(_NO_ASCII_WORDS) if text.isascii() else _NO_WORDS.sub(" ", text)
