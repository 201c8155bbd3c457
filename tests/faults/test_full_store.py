"""A disk that fills up under the store: traffic goes on, whoever reads is answered, no row is lost
or doubled, the database stays whole. Under the traces themselves: tests/faults/test_disk.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from src.store import schema
from src.store.engine import open_engine, store_url
from src.store.indexing import index
from tests.conftest import Figure
from tests.record.traces import Written, chat
from tests.store.test_feeding import JSON, feeder_of, ids_at, ids_in, wait_until
from tests.store.test_schema import only_to
from tests.support import bodies, steps
from tests.support.disk import Ballast, DiskTap, small_disk
from tests.support.postgres import PostgresServer
from tests.support.tap import ROOT, settings
from tests.support.upstream import Connection, Upstream
from tests.support.wire import free_port

LEAVE = (0, 150_000)
"""Bytes: no log of SQLite's can begin, or a batch breaks off half way."""
FULL = "database or disk is full"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    def serve(connection: Connection) -> None:
        for step in steps.reply(200, bodies.chat_answer()):
            step(connection)

    with Upstream(default=(serve,)) as started:
        yield started


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    with small_disk(getattr(request, "param", "tmpfs"), tmp_path, 80) as path:
        yield path


class Stored(DiskTap):
    """The program with its web process and a store on the small disk."""

    database: Path
    web_port = 0
    sent = 0

    def call_many(self, count: int) -> None:
        """Each says 200 words that no other says: rows that take room."""
        for _ in range(count):
            words = " ".join(f"w{self.sent}x{k}" for k in range(200))
            answer = self.call(headers=JSON, body=chat("gpt-4o", words))
            assert answer.status == 200
            assert answer.body == bodies.chat_answer()
            self.sent += 1

    def until_said(self, what: str) -> None:
        """Some traffic, and what it leads to."""
        before = self.output.count(what)
        self.call_many(60)
        wait_until(lambda: self.output.count(what) > before)

    def asked(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}/{what}", timeout=10) as got:
            return dict(json.loads(got.read()))

    def is_complete(self) -> bool:
        found = ids_in(self.database)
        files = {path.name.split("_")[1] for path in self.files()}
        return len(files) == self.sent and sorted(found) == sorted(files)

    def is_whole(self) -> bool:
        with sqlite3.connect(self.database) as connection:
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "src.main", *words, "--trace-dir", str(self.trace_dir)]
        if words == ("index",):
            command += ["-c", str(self.folder / "config.yaml")]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


Start = Callable[..., Stored]


@pytest.fixture
def start(upstream: Upstream, tmp_path: Path, disk: Path) -> Iterator[Start]:
    begun: list[Stored] = []

    def begin(
        *,
        traces_too: bool = False,
        trace: dict[str, object] | None = None,
        launched: bool = True,
        database_url: str | None = None,
    ) -> Stored:
        tap = Stored(tmp_path / "tap")
        tap.web_port = free_port()
        tap.database = disk / "x.sqlite"
        given = database_url or f"sqlite:///{tap.database}"
        store = {} if traces_too else {"database_url": given}
        tap.config = settings(upstream.url, store=store, web={"port": tap.web_port}, quiet=True)
        tap.config["middlewares"] = [{"trace": {"queue_bytes": 16 << 20, **(trace or {})}}]
        if traces_too:
            tap.trace_dir = disk / "traces"
            tap.database = tap.trace_dir / ".store" / "records.sqlite"
        begun.append(tap)
        return tap.start() if launched else tap

    yield begin
    for tap in begun:
        tap.stop()


