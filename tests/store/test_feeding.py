"""The whole program with a store: every trace becomes a row once, whatever is killed or away."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, text

from src.models.trace import TraceDocument
from src.query.fields import FIELDS
from src.query.tree import Op
from src.query.tree import Test as Asked
from src.store import schema
from src.store.engine import StoreError, open_engine, store_url
from src.store.reader import Reader
from src.store.tables import records
from src.store.writing import Writer
from tests.conftest import Figure, StartTap
from tests.store.making import many, put
from tests.support.postgres import PostgresServer
from tests.support.tap import ROOT, LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import free_port

BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"say pineapple"}]}'
JSON = [(b"Content-Type", b"application/json")]


def wait_until(condition: Callable[[], bool], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def database(tap: LLMTap) -> Path:
    return tap.trace_dir / ".store" / "records.sqlite"


def ids_in(path: Path) -> list[str]:
    """Every row's id, from another process's side."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            return [row[0] for row in connection.execute("SELECT id FROM records")]
        finally:
            connection.close()
    except sqlite3.OperationalError:  # not made yet
        return []


def ids_at(url: str) -> list[str]:
    async def ask() -> list[str]:
        engine = open_engine(store_url(url, Path()), writes=False)
        try:
            async with engine.connect() as connection:
                return list(await connection.scalars(text("SELECT id FROM records")))
        finally:
            await engine.dispose()

    try:
        return asyncio.run(ask())
    except Exception:
        return []


def feeder_of(tap: LLMTap) -> int | None:
    for pid in tap.members():
        try:
            if b"store.feeder" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        except OSError:
            continue
    return None


def call_many(tap: LLMTap, count: int) -> list[str]:
    """The ids of the requests that were answered."""
    answers = [tap.call(headers=JSON, body=BODY) for _ in range(count)]
    assert {answer.status for answer in answers} == {200}
    return [(answer.one("x-llmtap-id") or b"").decode() for answer in answers]


def traced(tap: LLMTap) -> set[str]:
    return {path.name.split("_")[1] for path in tap.files()}


def is_complete(tap: LLMTap, ids: Callable[[], list[str]], least: int = 1) -> Callable[[], bool]:
    """Every trace has its row, and there are that many."""

    def complete() -> bool:
        return len(found := traced(tap)) >= least and set(ids()) == found

    return complete


@pytest.fixture
def stored(start_tap: StartTap, upstream: Upstream) -> LLMTap:
    return start_tap(config=settings(upstream.url, store={}, quiet=True))


async def test_a_request_is_a_row_within_a_second(stored: LLMTap) -> None:
    wanted = call_many(stored, 5)
    wait_until(lambda: set(ids_in(database(stored))) == set(wanted), 3)
    reader = Reader(open_engine(store_url(None, stored.trace_dir), writes=False))
    await reader.check()
    row = await reader.get(wanted[0])
    assert row is not None
    assert (stored.trace_dir / row.file).exists()
    assert (row.model, row.status, row.cause) == ("gpt-4o", 200, "ok")
    await reader.close()
    assert os.stat(database(stored)).st_mode & 0o077 == 0


def test_a_name_that_no_index_takes_keeps_no_row_out(
    start_tap: StartTap, upstream: Upstream, shared_postgres: PostgresServer
) -> None:
    url = asyncio.run(shared_postgres.new_database())
    tap = start_tap(config=settings(upstream.url, store={"database_url": url}, quiet=True))
    model = "".join(map(chr, range(0x4E00, 0x9000))).encode()
    assert tap.call(headers=JSON, body=BODY.replace(b"gpt-4o", model)).status == 200
    call_many(tap, 5)
    wait_until(is_complete(tap, lambda: ids_at(url), 6))


def test_stopping_leaves_no_process_and_no_spool(stored: LLMTap) -> None:
    call_many(stored, 30)
    assert stored.stop() == 0
    assert stored.members() == []
    assert set(ids_in(database(stored))) == traced(stored)
    assert list((stored.trace_dir / ".store").glob("*.todo")) == []


