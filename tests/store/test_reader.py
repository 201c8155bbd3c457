"""Pages, sessions and stats, against the same asked of the rows in Python."""

from __future__ import annotations

import base64
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text as sql

from src.query.fields import FIELDS, Kind
from src.query.groups import Group
from src.query.matching import glob
from src.query.parser import parse
from src.query.tree import And, Node, Not, Op, Or
from src.query.tree import Test as Asked
from src.record.figures import summed
from src.record.row import Row
from src.store.compiling import words_of
from src.store.cursors import SORTS, CursorError
from src.store.engine import open_engine, store_url
from src.store.items import Drop, Put
from src.store.reader import Reader
from src.store.tables import PARTS
from src.store.writing import Writer
from tests.store.making import START_US, WORDS, make_row, many, put, with_values
from tests.support.postgres import PostgresServer

HOUR = 3_600_000_000


def chooses(node: Node, item: Put) -> bool:
    """The judge: plain and slow."""
    match node:
        case Not(part):
            return not chooses(part, item)
        case And(parts):
            return all(chooses(part, item) for part in parts)
        case Or(parts):
            return any(chooses(part, item) for part in parts)
        case Asked():
            return _judge(node, item)


def _judge(test: Asked, item: Put) -> bool:
    kind = test.field.kind
    if kind is Kind.SEARCH:
        parts = (
            item.parts
            if test.field.column == "all"
            else [item.parts[PARTS.index(test.field.column)]]
        )
        wanted, ending = words_of(test), not test.phrase and str(test.value).endswith("*")
        return any(_says(part, wanted, ending) for part in parts)
    value: Any = getattr(item.row, test.field.column)
    if test.op is Op.NONE:
        return value is None or value == ()
    if value is None:
        return False
    if kind in (Kind.TEXT, Kind.ID, Kind.LIST):
        wanted = str(test.value).lower()
        wanted += "*" if kind is Kind.ID and "*" not in wanted else ""
        if test.field.column == "client_address":
            return any(glob(wanted, v.lower()) for v in (value, re.sub(r":[0-9]+$", "", value)))
        return any(glob(wanted, v.lower()) for v in (value if kind is Kind.LIST else [value]))
    return {
        Op.MATCH: value == test.value,
        Op.LT: value < test.value,
        Op.LE: value <= test.value,
        Op.GT: value > test.value,
        Op.GE: value >= test.value,
    }[test.op]


def _says(text: str, wanted: list[str], ending: bool) -> bool:
    words = text.lower().split()
    for at in range(len(words) - len(wanted) + 1):
        *heads, last = words[at : at + len(wanted)]
        fits = last.startswith(wanted[-1]) if ending else last == wanted[-1]
        if heads == wanted[:-1] and fits:
            return True
    return False


PATTERNS = {
    "model": ("gpt-4o", "GPT-4O", "claude*", "*4*", "nothing", "*"),
    "path": ("*/models", "/v1/*", "/v1/messages"),
    "cause": ("ok", "upstream*"),
    "error": ("overloaded*", "OVERLOADED"),
    "key": ("alice", "b*"),
    "session": ("agent", "agent_1", "agent%", "AGENT-"),
    "id": ("0000000000000000000000001", "*7"),
    "tag": ("a", "b", "team:*"),
    "tool": ("bash", "*a*"),
    "address": (
        *("127.*", "*:40000", "127.0.0.1:*", "127.0.0.1*", "127.0.0.1", "127.0.0.12:4000"),
        *("10.1.2.3", "[FE80::1a*", "[fe80::1A]", "fe80::", "*1a]", "*.12", "*"),
    ),
}


def any_test(rng: random.Random) -> Asked:
    name = rng.choice([*PATTERNS, "status", "duration", "ttft", "in", "cost", "stream", "since"])
    name = rng.choice([name, name, rng.choice(["body", "message", "answer"])])
    field = FIELDS[name]
    if field.kind is Kind.SEARCH:
        said = " ".join(rng.choice(WORDS) for _ in range(rng.choice((1, 1, 2))))
        ending = rng.random() < 0.2
        return Asked(field, Op.MATCH, said[:-1] + "*" if ending and len(said) > 3 else said)
    if name == "since":
        return Asked(field, Op.GE, START_US + rng.randrange(30) * 24 * HOUR)
    if rng.random() < 0.15:
        return Asked(field, Op.NONE, None)
    if field.kind is Kind.FLAG:
        return Asked(field, Op.MATCH, rng.random() < 0.5)
    if name in PATTERNS:
        return Asked(field, Op.MATCH, rng.choice(PATTERNS[name]))
    op = rng.choice((Op.LT, Op.LE, Op.GT, Op.GE, Op.MATCH))
    value = {"status": rng.choice((200, 400, 429)), "cost": round(rng.random() / 10, 3)}
    return Asked(field, op, value.get(name, rng.randrange(3000)))


