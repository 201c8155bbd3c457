"""Rows put in, put in again, changed and taken out: once, whole, with everything beside them."""

from __future__ import annotations

import asyncio
import random
import zlib
from pathlib import Path

import orjson
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from src.query.fields import FIELDS
from src.query.tree import Op
from src.query.tree import Test as Asked
from src.store import schema
from src.store.engine import open_engine, store_url
from src.store.feeding import AWAY
from src.store.items import Drop
from src.store.reader import Reader
from src.store.tables import labels, records, rollups, sessions, spools, squeezed_texts
from src.store.writing import Writer
from tests.store.making import make_row, many, put
from tests.support.postgres import PostgresServer


def body(value: str) -> Asked:
    return Asked(FIELDS["body"], Op.MATCH, value)


async def counts(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as connection:
        tables = (records, squeezed_texts, labels, rollups, sessions)
        return [await connection.scalar(select(func.count()).select_from(t)) or 0 for t in tables]


async def test_what_was_put_in_comes_back(writer: Writer, reader: Reader) -> None:
    items = list(many(300))
    await writer.apply(items)
    for item in items:
        assert await reader.get(item.id) == item.row


async def test_the_same_again_changes_nothing(engine: AsyncEngine, writer: Writer) -> None:
    items = list(many(300))
    assert await writer.apply(items) == (300, 0)
    before = await counts(engine)
    assert await writer.apply(items) == (0, 0)
    assert await Writer(engine).apply(items[50:150]) == (0, 0)
    assert await counts(engine) == before


async def test_a_changed_trace_takes_the_place_of_the_old(writer: Writer, reader: Reader) -> None:
    await writer.apply([put(1, "old words", cost_usd=1.0, session_id="s", tags=("x",))])
    assert await writer.apply([put(1, "new words", cost_usd=2.0, session_id="s")]) == (1, 1)
    page = await reader.page()
    assert [row.cost_usd for row in page.rows] == [2.0]
    assert (await reader.page(body("old"))).rows == []
    assert len((await reader.page(body("new"))).rows) == 1
    (bucket,) = await reader.stats()
    assert (bucket.requests, bucket.cost_usd) == (1, 2.0)
    (session,) = (await reader.sessions()).sessions
    assert (session.requests, session.cost_usd) == (1, 2.0)


async def test_what_is_dropped_leaves_nothing(engine: AsyncEngine, writer: Writer) -> None:
    items = list(many(200))
    await writer.apply(items)
    assert await writer.apply([Drop(i.id, i.row.file) for i in items]) == (0, 200)
    assert await counts(engine) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("by_earlier_versions", [False, True])
async def test_what_dropped_rows_have_said_is_forgotten(
    tmp_path: Path, by_earlier_versions: bool
) -> None:
    engine = open_engine(store_url(None, tmp_path), writes=True)
    await schema.upgrade(engine)
    writer, items = Writer(engine), [put(1, "fox and naïve dog"), put(2, "fox")]
    await writer.apply(items)
    if by_earlier_versions:
        async with engine.begin() as connection:
            old = [(zlib.compress(orjson.dumps(i.parts), 1), i.first_seq()) for i in items]
            await connection.exec_driver_sql("UPDATE texts SET squeezed = ? WHERE seq = ?", old)
    await writer.apply([Drop(items[0].id, items[0].row.file)])
    async with engine.connect() as connection:
        for word, found in (("fox", 1), ("dog", 0), ("naive", 0)):
            said = text("SELECT count(*) FROM said WHERE said MATCH :word")
            assert await connection.scalar(said, {"word": word}) == found, word
    await engine.dispose()


async def test_dropping_another_file_of_the_same_id_drops_nothing(writer: Writer) -> None:
    await writer.apply([put(1)])
    assert await writer.apply([Drop(put(1).id, "2026-09-21/else.json")]) == (0, 0)


async def test_rows_of_the_same_microsecond_all_stay(writer: Writer, reader: Reader) -> None:
    same = make_row(5).received_us
    await writer.apply([put(n, received_us=same) for n in range(300)])
    await writer.apply([put(n, received_us=same + 1) for n in range(2000, 2100)])
    seen, cursor = [], None
    while True:
        page = await reader.page(cursor=cursor, limit=90)
        seen += [row.id for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 400


async def test_r101_nul_and_lone_surrogates_are_taken(writer: Writer, reader: Reader) -> None:
    await writer.apply([put(1, "foo\x00bar \ud800 baz", user_agent="a\x00b", model="m\udfff")])
    (row,) = (await reader.page(body("baz"))).rows
    assert (row.user_agent, row.model) == ("a\ufffdb", "m?")


async def test_a_text_too_long_is_searched_at_both_ends(writer: Writer, reader: Reader) -> None:
    long = "begin " + " ".join(f"w{n}" for n in range(300_000)) + " finish"
    await writer.apply([put(1, long)])
    for word, found in (("begin", 1), ("finish", 1), ("w150000", 0)):
        assert len((await reader.page(body(word))).rows) == found, word


def junk(length: int) -> str:
    rng = random.Random(length)
    return "".join(chr(rng.randrange(0x4E00, 0x9000)) for _ in range(length))


@pytest.mark.parametrize(
    "values",
    [
        {"input_tokens": 1 << 63},
        {"duration_ms": float("inf")},
        {"received_us": 11_000_000_000_000_000},  # the year 2318
    ],
    ids=str,
)
async def test_a_row_that_no_database_takes_keeps_no_other_out(
    writer: Writer, reader: Reader, caplog: pytest.LogCaptureFixture, values: dict[str, object]
) -> None:
    items = [put(n, session_id="s") for n in range(20)]
    items[13] = put(13, **values)
    assert await writer.apply(items, {"a.todo": 7}) == (19, 0)
    assert items[13].file in caplog.text
    assert len((await reader.page()).rows) == 19
    (session,) = (await reader.sessions()).sessions
    assert session.requests == 19
    assert await writer.apply(items, {"a.todo": 8}) == (0, 0)


async def test_of_a_batch_that_is_refused_whole_the_place_in_the_spool_is_kept(
    engine: AsyncEngine, writer: Writer
) -> None:
    assert await writer.apply([put(1, input_tokens=1 << 63)], {"a.todo": 7}) == (0, 0)
    async with engine.connect() as connection:
        assert await connection.scalar(select(spools.c.offset)) == 7


async def test_tokens_that_come_to_more_than_64_bits_keep_no_other_out(
    writer: Writer, reader: Reader
) -> None:
    items = [put(n, input_tokens=1 << 61, session_id="s") for n in range(6)]
    await writer.apply([*items, put(7)])
    assert await reader.get(put(7).id) == put(7).row


async def test_a_cost_that_cannot_be_is_kept_and_counts_as_much(
    writer: Writer, reader: Reader
) -> None:
    await writer.apply([put(1, cost_usd=9e11, session_id="s")])
    row = await reader.get(put(1).id)
    assert row is not None
    assert row.cost_usd == 9e11
    (bucket,) = await reader.stats()
    assert bucket.cost_usd == 10_000.0


async def test_names_longer_than_an_index_takes_are_cut(writer: Writer, reader: Reader) -> None:
    long = junk(20_000)
    names = ("model", "path", "method", "error_type", "session_id", "user_agent")
    item = put(1, **dict.fromkeys(names, long), tags=(long, long + "x"), tools=(long,))
    await writer.apply([item, put(2, model="".join(map(chr, range(1, 32))) * 1000)])
    row = await reader.get(item.id)
    assert row is not None
    assert {getattr(row, name) for name in names} == {long[:500]}
    assert (row.tags, row.tools) == ((long[:500],), (long[:500],))
    assert len((await reader.page()).rows) == 2


async def test_two_writers_may_note_the_same_name(engine: AsyncEngine, reader: Reader) -> None:
    one, other = Writer(engine), Writer(engine)
    await one.apply([put(1)])
    await other.apply([put(2)])
    await one.apply([put(3, model="new")])
    assert await other.apply([put(4, model="new")]) == (1, 0)
    assert len((await reader.page()).rows) == 4


async def test_a_server_that_goes_while_one_row_is_written_has_not_refused_it(
    shared_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = await shared_postgres.new_database()
    engine = open_engine(store_url(url, tmp_path), writes=True)
    await schema.upgrade(engine)
    other = open_engine(store_url(url, tmp_path), writes=False)

    async def cut(connection: AsyncConnection, changes: object) -> None:
        pid = await connection.scalar(text("SELECT pg_backend_pid()"))
        async with other.connect() as beside:
            await beside.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        raw = await connection.get_raw_connection()
        async with asyncio.timeout(10):
            while not raw.driver_connection.is_closed():  # type: ignore[union-attr]  # asyncpg's
                await asyncio.sleep(0.01)
        await connection.execute(text("SELECT 1"))

    with monkeypatch.context() as patched:
        patched.setattr("src.store.writing.add_up", cut)
        with pytest.raises(AWAY):
            await Writer(engine).apply([put(1)], {"spool": 7})
    assert await counts(engine) == [0, 0, 0, 0, 0]
    async with engine.connect() as connection:
        assert (await connection.execute(select(spools))).all() == []
    await other.dispose()
    await engine.dispose()
