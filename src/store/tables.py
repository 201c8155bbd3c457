"""The store's tables, as the newest migration leaves them.

records ─┬─ labels   a row for each tag and tool: (kind, value, seq)
         └─ texts    what was said: SQLite keeps it squeezed beside an index (`said`), which needs
                     it again to forget it; Postgres keeps only tsvectors, for every record
rollups   sums and histograms by hour, for stats
sessions  the same for each session, and for each (session, key), of all time
names     the distinct values of columns with few     spools    how far each spool has been read

`seq` is a row's place in time: microseconds since 1970 times 1024 and a number that tells rows of
the same microsecond apart. As SQLite's rowid it makes every index one by (column, time), and the
full-text index answer newest first.
"""

from __future__ import annotations

from typing import Any, get_type_hints

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.types import TypeEngine

from ..record.row import Row

SEQ_STEP = 1024
_TYPES = {name: hint for name, hint in get_type_hints(Row).items() if name != "received_us"}
ROW_COLUMNS = tuple(_TYPES)
"""The columns of `records` that are a row's own; its time is in `seq`."""


def _of(kind: type) -> tuple[str, ...]:
    return tuple(name for name, hint in _TYPES.items() if hint in (kind, kind | None))


PLAIN_COLUMNS = ("file", "error_message", "usage_source", "cost_source", "key_fingerprint")
TEXT_COLUMNS = tuple(name for name in _of(str) if name not in PLAIN_COLUMNS)
"""Filtered as texts, case-insensitive: NOCASE in SQLite, by lower(…) in Postgres."""
FLOAT_COLUMNS = _of(float)
BINNED_COLUMNS = (
    *FLOAT_COLUMNS,
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "reasoning_tokens",
)
"""Of nearly as many values as rows. Each has a column of bins beside it (`bin_name`), and that one
is indexed: an index of the values themselves is written all over for every row that comes."""
LIST_COLUMNS = {"tags": "tag", "tools": "tool"}
"""Columns of lists, as JSON, and the kind of their members in `labels`."""
PARTS = ("system", "messages", "tool_calls", "tool_results", "thinking", "answer")

metadata = MetaData()

BIG: TypeEngine[int] = BigInteger().with_variant(Integer, "sqlite")
FOLDED: TypeEngine[str] = (
    Text()
    .with_variant(String(collation="NOCASE"), "sqlite")
    .with_variant(Text(collation="C"), "postgresql")
)
EXACT: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")


def _column(name: str) -> Column[Any]:  # of many kinds
    kind: TypeEngine[Any] = FOLDED if name in TEXT_COLUMNS else EXACT
    if name in _of(int):
        kind = BigInteger()
    elif name in FLOAT_COLUMNS:
        kind = Float()
    elif name in _of(bool):
        kind = Boolean()
    return Column(name, kind)


def bin_name(name: str) -> str:
    """The column of the bins of one of BINNED_COLUMNS; `binning.bin_of` makes them."""
    return f"{name}_bin"


records = Table(
    "records",
    metadata,
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False),
    *map(_column, ROW_COLUMNS),
    *(Column(bin_name(name), SmallInteger) for name in BINNED_COLUMNS),
)
labels = Table(
    "labels",
    metadata,
    Column("kind", EXACT, primary_key=True),
    Column("value", FOLDED, primary_key=True),
    Column("seq", BIG, primary_key=True),
)
squeezed_texts = Table(
    "texts",
    metadata,
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("squeezed", LargeBinary, nullable=False),
)
"""SQLite's."""
tsvector_texts = Table(
    "texts",
    MetaData(),
    Column("seq", BIG, primary_key=True, autoincrement=False),
    *(Column(part, TSVECTOR) for part in PARTS),
)
"""Postgres's."""
SUMS = (
    "requests",
    "errors",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_pico_usd",
    "priced",
)
rollups = Table(
    "rollups",
    metadata,
    Column("scope", EXACT, primary_key=True),
    Column("dimension", EXACT, primary_key=True),
    Column("hour", BIG, primary_key=True),
    Column("value", EXACT, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in SUMS),
    Column("durations", LargeBinary, nullable=False),
    Column("ttfts", LargeBinary, nullable=False),
)
sessions = Table(
    "sessions",
    metadata,
    Column("session_id", EXACT, primary_key=True),
    Column("owner", EXACT, primary_key=True),
    Column("first_seq", BIG, nullable=False),
    Column("last_seq", BIG, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in SUMS),
    Column("durations", LargeBinary, nullable=False),
    Column("ttfts", LargeBinary, nullable=False),
)
names = Table(
    "names",
    metadata,
    Column("column", EXACT, primary_key=True),
    Column("value", EXACT, primary_key=True),
)
spools = Table(
    "spools",
    metadata,
    Column("name", EXACT, primary_key=True),
    Column("offset", BigInteger, nullable=False),
)
