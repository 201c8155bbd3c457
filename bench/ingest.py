"""Measures the store beside the traffic: `python -m bench.ingest [--postgres]`.

llmtap traces, in turns without and with a store, as fast as it can; its processes have one core,
the upstream and the load the other. Then: do the rows keep up with the traces? Progress goes to
stderr, the figures to stdout. Needs wrk and a C compiler.

With `--rate` so many requests a second instead: how far behind are the rows when the load ends?
With `--own-core` the feeder has the load's core, which is free once the load has ended.

ext4 looks at each inode that was freed in the last five minutes before it gives out one: where many
files were deleted just now, a trace takes several times as long to write. Wait, or let TMPDIR lie
on a file system of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from bench import traces
from bench.load import wrk
from bench.process import LOAD_CORE, cores
from bench.systems import Tap, Upstream
from src.store.engine import open_engine, store_url
from src.store.tables import records

_WORDS = Path(__file__).with_name("words.lua")
_CONNECTIONS = 64
_MOST_S = 240


@dataclass(slots=True)
class Round:
    """`rows_at_end`, `traces_at_end`: when the load ended. `*_s`: from the load's begin until all
    were there. `cpu_us`: of each process, a request."""

    per_s: float
    failed: int
    written: int
    traces_at_end: int
    traces_s: float
    rows: int = 0
    rows_at_end: int = 0
    rows_s: float = 0.0
    cpu_us: dict[str, float] = field(default_factory=dict)


def main() -> int:
    options = _options()
    if cores() > 1:
        os.sched_setaffinity(0, {LOAD_CORE})
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="llmtap-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        upstream = Upstream(folder / "upstream")
        stack.callback(upstream.process.stop)
        upstream.serve()
        server = _postgres(folder, stack) if options.postgres else None
        rounds = []
        for number in range(options.rounds):
            url = asyncio.run(server.new_database()) if server is not None else None
            stores: list[Mapping[str, str] | None] = [None, {"database_url": url} if url else {}]
            pair = {}
            for store in stores if number % 2 else reversed(stores):
                at = folder / f"{number}-{store is not None}"
                at.mkdir()
                script = _paced(at, options.rate) if options.rate else _WORDS
                seconds, own_core = options.seconds, options.own_core
                pair[store is not None] = _round(upstream, store, at, seconds, script, own_core)
            rounds.append((pair[False], pair[True]))
        _print(rounds)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rate", type=int, help="requests/s; else as many as it can")
    parser.add_argument("--own-core", action="store_true", help="the feeder on the other core")
    parser.add_argument("--postgres", action="store_true", help="in a server of its own")
    return parser.parse_args()


def _postgres(folder: Path, stack: ExitStack):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from tests.support.postgres import PostgresServer  # noqa: PLC0415  only for this

    server = PostgresServer(folder=folder / "postgres", options={"shared_buffers": "256MB"})
    stack.callback(server.stop)
    return server.start()


def _paced(folder: Path, rate: int) -> Path:
    script = folder / "paced.lua"
    pause_ms = round(_CONNECTIONS / rate * 1000)
    script.write_text(f"{_WORDS.read_text()}\nfunction delay() return {pause_ms} end\n")
    return script


def _round(
    upstream: Upstream,
    store: Mapping[str, str] | None,
    at: Path,
    seconds: float,
    script: Path,
    own_core: bool,
) -> Round:
    tap = Tap(upstream.port, traced=True, store=store)
    tap.start(at)
    try:
        if own_core:
            _move_feeder(tap)
        before, began = _cpu_s(tap), time.monotonic()
        load = wrk(tap.port, _CONNECTIONS, seconds, script)
        found = Round(load.per_s, load.failed, 0, traces.count(tap.traces), 0.0)
        if store is not None:
            found.rows_at_end = _rows(tap, store)
        _wait(tap, store, found, load.answered, began)
        found.cpu_us = {
            name: (spent - before[name]) / found.written * 1e6
            for name, spent in _cpu_s(tap).items()
        }
    finally:
        tap.stop()
    print(f"  {found}", file=sys.stderr, flush=True)
    return found


def _cpu_s(tap: Tap) -> dict[str, float]:
    return {_name(pid): spent for pid, spent in tap.process.cpu_s().items()}


def _name(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return next((n for n in ("recorder", "feeder") if f".{n}\0".encode() in command), "proxy")


def _move_feeder(tap: Tap) -> None:
    for pid in tap.process.pids():
        if _name(pid) == "feeder":
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {LOAD_CORE})


def _wait(
    tap: Tap, store: Mapping[str, str] | None, found: Round, answered: int, began: float
) -> None:
    """wrk cuts what is under way at its end: so many traces more may come."""
    still = 0
    while time.monotonic() < began + _MOST_S:
        written, rows = traces.count(tap.traces), _rows(tap, store) if store is not None else 0
        now = time.monotonic() - began
        still = still + 1 if (written, rows) == (found.written, found.rows) else 0
        if written != found.written:
            found.written, found.traces_s = written, now
        if rows != found.rows:
            found.rows, found.rows_s = rows, now
        if written >= answered and (store is None or rows == written) and still > 1:
            return
        time.sleep(1)  # counting costs the core that the load had
    raise RuntimeError(f"of {answered} requests {found.written} traces, {found.rows} rows")


def _rows(tap: Tap, store: Mapping[str, str]) -> int:
    async def count() -> int:
        engine = open_engine(store_url(store.get("database_url"), tap.traces), writes=False)
        try:
            async with engine.connect() as connection:
                return await connection.scalar(select(func.count()).select_from(records)) or 0
        except SQLAlchemyError:
            return 0
        finally:
            await engine.dispose()

    return asyncio.run(count())


def _print(rounds: Sequence[tuple[Round, Round]]) -> None:
    def shown(values: Sequence[float], digits: int) -> str:
        middle, least, most = statistics.median(values), min(values), max(values)
        return f"{middle:,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"

    with_store = [after for _, after in rounds]
    lines = {
        "requests/s without a store": shown([b.per_s for b, _ in rounds], 0),
        "requests/s with one": shown([a.per_s for a in with_store], 0),
        "with of without, pair by pair (asked: 0.90)": shown(
            [a.per_s / b.per_s for b, a in rounds], 3
        ),
        "failed": str(sum(a.failed + b.failed for b, a in rounds)),
        "traces/s until the last, without a store": shown(
            [b.written / b.traces_s for b, _ in rounds], 0
        ),
        "traces/s until the last, with one": shown([a.written / a.traces_s for a in with_store], 0),
        "rows/s until the last": shown([a.rows / a.rows_s for a in with_store], 0),
        "rows behind the answers when the load ended, s": shown(
            [(a.written - a.rows_at_end) / a.per_s for a in with_store], 2
        ),
        "traces behind them, s": shown(
            [(a.written - a.traces_at_end) / a.per_s for a in with_store], 2
        ),
        "last row after the last trace, s": shown([a.rows_s - a.traces_s for a in with_store], 1),
        **{
            f"CPU of the {name} a request, us": shown([a.cpu_us[name] for a in with_store], 0)
            for name in ("proxy", "recorder", "feeder")
        },
        "traces without a row": str(sum(a.written - a.rows for a in with_store)),
    }
    print("| what | median (least to most) |\n|---|---|")
    for what, figure in lines.items():
        print(f"| {what} | {figure} |")


if __name__ == "__main__":
    sys.exit(main())