def any_node(rng: random.Random, depth: int = 2) -> Node:
    if not depth or rng.random() < 0.4:
        return any_test(rng)
    parts = tuple(any_node(rng, depth - 1) for _ in range(rng.choice((2, 3))))
    return rng.choice((And(parts), Or(parts), Not(parts[0])))


@pytest.mark.parametrize(
    ("sort", "place"),
    [
        ("-status", [1.5, 1]),
        ("-status", [2**63, 1]),
        ("-status", [True, 1]),
        ("-status", ["200", 1]),
        ("-duration", [float("inf"), 1]),
        ("-duration", [float("nan"), 1]),
        ("-duration", [1.0, 2**63]),
        ("-duration", [1.0, True]),
        ("-received", [None, 1.5]),
    ],
)
async def test_a_cursor_that_was_made_up_is_refused(
    writer: Writer, reader: Reader, sort: str, place: list[object]
) -> None:
    await writer.apply(many(5))
    made_up = base64.urlsafe_b64encode(json.dumps([sort, *place]).encode()).decode()
    with pytest.raises(CursorError):
        await reader.page(sort=sort, cursor=made_up)


def newest_first(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.received_us, reverse=True)


async def all_pages(reader: Reader, node: Node, limit: int, **options: Any) -> list[Row]:
    rows: list[Row] = []
    cursor = None
    while True:
        page = await reader.page(node, cursor=cursor, limit=limit, **options)
        rows += page.rows
        cursor = page.cursor
        if cursor is None:
            return rows
        assert len(page.rows) == limit


async def test_any_filter_gives_what_it_should(
    writer: Writer, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = list(many(400, seed=3))
    await writer.apply(items)
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for number in range(60):
        # Few rows looked through, so that the ways behind it are gone too.
        monkeypatch.setattr("src.store.paging._WALK", rng.choice((10, 60, 4000)))
        monkeypatch.setattr("src.store.paging._WALK_SAID", rng.choice((10, 300)))
        monkeypatch.setattr("src.store.spans._FIRST_ROWS", rng.choice((3, 30, 50_000)))
        node = any_node(rng)
        key = rng.choice((None, None, "alice"))
        wanted = [i.row for i in items if chooses(node, i) and key in (None, i.row.key_label)]
        found = await all_pages(reader, node, rng.choice((7, 50)), only_key=key)
        times = [row.received_us for row in found]
        assert times == sorted(times, reverse=True), node
        assert {row.id for row in found} == {row.id for row in wanted}, (number, node)
        assert len(found) == len(wanted), node


async def test_what_all_but_a_few_say_is_left_out_of_a_page(
    writer: Writer, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.store.paging._WALK_SAID", 10)
    quiet, brief = {5, 70, 71, 190, 299}, {6, 100, 240}  # say nothing at all; say something else
    items = [
        put(n, "" if n in quiet else "brief" if n in brief else f"the fox {n}") for n in range(300)
    ]
    await writer.apply(items)
    the, brief_ = Not(body("the")), Not(body("brief"))
    since = Asked(FIELDS["since"], Op.GE, START_US + 71 * 1_000_000)
    for first_rows in (3, 50, 50_000):
        monkeypatch.setattr("src.store.spans._FIRST_ROWS", first_rows)
        for node in (the, And((the, brief_)), And((the, since)), And((brief_, the, since))):
            for sort in ("received", "-received"):
                wanted = [item.id for item in items if chooses(node, item)]
                found = await all_pages(reader, node, 2, sort=sort)
                ids = [row.id for row in found]
                assert (ids if sort == "received" else ids[::-1]) == wanted, (node, sort)


def body(said: str) -> Asked:
    return Asked(FIELDS["body"], Op.MATCH, said)


async def test_sorted_by_anything_every_row_comes_once(writer: Writer, reader: Reader) -> None:
    items = list(many(120, seed=5))
    await writer.apply(items)
    for sort in (s for name in SORTS for s in (name, f"-{name}")):
        await comes_once(reader, items, sort)


async def comes_once(reader: Reader, items: list[Put], sort: str) -> None:
    node = Not(Asked(FIELDS["model"], Op.MATCH, "gemini*"))
    found = await all_pages(reader, node, 7, sort=sort)
    assert {row.id for row in found} == {i.id for i in items if chooses(node, i)}
    columns = {"received": "received_us"} | {k: v for k, v in SORTS.items() if k != "received"}
    values = [getattr(row, columns[sort.removeprefix("-")]) for row in found]
    known = [value for value in values if value is not None]
    assert values[: len(known)] == known, "unknown ones are last"
    assert known == sorted(known, reverse=sort.startswith("-"))


async def test_pages_stand_still_while_rows_come_in(writer: Writer, reader: Reader) -> None:
    await writer.apply(list(many(100)))
    before = {row.id for row in (await reader.page(limit=100)).rows}
    seen, cursor, extra = [], None, 1000
    while True:
        page = await reader.page(cursor=cursor, limit=9)
        seen += [row.id for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
        extra += 1
        await writer.apply([put(extra, received_us=START_US + 40 * 24 * HOUR + extra)])
    assert set(seen) == before
    assert len(seen) == len(before)


async def test_a_made_up_cursor_is_refused(reader: Reader) -> None:
    for cursor in ("", "x", "WzFd", "!!!", "W10", "bnVsbA", "é"):
        with pytest.raises(CursorError):
            await reader.page(cursor=cursor)


async def test_a_key_sees_its_own_rows_only(writer: Writer, reader: Reader) -> None:
    items = [with_values(i, session_id="shared") for i in many(300, seed=9)]
    await writer.apply(items)
    for key in ("alice", "Alice", "bob", "ALICE", "", "%", "*"):
        own = {i.id for i in items if i.row.key_label == key}
        assert {row.id for row in await all_pages(reader, And(()), 50, only_key=key)} == own
        for item in items[:40]:
            found = await reader.get(item.id, only_key=key)
            assert (found is not None) == (item.id in own)
        buckets = await reader.stats(only_key=key)
        assert sum(bucket.requests for bucket in buckets) == len(own)
        listed = (await reader.sessions(only_key=key)).sessions
        assert sum(session.requests for session in listed) == len(own)
        for by in ("model", "session_id", "key_label"):
            groups = await reader.stats(by=by, only_key=key)
            assert sum(bucket.requests for bucket in groups) == len(own), by


def percentile(values: list[float], share: float) -> float | None:
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 1).__int__() - 1)] if ordered else None