def test_a_database_that_was_removed_is_made_anew_by_itself(stored: LLMTap) -> None:
    call_many(stored, 3)
    wait_until(is_complete(stored, lambda: ids_in(database(stored)), 3))
    for path in database(stored).parent.glob("records.sqlite*"):
        path.unlink()
    later = call_many(stored, 2)
    wait_until(lambda: set(later) <= set(ids_in(database(stored))), 10)
    assert database(stored).stat().st_mode & 0o077 == 0
    index = subprocess.run(
        [sys.executable, "-m", "src.main", "index", "--trace-dir", str(stored.trace_dir)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert b"5 traces" in index.stdout
    assert is_complete(stored, lambda: ids_in(database(stored)), 5)()


def test_a_store_made_by_index_is_nobody_elses_to_read(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "config.yaml").write_text(
        f"upstreams: [{{type: openai}}]\nstore: {{database_url: 'sqlite:///{tmp_path}/x.sqlite'}}\n"
    )
    subprocess.run(
        [
            "bash",
            "-c",
            f"umask 022; exec {sys.executable} -m src.main index -c config.yaml --trace-dir traces",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "x.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_database_is_told_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_text("nonsense, and more than the hundred bytes of a header" * 9)
    (tmp_path / "traces").mkdir()
    (tmp_path / "config.yaml").write_text(
        f"upstreams: [{{type: openai}}]\nstore: {{database_url: 'sqlite:///{tmp_path}/x.sqlite'}}\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "src.main", "index", "-c", str(tmp_path / "config.yaml")),
            *("--trace-dir", str(tmp_path / "traces")),
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "the store cannot be written: file is not a database;"
        " move the file away, and run llmtap index\n"
    )


def test_a_database_that_is_away_delays_no_stop(start_tap: StartTap, upstream: Upstream) -> None:
    url = f"postgresql://llmtap:SECRET@127.0.0.1:{free_port()}/none"
    tap = start_tap(config=settings(upstream.url, store={"database_url": url}, quiet=True))
    call_many(tap, 2)
    began = time.monotonic()
    assert tap.stop() == 0
    assert time.monotonic() - began < 3, "flush_s are for what can be written"
    said = tap.output
    assert "level=warning log=llmtap.store" in said
    assert "SECRET" not in said


def test_several_workers_have_one_feeder(start_tap: StartTap, upstream: Upstream) -> None:
    tap = start_tap(config=settings(upstream.url, store={}, workers=2, quiet=True))
    wait_until(lambda: feeder_of(tap) is not None)
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in tap.members()]
    assert sum(b"store.feeder" in command for command in commands) == 1
    call_many(tap, 20)
    assert tap.stop() == 0
    assert set(ids_in(database(tap))) == traced(tap)


def test_r99_kill_9_of_feeder_and_proxy_loses_and_doubles_nothing(
    stored: LLMTap, figure: Figure, pytestconfig: pytest.Config
) -> None:
    rounds = pytestconfig.getoption("--store-rounds")
    answered: list[str] = []
    rng = random.Random(5)
    for number in range(rounds):
        answered += call_many(stored, rng.randrange(5, 40))
        if number % 3 == 2:
            stored.kill9(group=True)
            stored.restart()
        elif pid := feeder_of(stored):
            os.kill(pid, signal.SIGKILL)
    wait_until(is_complete(stored, lambda: ids_in(database(stored)), len(answered)))
    found = ids_in(database(stored))
    assert set(answered) <= set(found)
    assert len(found) == len(set(found))
    assert sqlite3.connect(database(stored)).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    figure("record 3", kills=rounds, rows=len(found), lost=0, doubled=0)


def test_r100_locked_rows_come_later_once(
    stored: LLMTap, figure: Figure, pytestconfig: pytest.Config
) -> None:
    seconds = pytestconfig.getoption("--store-away")
    call_many(stored, 5)
    wait_until(is_complete(stored, lambda: ids_in(database(stored)), 5))
    holder = sqlite3.connect(database(stored), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    until, answered = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        answered += len(call_many(stored, 10))
    assert len(ids_in(database(stored))) == 5
    holder.execute("ROLLBACK")
    holder.close()
    behind = 30 + answered / 300
    wait_until(is_complete(stored, lambda: ids_in(database(stored)), answered + 5), behind)
    assert len(ids_in(database(stored))) == answered + 5
    figure("record 3", locked_s=seconds, answered=answered, failed=0, lost=0, doubled=0)


async def _database(server: PostgresServer) -> str:
    return await server.new_database()


def test_r100_postgres_killed_rows_come_later_once(
    own_postgres: PostgresServer,
    start_tap: StartTap,
    upstream: Upstream,
    figure: Figure,
    pytestconfig: pytest.Config,
) -> None:
    seconds = pytestconfig.getoption("--store-away")
    url = asyncio.run(_database(own_postgres))
    tap = start_tap(config=settings(upstream.url, store={"database_url": url}, quiet=True))
    call_many(tap, 20)
    wait_until(is_complete(tap, lambda: ids_at(url), 20))
    own_postgres.kill()
    until, answered = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        answered += len(call_many(tap, 10))
    own_postgres.start()
    answered += len(call_many(tap, 10))
    wait_until(is_complete(tap, lambda: ids_at(url), answered + 20), 30 + answered / 300)
    assert len(ids_at(url)) == answered + 20
    assert "postgres@" not in tap.output
    figure("record 3", postgres_away_s=seconds, answered=answered, failed=0, lost=0, doubled=0)


def test_away_from_the_start_serves_all_the_same(
    own_postgres: PostgresServer, start_tap: StartTap, upstream: Upstream
) -> None:
    url = asyncio.run(_database(own_postgres))
    own_postgres.kill()
    tap = start_tap(config=settings(upstream.url, store={"database_url": url}, quiet=True))
    call_many(tap, 5)
    own_postgres.start()
    wait_until(is_complete(tap, lambda: ids_at(url), 5), 30)


def test_r101_a_newer_schema_refuses_with_one_line(
    stored: LLMTap, start_tap: StartTap, tmp_path: Path
) -> None:
    stored.stop()
    connection = sqlite3.connect(database(stored))
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    stored.launch()
    assert stored.wait(15) != 0
    said = stored.output
    assert "schema 9999, which is newer than this llmtap knows" in said
    assert "Traceback" not in said
    assert "store cannot start: the store has schema 9999" in said
    assert "mend it there" not in said, "there is no code of the user's to mend"
    reader = Reader(open_engine(store_url(None, stored.trace_dir), writes=False))
    with pytest.raises(StoreError, match="newer"):
        asyncio.run(reader.check())
    asyncio.run(reader.close())


WRITE = """
import asyncio, sys
from pathlib import Path
from src.store import schema
from src.store.engine import open_engine, store_url
from src.store.writing import Writer
from tests.store.making import many, put
async def main(first, count):
    engine = open_engine(store_url(None, Path(sys.argv[3])), writes=True, busy_s=60)
    writer = Writer(engine)
    for n in range(first, first + count, 20):
        await writer.apply([put(k, f"said {k}") for k in range(n, n + 20)])
    await engine.dispose()
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_r98_four_writers_at_once_lose_nothing(
    engine: object, tmp_path: Path, figure: Figure, pytestconfig: pytest.Config
) -> None:
    each = pytestconfig.getoption("--store-rows") // 4
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, str(n * each), str(each), str(tmp_path)], cwd=ROOT
        )
        for n in range(4)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0, 0]
    found = ids_in(tmp_path / ".store" / "records.sqlite")
    assert sorted(found) == [put(n).id for n in range(4 * each)]
    figure("record 3", writers=4, rows=len(found), lost=0)


# --- index, retention, archive ---


@pytest.fixture
def index(stored: LLMTap) -> Callable[[], str]:
    def run() -> str:
        command = [sys.executable, "-m", "src.main", "index", "--trace-dir", str(stored.trace_dir)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_index_makes_the_store_again(stored: LLMTap, index: Callable[[], str]) -> None:
    call_many(stored, 25)
    stored.stop()
    for path in (stored.trace_dir / ".store").iterdir():
        path.unlink()
    assert "25 traces: 25 rows written, 0 as they were" in index()
    assert set(ids_in(database(stored))) == traced(stored)
    stored.files()[0].unlink()
    stored.files()[0].write_text("{}")
    assert "0 rows written, 23 as they were, 1 without a file removed, 1 files are no" in index()


async def test_index_of_a_folder_that_is_away_takes_no_row(
    shared_postgres: PostgresServer, tmp_path: Path
) -> None:
    url = await shared_postgres.new_database()
    engine = open_engine(store_url(url, tmp_path), writes=True)
    await schema.upgrade(engine)
    await Writer(engine).apply(list(many(3, seed=1)))
    place = tmp_path / "tarces"
    (tmp_path / "config.yaml").write_text(
        f"upstreams: [{{type: openai}}]\nstore: {{database_url: '{url}'}}\ntrace_dir: {place}\n"
    )
    command = [sys.executable, "-m", "src.main", "index", "-c", str(tmp_path / "config.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = f"{place}: no such file or directory; give another by --trace-dir\n"
    assert (done.returncode, done.stderr) == (1, told)
    async with engine.connect() as connection:
        assert len((await connection.execute(select(records.c.id))).all()) == 3
    await engine.dispose()
    assert not place.exists()


def test_index_beside_a_running_feeder(stored: LLMTap, index: Callable[[], str]) -> None:
    call_many(stored, 60)
    index()
    call_many(stored, 10)
    wait_until(is_complete(stored, lambda: ids_in(database(stored)), 70))
    assert len(ids_in(database(stored))) == 70


def test_retention_takes_file_and_row(start_tap: StartTap, upstream: Upstream) -> None:
    config = settings(upstream.url, store={}, quiet=True)
    tap = start_tap(config={**config, "middlewares": ["trace"]})
    call_many(tap, 30)
    tap.stop()
    assert len(ids_in(database(tap))) == 30
    tap.config = {**config, "middlewares": [{"trace": {"keep_count": 10}}]}
    tap.restart()
    call_many(tap, 1)  # wakes the recorder, whose first sweep is due
    wait_until(lambda: len(tap.files()) <= 11)
    wait_until(is_complete(tap, lambda: ids_in(database(tap))))
    assert len(ids_in(database(tap))) <= 11


async def test_the_archive_drops_what_was_said_and_keeps_figures(
    start_tap: StartTap, upstream: Upstream
) -> None:
    config = settings(upstream.url, store={}, quiet=True)
    tap = start_tap(config={**config, "middlewares": ["trace"]})
    wanted = call_many(tap, 3)
    tap.stop()
    reader = Reader(open_engine(store_url(None, tap.trace_dir), writes=False))
    said = Asked(FIELDS["body"], Op.MATCH, "pineapple")
    assert len((await reader.page(said)).rows) == 3
    before = await reader.get(wanted[0])
    tap.config = {**config, "middlewares": [{"trace": {"keep_bodies_days": 1e-6}}]}
    tap.restart()
    call_many(tap, 1)
    deadline = time.monotonic() + 10
    while len((await reader.page(said)).rows) > 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert await reader.get(wanted[0]) == before
    assert before is not None
    path = tap.trace_dir / before.file
    document = TraceDocument.model_validate_json(path.read_bytes())
    assert document.request.body.kind == "omitted"
    assert document.request.body.truncated is not None
    assert document.request.body.truncated.reason == "older than keep_bodies_days"
    assert document.request.body.wire_bytes == len(BODY)
    assert b"pineapple" not in path.read_bytes()
    await reader.close()


# --- whatever happens to the folder ---


def test_a_store_folder_that_was_removed_is_made_anew_under_a_running_program(
    stored: LLMTap, index: Callable[[], str]
) -> None:
    call_many(stored, 3)
    wait_until(is_complete(stored, lambda: ids_in(database(stored)), 3))
    shutil.rmtree(stored.trace_dir / ".store")
    wait_until(lambda: ids_in(database(stored)) == [] and database(stored).exists(), 10)
    later = call_many(stored, 4)
    wait_until(lambda: sorted(ids_in(database(stored))) == sorted(later), 10)
    index()
    assert sorted(ids_in(database(stored))) == sorted(traced(stored))
    assert len(traced(stored)) == 7


def test_a_gateway_without_a_store_beside_one_with_it_harms_nothing(
    stored: LLMTap, start_tap: StartTap, upstream: Upstream, index: Callable[[], str]
) -> None:
    other = start_tap(
        config=settings(upstream.url, quiet=True), args=("--trace-dir", str(stored.trace_dir))
    )
    call_many(stored, 10)
    call_many(other, 10)
    index()
    call_many(other, 10)
    call_many(stored, 10)
    wait_until(lambda: len(traced(stored)) == 40)
    wait_until(lambda: len(ids_in(database(stored))) >= 30)
    assert other.stop() == 0
    index()
    assert sorted(ids_in(database(stored))) == sorted(traced(stored))


def test_two_gateways_that_feed_different_databases_from_one_folder_are_told(
    stored: LLMTap, start_tap: StartTap, upstream: Upstream, tmp_path: Path
) -> None:
    wait_until(lambda: feeder_of(stored) is not None)
    store = {"database_url": f"sqlite:///{tmp_path}/other.sqlite"}
    config = settings(upstream.url, store=store, quiet=True)
    folder = ("--trace-dir", str(stored.trace_dir))
    other = start_tap(config=config, args=folder)
    wait_until(lambda: "another llmtap feeds another database" in other.output)
    alike = start_tap(config=settings(upstream.url, store={}, quiet=True), args=folder)
    call_many(alike, 3)
    wait_until(is_complete(stored, lambda: ids_in(database(stored)), 3))
    assert stored.stop() == 0
    assert "another llmtap feeds" not in stored.output + alike.output
