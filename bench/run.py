"""Measures what the program costs: `python -m bench.run`, some ten minutes; `--write` keeps it.

The systems take turns, round by round: the upstream itself, nginx, llmtap without tracing, llmtap
with tracing. Progress goes to stderr, the page to stdout. Needs Linux, a C compiler, wrk, and
nginx to compare with (`apt-get install gcc wrk nginx`), and two free cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from bench import machine, measure, report, traces
from bench.process import LOAD_CORE, cores
from bench.systems import MissingToolError, Nginx, System, Tap, Upstream

RESULTS = Path(__file__).with_name("RESULTS.md")
PARTS = ("requests", "streams", "long", "start")
SHORT, LONG = 100, 500  # events of a stream: 2 and 10 seconds
Round = TypeVar("Round")


def main() -> int:
    """Exit code 0 when it measured, 1 when something failed, 2 when a tool is missing."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: cleaned up
    try:
        page = report.markdown(_measure(options))
    except MissingToolError as error:
        _say(str(error))
        return 2
    except RuntimeError as error:
        _say(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; every process it started is ended")
        return 1
    print(page)
    if options.write:
        RESULTS.write_text(page)
        _say(f"written to {RESULTS}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=5, help="of each system (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=4, help="a measurement of requests (%(default)s)"
    )
    parser.add_argument(
        "--stream-seconds", type=float, default=6, help="one of streams (%(default)s)"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; repeatable")
    parser.add_argument("--flag", action="append", default=[], help="for llmtap: --flag=--quiet")
    parser.add_argument("--write", action="store_true", help="keep the page in bench/RESULTS.md")
    parser.add_argument("--work", type=Path, help="traces and logs go here and stay")
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> report.Results:
    """All files are removed at the very end: ext4 is slow for a while after many were removed."""
    if cores() < 2:
        _say("one core only: nothing is pinned, and the ratios say little")
    else:
        os.sched_setaffinity(0, {LOAD_CORE})
    with ExitStack() as stack:
        folder = _work_folder(options.work, stack)
        upstream = Upstream(folder / "upstream")
        stack.callback(upstream.process.stop)
        upstream.serve()
        results = report.Results(machine.describe(folder), time.strftime("%Y-%m-%d"), _how(options))
        for part in options.only or PARTS:
            _MEASURE[part](options, folder, upstream, results)
        return results


def _work_folder(given: Path | None, stack: ExitStack) -> Path:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        return given.resolve()
    name = tempfile.mkdtemp(prefix="llmtap-bench-")
    stack.callback(shutil.rmtree, name, ignore_errors=True)
    return Path(name)


def _how(options: argparse.Namespace) -> str:
    flags = f" llmtap was given {' '.join(options.flag)}." if options.flag else ""
    return (
        f"{options.rounds} rounds: {options.seconds:g} s of requests (1.1 KB up, 1.5 KB down), "
        f"{options.stream_seconds:g} s of streams ({SHORT} events of 250 bytes each), then streams "
        f"of {LONG}.{flags} "
        f"Load average before the run: {os.getloadavg()[0]:.1f}."
    )


# --- the parts ---


def _requests(
    options: argparse.Namespace, folder: Path, upstream: Upstream, results: report.Results
) -> None:
    if shutil.which("wrk") is None:
        _say("wrk is not installed: requests are not measured; on Debian: apt-get install wrk")
        return
    systems = _systems(upstream, options)

    def one(system: System, at: Path) -> measure.RequestRound:
        found = measure.request_round(system, at, options.seconds)
        drained = f", {found.per_s_drained:,.0f}/s drained" if found.traces else ""
        _say(f"  {found.many.per_s:,.0f}/s{drained}, p50 at one {found.one.p50_us:,.0f} us")
        return found

    _in_turns("requests", systems, options.rounds, folder, one, results.requests, results)


def _streams(
    options: argparse.Namespace, folder: Path, upstream: Upstream, results: report.Results
) -> None:
    _streams_of(SHORT, options, folder, upstream, results)


def _long_streams(
    options: argparse.Namespace, folder: Path, upstream: Upstream, results: report.Results
) -> None:
    _streams_of(LONG, options, folder, upstream, results)


def _streams_of(
    events: int,
    options: argparse.Namespace,
    folder: Path,
    upstream: Upstream,
    results: report.Results,
) -> None:
    systems = _systems(upstream, options)
    name, rounds = ("long", results.long) if events == LONG else ("streams", results.streams)
    # A stream that has begun is read to its end: long enough for two of them, one after the other.
    seconds = max(options.stream_seconds, 1.2 * events / 50)

    def one(system: System, at: Path) -> measure.StreamRound:
        found = measure.stream_round(system, at, seconds, events)
        seen = found.streams
        _say(
            f"  {seen.events_per_s:,.0f} events/s, {seen.errors} errors, delay p99 "
            f"{seen.delay_p99_us / 1e3:.2f} ms, {found.memory.pss_mb:.0f} MB"
        )
        return found

    _in_turns(name, systems, options.rounds, folder, one, rounds, results)


def _start(
    options: argparse.Namespace, folder: Path, upstream: Upstream, results: report.Results
) -> None:
    for number in range(options.rounds):
        tap = Tap(upstream.port, traced=True, flags=tuple(options.flag))
        seconds = measure.start_s(tap, folder / f"start-{number}")
        _say(f"start {number + 1}/{options.rounds}: {seconds:.2f} s")
        results.starts_s.append(seconds)


_MEASURE = {
    "requests": _requests,
    "streams": _streams,
    "long": _long_streams,
    "start": _start,
}


def _systems(upstream: Upstream, options: argparse.Namespace) -> list[System]:
    systems: list[System] = [upstream]
    if Nginx.binary() is not None:
        systems.append(Nginx(upstream.port))
    else:
        _say("nginx is not installed: no ratios; on Debian: apt-get install nginx-light")
    flags = tuple(options.flag)
    systems += [Tap(upstream.port, traced=traced, flags=flags) for traced in (False, True)]
    return systems


def _in_turns(
    part: str,
    systems: list[System],
    rounds: int,
    folder: Path,
    one: Callable[[System, Path], Round],
    into: dict[str, list[Round]],
    results: report.Results,
) -> None:
    for number in range(rounds):
        for place, system in enumerate(systems):
            _say(f"{part} {number + 1}/{rounds}: {system.name}")
            found = one(system, folder / f"{part}-{number}-{place}")
            into.setdefault(system.name, []).append(found)
            if isinstance(system, Tap) and system.traced:
                said = traces.said_at_the_end(system.process.tail())
                results.counts_said += [said] if said else []


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