async def test_stats_are_the_sums_of_the_rows(writer: Writer, reader: Reader) -> None:
    items = list(many(400, seed=11))
    await writer.apply(items)
    for by in (None, "model", "key_label", "cause", "session_id", "status"):
        for bucket_us in (None, HOUR, 24 * HOUR, 1_000_000 * 900):
            await sums_up(reader, items, by, bucket_us)
    await sums_up(reader, items, "client_address", 24 * HOUR)


@pytest.mark.parametrize("by", Group)
async def test_a_store_groups_as_a_folder_does(writer: Writer, reader: Reader, by: Group) -> None:
    items = [with_values(i, upstream=i.row.model or "") for i in many(200, seed=13)]
    await writer.apply(items)
    folder, _ = summed((item.row for item in items), by.of)
    found = {bucket.group: bucket for bucket in await reader.stats(by=by.column)}
    assert len(folder) > 1 or by in (Group.PROVIDER, Group.OP, Group.AGENT)
    assert {group: (f.requests, f.errors, f.output_tokens) for group, f in folder.items()} == {
        group: (b.requests, b.errors, b.output_tokens) for group, b in found.items()
    }


async def test_stats_of_what_has_changed_or_gone(writer: Writer, reader: Reader) -> None:
    items = list(many(300, seed=12))
    await writer.apply(items)
    await writer.apply(Drop(item.id, item.row.file) for item in items[:100])
    changed = [with_values(i, model="new", tools=("Bash",)) for i in items[100:150]]
    await writer.apply(changed)
    for by in (None, "model"):
        await sums_up(reader, [*changed, *items[150:]], by, 24 * HOUR)


