"""The recorder as a real process: killed, starved, and left alone."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from src.middlewares.trace import Trace
from src.proxy.exchange import Cause
from tests.tracing.support import (
    CHAT_REQUEST,
    KEY,
    alive,
    compact,
    load_traces,
    new_exchange,
    new_trace,
    pass_through,
    response,
    trace_files,
    wait_until,
)

ROOT = Path(__file__).parents[2]


def recorder_pid(trace: Trace) -> int:
    assert trace._journal is not None
    pid = trace._journal._recorder.pid
    assert pid is not None
    return pid


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Trace]]]:
    running: list[Trace] = []

    async def go(**options: object) -> Trace:
        trace = new_trace(tmp_path, **options)
        await trace.start()
        running.append(trace)
        return trace

    yield go
    for trace in running:
        await trace.stop()


Start = Callable[..., Awaitable[Trace]]


def balance(trace: Trace) -> bool:
    now = trace.counters()
    return now["accepted"] == now["written"] + now["dropped"] + now["failed"]


async def test_a_finished_exchange_is_a_file_within_a_moment(start: Start, tmp_path: Path) -> None:
    trace = await start()
    wanted = await pass_through(trace, new_exchange())
    await until(lambda: bool(trace_files(tmp_path)))
    document = load_traces(tmp_path)[wanted]
    assert document["summary"]["cause"] == "ok"
    await until(lambda: balance(trace))
    (path,) = trace_files(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.name.endswith("_openai_gpt-4o-mini_200.json")


async def test_stop_waits_for_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    trace = new_trace(tmp_path)
    await trace.start()
    pid = recorder_pid(trace)
    ids = {await pass_through(trace, new_exchange()) for _ in range(300)}
    await trace.stop()
    assert set(load_traces(tmp_path)) == ids
    assert trace.counters()["written"] == 300
    assert balance(trace)
    assert not alive(pid)
    assert list((tmp_path / ".journal").iterdir()) == []
    assert list((tmp_path / ".tmp").iterdir()) == []


async def test_signals_to_the_group_do_not_end_it(start: Start, tmp_path: Path) -> None:
    trace = await start()
    await pass_through(trace, new_exchange())
    await until(lambda: bool(trace_files(tmp_path)))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(recorder_pid(trace), number)
    wanted = await pass_through(trace, new_exchange())
    await until(lambda: wanted in load_traces(tmp_path))


async def test_killed_alone_it_is_started_again_and_nothing_is_lost(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.tracing.child._RESTART_PAUSE_S", 0.05)
    trace = await start()
    ids = set()
    for _ in range(6):
        ids |= {await pass_through(trace, new_exchange()) for _ in range(40)}
        await asyncio.sleep(random.random() * 0.05)
        os.kill(recorder_pid(trace), signal.SIGKILL)
        before = recorder_pid(trace)
        await until(lambda before=before: recorder_pid(trace) != before)
    await until(lambda: balance(trace))
    assert set(load_traces(tmp_path)) == ids
    assert trace.counters()["written"] == len(ids) == 240


async def test_dead_at_the_stop_another_writes_what_there_is(tmp_path: Path) -> None:
    trace = new_trace(tmp_path)
    await trace.start()
    os.kill(recorder_pid(trace), signal.SIGKILL)
    ids = {await pass_through(trace, new_exchange()) for _ in range(50)}
    await trace.stop()
    assert set(load_traces(tmp_path)) == ids
    assert trace.counters()["written"] == 50
    assert list((tmp_path / ".journal").iterdir()) == []


async def test_an_exchange_open_while_the_recorder_dies_is_whole_afterwards(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.tracing.child._RESTART_PAUSE_S", 0.05)
    trace = await start()

    def kill(_: object) -> None:
        os.kill(recorder_pid(trace), signal.SIGKILL)

    body = compact(CHAT_REQUEST)
    wanted = await pass_through(trace, new_exchange(body), while_open=kill)
    await until(lambda: wanted in load_traces(tmp_path))
    document = load_traces(tmp_path)[wanted]
    assert document["state"] == "complete"
    assert document["request"]["body"]["value"] == CHAT_REQUEST


def lives(tmp_path: Path, ledger: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tracing.killed", str(tmp_path), str(ledger)], cwd=ROOT
    )


def journals(folder: Path) -> list[Path]:
    found = folder / ".journal"
    return list(found.iterdir()) if found.exists() else []


def accepted(ledger: Path) -> set[str]:
    lines = ledger.read_text().split("\n")[:-1]
    return {line for line in lines if line != "ready"}


def kill_at_random(tmp_path: Path, ledger: Path, rng: random.Random) -> None:
    process = lives(tmp_path, ledger)
    wait_until(lambda: ledger.exists() and ledger.read_text().count("ready") > 0, 10)
    time.sleep(rng.random() * 0.03)
    process.kill()
    process.wait()


def test_a_killed_proxys_exchanges_are_all_written_by_its_recorder(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for round_ in range(4):
        folder, ledger = tmp_path / str(round_), tmp_path / f"ledger-{round_}"
        kill_at_random(folder, ledger, rng)
        wait_until(lambda folder=folder: journals(folder) == [], 15)
        documents = load_traces(folder)
        assert accepted(ledger) <= set(documents)
        states = [d["state"] for d in documents.values()]
        assert bool(accepted(ledger)) <= states.count("recovered") <= 7
        crashed = [d for d in documents.values() if d["state"] == "recovered"]
        assert {d["termination"]["cause"] for d in crashed} <= {"crash"}
        assert KEY not in b"".join(p.read_bytes() for p in trace_files(folder))


@pytest.mark.slow
def test_a_proxy_killed_twenty_times_loses_nothing(tmp_path: Path) -> None:
    rng = random.Random(7)
    for round_ in range(20):
        folder, ledger = tmp_path / str(round_), tmp_path / f"ledger-{round_}"
        kill_at_random(folder, ledger, rng)
        wait_until(lambda folder=folder: journals(folder) == [], 15)
        assert accepted(ledger) <= set(load_traces(folder))


async def test_when_both_are_killed_the_next_start_recovers(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    folder = tmp_path / "traces"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tracing.killed", str(folder), str(ledger)],
        cwd=ROOT,
        start_new_session=True,
    )
    await until(lambda: ledger.exists() and ledger.read_text().count("\n") > 20, 10)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = journals(folder)
    assert len(left) == 1
    assert KEY not in b"".join(p.read_bytes() for p in left[0].iterdir())
    trace = new_trace(folder)
    await trace.start()
    await until(lambda: len(journals(folder)) == 1, 10)
    await trace.stop()
    documents = load_traces(folder)
    assert accepted(ledger) <= set(documents)
    assert any(d["state"] == "recovered" for d in documents.values())
    assert trace.counters()["recovered"] > 0
    assert trace.counters()["accepted"] == 0


async def test_two_recorders_do_not_take_the_same_journal(start: Start, tmp_path: Path) -> None:
    first = await start()
    wanted = None

    async def second_starts() -> None:
        nonlocal wanted
        second = await start()
        wanted = await pass_through(second, new_exchange())

    exchange = new_exchange()
    await pass_through(first, exchange)
    await second_starts()
    await until(lambda: len(load_traces(tmp_path)) == 2)
    assert {d["state"] for d in load_traces(tmp_path).values()} == {"complete"}


async def test_a_reader_never_sees_half_a_file(start: Start, tmp_path: Path) -> None:
    trace = await start()
    big = compact({"model": "m", "input": "x" * 400_000})
    for _ in range(30):
        await pass_through(trace, new_exchange(big))
        for path in trace_files(tmp_path):
            json.loads(path.read_bytes())
    await until(lambda: len(trace_files(tmp_path)) == 30)


async def test_a_disk_that_refuses_is_tried_again_until_it_takes(
    start: Start, tmp_path: Path
) -> None:
    trace = await start()
    first = await pass_through(trace, new_exchange())
    await until(lambda: first in load_traces(tmp_path))
    pid = recorder_pid(trace)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 4096))  # every open fails: EMFILE
    ids = [await pass_through(trace, new_exchange()) for _ in range(20)]
    await asyncio.sleep(0.2)
    assert trace.counters()["written"] == 1
    assert trace.counters()["pending"] == 20
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, 4096))
    await until(lambda: set(ids) <= set(load_traces(tmp_path)))
    await until(lambda: balance(trace))
    assert trace.counters()["failed"] == 0


async def test_a_file_that_is_too_large_for_the_disk_loses_its_bodies_only(
    start: Start, tmp_path: Path
) -> None:
    trace = await start()
    pid = recorder_pid(trace)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    wanted = await pass_through(trace, new_exchange(compact({"input": "x" * 100_000})))
    await until(lambda: wanted in load_traces(tmp_path))
    body = load_traces(tmp_path)[wanted]["request"]["body"]
    assert body["kind"] == "omitted"
    assert body["wire_bytes"] > 100_000
    assert "refused" in body["truncated"]["reason"]


async def test_what_cannot_be_written_at_the_end_stays_for_the_next_start(tmp_path: Path) -> None:
    trace = new_trace(tmp_path)
    await trace.start()
    pid = recorder_pid(trace)
    first = await pass_through(trace, new_exchange())
    await until(lambda: first in load_traces(tmp_path))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 4096))
    wanted = await pass_through(trace, new_exchange())
    await trace.stop()
    assert trace.counters()["failed"] == 1
    assert balance(trace)
    trace = new_trace(tmp_path)
    await trace.start()
    await until(lambda: wanted in load_traces(tmp_path))
    assert load_traces(tmp_path)[wanted]["state"] == "complete"
    await trace.stop()


async def test_a_folder_that_somebody_removes_is_made_again(start: Start, tmp_path: Path) -> None:
    trace = await start()
    await pass_through(trace, new_exchange())
    await until(lambda: bool(trace_files(tmp_path)))
    for path in trace_files(tmp_path):
        path.unlink()
    next(tmp_path.glob("????-??-??")).rmdir()
    wanted = await pass_through(trace, new_exchange())
    await until(lambda: wanted in load_traces(tmp_path))


async def test_a_megabyte_body_keeps_ten_kilobytes_its_length_and_its_hash(
    start: Start, tmp_path: Path
) -> None:
    trace = await start(body_bytes=10_000)
    asked, answer = b"q" * 1_000_000, b"a" * 700_000
    chunks = [answer[i : i + 64_000] for i in range(0, len(answer), 64_000)]
    kind = b"text/plain"
    exchange = new_exchange(asked, headers=[(b"Content-Type", kind)])
    wanted = await pass_through(trace, exchange, response(content_type=kind), chunks)
    await until(lambda: wanted in load_traces(tmp_path))
    document = load_traces(tmp_path)[wanted]
    for part, whole in (("request", asked), ("response", answer)):
        body = document[part]["body"]
        assert body["sha256"] == hashlib.sha256(whole).hexdigest()
        assert body["wire_bytes"] == len(whole)
        assert body["truncated"]["kept_bytes"] == len(body["value"]) == 10_000


async def test_a_secret_cut_in_two_is_nowhere_on_disk(start: Start, tmp_path: Path) -> None:
    trace = await start()
    answer = b'{"error":{"message":"bad key ' + KEY + b' here"}}'
    seen: set[bytes] = set()

    def look(_: object) -> None:
        for path in tmp_path.rglob("*.seg"):
            data = path.read_bytes()
            seen.update(KEY[:n] for n in range(6, len(KEY) + 1) if KEY[:n] in data)

    cut = answer.index(KEY) + len(KEY) // 2
    wanted = await pass_through(
        trace,
        new_exchange(),
        response(status=401, length=len(answer)),
        [answer[:cut], answer[cut:]],
        while_open=look,
    )
    await until(lambda: wanted in load_traces(tmp_path))
    document = load_traces(tmp_path)[wanted]
    assert seen == set()
    assert document["response"]["body"]["value"]["error"]["message"] == "bad key [REDACTED] here"
    assert "/response/body/value/error/message" in document["redactions"]
    assert document["response"]["body"]["sha256"] == hashlib.sha256(answer).hexdigest()
    assert KEY.decode() not in json.dumps(document)


async def test_a_cause_the_data_plane_tells_is_kept(start: Start, tmp_path: Path) -> None:
    trace = await start()
    wanted = await pass_through(trace, new_exchange(), cause=Cause.TIMEOUT)
    await until(lambda: wanted in load_traces(tmp_path))
    assert load_traces(tmp_path)[wanted]["termination"]["cause"] == "timeout"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


async def test_a_full_disk_holds_up_nothing_and_recovers_by_itself(small_disk: Path) -> None:
    trace = new_trace(small_disk)
    await trace.start()
    first = await pass_through(trace, new_exchange())
    await until(lambda: first in load_traces(small_disk))
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    began = time.monotonic()
    ids = [await pass_through(trace, new_exchange()) for _ in range(100)]
    assert time.monotonic() - began < 1, "traffic is unaffected"
    await asyncio.sleep(0.3)
    for path in trace_files(small_disk):
        json.loads(path.read_bytes())
    ballast.unlink()
    await until(lambda: balance(trace))
    assert set(ids) <= set(load_traces(small_disk))
    last = await pass_through(trace, new_exchange())
    await until(lambda: last in load_traces(small_disk))
    await trace.stop()
    counters = trace.counters()
    assert (counters["accepted"], counters["written"]) == (102, 102)