def test_a_full_disk_under_the_store_disturbs_nobody(
    start: Start, disk: Path, figure: Figure
) -> None:
    tap = start()
    tap.call_many(10)
    wait_until(tap.is_complete)
    ballast = Ballast(disk)
    for turn, leave_bytes in enumerate(LEAVE):
        ballast.fill(leave_bytes)
        tap.until_said(FULL)
        there = len(ids_in(tap.database))
        assert there < tap.sent
        assert len(tap.asked("api/requests?limit=100&q=body:w0x1")["requests"]) == 1
        assert tap.asked("api/stats")["buckets"][0]["requests"] == there
        assert tap.asked("readiness") == {"status": "ready"}
        if turn == 0 and (feeder := feeder_of(tap)):
            os.kill(feeder, signal.SIGKILL)
        if turn == 1:
            assert len(tap.run("ls", "--limit", "0", "--json").stdout.splitlines()) == tap.sent
            refused = tap.run("index")
            assert refused.returncode == 1
            assert refused.stderr.endswith(f"the store cannot be written: {FULL}\n")
        ballast.throw_off()
        wait_until(tap.is_complete)
    assert tap.run("index").stdout.startswith(f"{tap.sent} traces: 0 rows written")
    assert tap.stop() == 0
    assert tap.is_whole()
    assert "Traceback" not in tap.output
    figure("record 3", full=len(LEAVE), answered=tap.sent, failed=0, lost=0, doubled=0)


def test_where_the_spool_cannot_be_written_no_row_is_lost_or_doubled(
    start: Start, disk: Path, figure: Figure
) -> None:
    """Traces, spool and database on one disk: a line may be torn, and is told again."""
    tap = start(traces_too=True)
    tap.call_many(5)
    wait_until(tap.is_complete)
    ballast = Ballast(disk)
    for leave_bytes in (0, 5_000, 60_000):
        ballast.fill(leave_bytes)
        tap.call_many(60)
        wait_until(lambda: os.statvfs(disk).f_bavail < 4 and tap.health()["pending"] > 0)
        assert len(tap.asked("api/requests?limit=100&q=body:w0x1")["requests"]) == 1
        ballast.throw_off()
        wait_until(tap.is_complete)
    tap.settled()
    assert tap.stop() == 0
    assert tap.is_whole()
    figure("record 3", full=3, answered=tap.sent, failed=0, lost=0, doubled=0)


def test_retention_empties_a_full_disk_and_takes_the_rows_with_the_files(
    start: Start, disk: Path
) -> None:
    """The spool that is to be told first cannot be written either."""
    tap = start(traces_too=True, trace={"keep_count": 10})
    tap.call_many(40)
    wait_until(lambda: len(ids_in(tap.database)) == len(tap.files()) >= 40)
    Ballast(disk).fill()
    (recorder,) = tap.recorders()
    os.kill(recorder, signal.SIGKILL)  # the next one sweeps as it starts
    tap.call_many(1)
    wait_until(lambda: len(tap.files()) <= 11)
    assert all(path.stat().st_size for path in tap.files())
    Ballast(disk).throw_off()  # to forget a row takes room as well
    wait_until(lambda: sorted(ids_in(tap.database)) == sorted(ids_of(tap)))
    assert tap.stop() == 0
    assert sorted(ids_in(tap.database)) == sorted(ids_of(tap))


def ids_of(tap: Stored) -> list[str]:
    return [path.name.split("_")[1] for path in tap.files()]


@pytest.mark.parametrize("disk", ["ext4"], indirect=True)  # whose folders take room, too
def test_a_full_disk_where_nothing_lies_yet_delays_traces_and_rows_only(
    start: Start, disk: Path
) -> None:
    tap = start(traces_too=True, launched=False)
    Ballast(disk).fill()
    tap.start()
    tap.call_many(3)
    wait_until(lambda: "its rows wait" in tap.output)
    Ballast(disk).throw_off()
    wait_until(lambda: "a trace journal was made anew" in tap.output)
    tap.sent = 0
    tap.call_many(3)
    wait_until(tap.is_complete)
    assert "Traceback" not in tap.output


# --- migration, index ---


