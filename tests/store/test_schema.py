"""The schema of an older store is brought up to date, with what is in it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from alembic import command
from sqlalchemy import Column, MetaData, Table, insert, select, text
from sqlalchemy.engine import Connection

from src.query.fields import FIELDS
from src.query.tree import And, Not, Op
from src.query.tree import Test as Asked
from src.store import schema
from src.store.binning import bin_of
from src.store.engine import StoreError, open_engine, store_url
from src.store.names import Names
from src.store.reader import Reader
from src.store.rollups import Change, add_up_hours
from src.store.tables import BINNED_COLUMNS, SUMS, bin_name, labels, records, sessions
from tests.store.making import many
from tests.store.test_reader import HOUR, chooses, sums_up
from tests.support.postgres import PostgresServer

BINS = {bin_name(name) for name in BINNED_COLUMNS}


def only_to(connection: Connection, revision: str) -> None:
    config = schema._config()
    config.attributes.update(connection=connection, bin_of=bin_of)
    command.upgrade(config, revision)


@pytest.mark.parametrize("revision", ["0001", "0002"])
async def test_an_older_store_keeps_its_rows_and_gets_its_sums(
    revision: str, url: str | None, tmp_path: Path
) -> None:
    items = list(many(300, seed=5))
    engine = open_engine(store_url(url, tmp_path), writes=True)
    with patch.object(schema, "_upgrade", partial(only_to, revision=revision)):
        await schema.upgrade(engine)
    unknown = BINS if revision == "0001" else set()
    async with engine.begin() as connection:
        for item in items:
            seq = item.first_seq()
            values = zip(records.c.keys(), item.columns(seq), strict=True)
            columns = {k: v for k, v in values if k not in unknown}
            await connection.execute(insert(records).values(columns))
            for member in item.labels(seq):
                await connection.execute(insert(labels).values(member))
        await Names().note(connection, [item.row for item in items])
        if revision == "0002":  # whose other sums are those of today
            changes = [Change.of_row(i.row, i.counted(), i.first_seq()) for i in items]
            await add_up_hours(connection, changes)
            old = {"session_id": "agent-1", "owner": "", "first_seq": 1, "last_seq": 2}
            known = [c for c in sessions.c if c.name not in ("durations", "ttfts")]
            named = Table("sessions", MetaData(), *(Column(c.name, c.type) for c in known))
            await connection.execute(insert(named).values({**dict.fromkeys(SUMS, 7), **old}))
    await schema.upgrade(engine)
    await schema.check(engine)
    async with engine.connect() as connection:
        for row in (await connection.execute(select(records))).mappings():
            assert all(row[bin_name(name)] == bin_of(row[name]) for name in BINNED_COLUMNS)
    reader = Reader(open_engine(engine.url, writes=False))
    for by in ("model", "session_id"):
        await sums_up(reader, items, by, 24 * HOUR)
    slow = Asked(FIELDS["duration"], Op.GT, 4321.0)
    page = await reader.page(And((slow, Asked(FIELDS["in"], Op.LE, 5000))), limit=1000)
    wanted = {item.id for item in items if chooses(slow, item)}
    wanted &= {item.id for item in items if (item.row.input_tokens or 9999) <= 5000}
    wanted |= {i.id for i in items if chooses(slow, i) and i.row.input_tokens == 0}
    assert {row.id for row in page.rows} == wanted
    unsaid = await reader.page(Not(Asked(FIELDS["body"], Op.MATCH, "fox")), limit=1000)
    assert len(unsaid.rows) == len(items), "none of them has texts"
    await reader.close()
    await engine.dispose()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?sslmode=prefer",
        "?sslmode=disable&channel_binding=prefer&connect_timeout=10",
        "?application_name=mine&prepared_statement_cache_size=0",
    ],
)
async def test_addresses_as_hosters_give_them_are_taken(
    query: str, shared_postgres: PostgresServer
) -> None:
    engine = open_engine(store_url(shared_postgres.url() + query, Path()), writes=False)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1
    await engine.dispose()


def test_an_option_that_is_not_known_is_refused_in_one_line() -> None:
    with pytest.raises(StoreError, match=r"^database_url has an option that is not known: foo$"):
        store_url("postgresql://u:SECRET@h/x?foo=SECRET", Path())