async def sums_up(reader: Reader, items: list[Put], by: str | None, bucket_us: int | None) -> None:
    since, until = START_US + 3 * 24 * HOUR + 1234, START_US + 20 * 24 * HOUR + 5678
    for node in (
        And(()),
        Asked(FIELDS["model"], Op.MATCH, "claude*"),
        And((Asked(FIELDS["key"], Op.NONE, None), Not(Asked(FIELDS["cause"], Op.MATCH, "ok")))),
        Asked(FIELDS["tool"], Op.MATCH, "BASH"),
        Asked(FIELDS["tag"], Op.MATCH, "b"),
        Not(Asked(FIELDS["stream"], Op.MATCH, True)),
    ):
        wanted: dict[tuple[int | None, Any], list[Row]] = {}
        for item in items:
            row = item.row
            if since <= row.received_us < until and chooses(node, item):
                start = None if bucket_us is None else row.received_us // bucket_us * bucket_us
                group = getattr(row, by) if by else None
                if by == "client_address" and group is not None:
                    group = re.sub(r":[0-9]+$", "", group)
                wanted.setdefault((start, group), []).append(row)
        found = await reader.stats(node, since_us=since, until_us=until, bucket_us=bucket_us, by=by)
        assert {(b.start_us, b.group) for b in found} == set(wanted)
        for bucket in found:
            rows = wanted[bucket.start_us, bucket.group]
            assert bucket.requests == len(rows)
            assert bucket.errors == sum(row.cause != "ok" for row in rows)
            assert bucket.input_tokens == sum(row.input_tokens or 0 for row in rows)
            costs = [row.cost_usd for row in rows if row.cost_usd is not None]
            assert bucket.priced == len(costs)
            assert bucket.cost_usd == (pytest.approx(sum(costs)) if costs else None)
            for shown, name in ((bucket.duration_ms, "duration_ms"), (bucket.ttft_ms, "ttft_ms")):
                values = [v for row in rows if (v := getattr(row, name)) is not None]
                for share, value in zip((0.5, 0.95, 0.99), shown, strict=True):
                    true = percentile(values, share)
                    assert value == (None if true is None else pytest.approx(true, rel=0.021))


async def test_sessions_come_latest_first(writer: Writer, reader: Reader) -> None:
    await writer.apply([put(n, session_id=f"s{n % 30}", key_label="k") for n in range(90)])
    seen, cursor = [], None
    while True:
        page = await reader.sessions(cursor=cursor, limit=7)
        seen += page.sessions
        cursor = page.cursor
        if cursor is None:
            break
    assert [s.session_id for s in seen] == [f"s{n % 30}" for n in range(89, 59, -1)]
    assert {s.requests for s in seen} == {3}
    assert seen[0].first_us == START_US + 29_000_000


async def test_letters_beyond_ascii_are_found_as_they_are_written(
    writer: Writer, reader: Reader
) -> None:
    """Of these neither database knows which are the same."""
    names = ("Équipe", "équipe")
    for n, name in enumerate(names):
        of_both = {"key_label": name, "model": f"{name}-M", "session_id": f"{name}-S"}
        await writer.apply([put(n, tags=names if n else (), **of_both)])
    for n, name in enumerate(names):
        own = [make_row(n).id]
        for text in (f"key:{name}", f"model:{name}-m", f"model:{name[0]}*", f"session:{name}*"):
            assert [row.id for row in (await reader.page(parse(text, 0))).rows] == own, text
            assert sum(b.requests for b in await reader.stats(parse(text, 0))) == 1, text
        assert [row.id for row in (await reader.page(only_key=name)).rows] == own
        (path,) = await reader.stats(by="path", only_key=name)
        assert path.requests == 1
        assert len((await reader.page(parse(f"tag:{name}", 0))).rows) == 1
        assert sum(b.requests for b in await reader.stats(parse(f"tag:{name}", 0))) == 1


async def test_until_the_beginning_of_time_there_was_nothing(
    writer: Writer, reader: Reader
) -> None:
    await writer.apply([put(1, session_id="s")])
    for by in (None, "session_id", "path"):
        assert await reader.stats(until_us=0, by=by) == []
        assert await reader.stats(parse("until:1970-01-01", 0), by=by) == []


async def test_postgres_plans_for_the_words_that_are_asked_for(
    shared_postgres: PostgresServer, tmp_path: Path
) -> None:
    """A plan for whatever words reads all rows where one is rare: 3 s of a million."""
    url = store_url(await shared_postgres.new_database(), tmp_path)
    for query_s, limit in ((3.0, "3s"), (None, "0")):
        engine = open_engine(url, writes=False, query_s=query_s)
        for _ in range(2):
            async with engine.connect() as connection:
                told = [
                    await connection.scalar(sql(f"SHOW {name}"))
                    for name in ("plan_cache_mode", "statement_timeout")
                ]
            assert told == ["force_custom_plan", limit]
        await engine.dispose()