def old_store(folder: Path, database: Path, count: int) -> None:
    """A store of the first schema, beside traces that it knows."""
    written = Written(folder)
    for number in range(count):
        written.add(chat("gpt-4o", f"said {number} " * 50))

    async def make() -> None:
        engine = open_engine(store_url(f"sqlite:///{database}", folder), writes=True)
        with patch.object(schema, "_upgrade", partial(only_to, revision="0001")):
            await schema.upgrade(engine)
        await engine.dispose()

    asyncio.run(make())
    with sqlite3.connect(database) as connection:
        given = [row[1] for row in connection.execute("PRAGMA table_info(records)")]
        new = database.with_name("new.sqlite")
        asyncio.run(index(folder, f"sqlite:///{new}", lambda *_: None))
        connection.execute("ATTACH ? AS new", (str(new),))
        for table, names in (("records", ", ".join(given)), ("labels", "*"), ("names", "*")):
            connection.execute(f"INSERT INTO {table} SELECT {names} FROM new.{table}")
    connection.close()
    for path in database.parent.glob("new.sqlite*"):
        path.unlink()


def revision(database: Path) -> str:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_a_disk_that_fills_up_under_a_new_schema_leaves_the_old_one_whole(
    start: Start, disk: Path
) -> None:
    tap = start(launched=False)
    old_store(tap.trace_dir, tap.database, 300)
    before = sorted(ids_in(tap.database))
    assert len(before) == 300
    Ballast(disk).fill(100_000)  # it breaks off half way
    tap.start()
    wait_until(lambda: FULL in tap.output)
    tap.call_many(5)
    assert revision(tap.database) == "0001"
    assert sorted(ids_in(tap.database)) == before
    assert tap.run("index").stderr.endswith(f"the store cannot be written: {FULL}\n")
    Ballast(disk).throw_off()
    tap.sent += 300
    wait_until(tap.is_complete)
    assert revision(tap.database) > "0001"
    assert tap.asked("api/stats")["buckets"][0]["requests"] == 305
    assert tap.is_whole()


def test_an_index_on_a_full_disk_is_refused_and_done_the_next_time(
    start: Start, disk: Path
) -> None:
    tap = start(launched=False)
    (tap.folder / "config.yaml").parent.mkdir(exist_ok=True, parents=True)
    tap.command()
    written = Written(tap.trace_dir)
    for number in range(400):
        written.add(chat("gpt-4o", " ".join(f"w{number}x{k}" for k in range(300))))
    Ballast(disk).fill(700_000)
    refused = tap.run("index")
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert refused.stderr.endswith(f"the store cannot be written: {FULL}\n")
    Ballast(disk).throw_off()
    assert tap.run("index").stdout.startswith("400 traces: ")
    tap.sent = 400
    assert tap.is_complete()
    assert tap.is_whole()


@pytest.fixture
def postgres_on_a_small_disk() -> Iterator[tuple[PostgresServer, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="llmtap-postgres-disk-"))
    folder.chmod(0o755)  # Postgres runs as nobody where we are root
    try:
        with small_disk("tmpfs", folder, 120) as disk:
            server = PostgresServer(folder=disk / "pg", options={"max_wal_size": "32MB"})
            try:
                yield server.start(), disk
            finally:
                server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk_under_postgres_disturbs_nobody(
    start: Start, postgres_on_a_small_disk: tuple[PostgresServer, Path], figure: Figure
) -> None:
    server, disk = postgres_on_a_small_disk
    url = asyncio.run(server.new_database())
    tap = start(database_url=url)

    def is_complete() -> bool:
        return len(tap.files()) == tap.sent and sorted(ids_at(url)) == sorted(ids_of(tap))

    tap.call_many(10)
    wait_until(is_complete)
    ballast = Ballast(disk)
    ballast.fill()
    tap.until_said("No space left on device")
    there = len(ids_at(url))
    assert there < tap.sent
    assert len(tap.asked("api/requests?limit=100&q=body:w0x1")["requests"]) == 1
    assert tap.asked("api/stats")["buckets"][0]["requests"] == there
    ballast.throw_off()
    wait_until(is_complete)
    assert len(ids_at(url)) == tap.sent == 70
    assert tap.stop() == 0
    assert "postgres@" not in tap.output
    figure("record 3", postgres_full=1, answered=tap.sent, failed=0, lost=0, doubled=0)
