"""The figures of bench/RELIABILITY.md: each point's command, run, and what it counted.

    python -m bench.reliability [--only 2,5] [--write]

Each command appends its figures to a file of JSON lines (`--figures`), so that points can be run
one by one; the page is made of the last figures of each. About 45 minutes for all, of which 10 are
the soak.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "bench" / "RELIABILITY.md"
FIGURES = ROOT / "bench" / "reliability.jsonl"


@dataclass(frozen=True)
class Point:
    """`number` of the page; `asked`: what must come out; `command` without its interpreter."""

    number: int
    title: str
    asked: str
    command: str


_PYTEST = "pytest -q -p no:cacheprovider "
POINTS = (
    Point(
        1,
        "Bad requests and bad answers",
        "0 crashes, 0 hangs, 0 smuggled, 0 wrong answers to another caller",
        _PYTEST + "tests/faults/test_mutations.py --fault-examples 5000",
    ),
    Point(
        2,
        "An exchange cut at every byte",
        "one truthful trace each, nothing left active, the next request served",
        _PYTEST + "tests/faults/test_cut_everywhere.py --every-byte",
    ),
    Point(
        3,
        "Cancelled at every await",
        "pool, slots and trace right",
        _PYTEST + "tests/faults/test_cancelled_everywhere.py tests/faults/test_cancelled_asgi.py"
        " --every-byte",
    ),
    Point(
        4,
        "kill -9 under load",
        "0 torn files, 0 accepted requests without a trace",
        _PYTEST + "tests/test_crash.py tests/faults/test_workers_killed.py --crash-rounds 200",
    ),
    Point(
        5,
        "Disks that refuse",
        "0 failed requests, all counted, writing resumes",
        _PYTEST + "tests/faults/test_disk.py",
    ),
    Point(
        6,
        "10,000 streams, 30% cancelled, then 10 minutes",
        "file descriptors, tasks and memory flat",
        _PYTEST + "tests/faults/test_soak.py --streams 10000 --soak 10",
    ),
    Point(
        7,
        "1,000 slow clients, heads of 5 MB, gzip bombs beside ordinary load",
        "readiness within 200 ms, ordinary requests unharmed",
        _PYTEST + "tests/faults/test_abuse.py --slow-clients 1000",
    ),
    Point(
        8,
        "Concurrent streams held on one core with tracing",
        "2,000, and what the machine gives beyond",
        _PYTEST + "tests/faults/test_many_streams.py --held-streams 2000 --hold-more",
    ),
    Point(
        10,
        "Each defence switched off once",
        "its test turns red",
        "tests.faults.defences",
    ),
)


def main() -> int:
    """The exit code: 1 where a command failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.reliability", description=__doc__)
    parser.add_argument("--only", help="points, with commas between")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="%(default)s")
    options = parser.parse_args()
    chosen = {int(n) for n in options.only.split(",")} if options.only is not None else None
    failed = 0
    for point in POINTS:
        if chosen is None or point.number in chosen:
            failed += _run(point, options.figures)
    if options.write:
        PAGE.write_text(page(_read(options.figures)))
        print(f"written: {PAGE.relative_to(ROOT)}")
    return 1 if failed else 0


def _run(point: Point, figures: Path) -> int:
    began = time.monotonic()
    print(f"{point.number}. {point.title}: python -m {point.command}", flush=True)
    command = [sys.executable, "-m", *point.command.split(), "--figures", str(figures)]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    row = {"point": point.number, "ended": code, "seconds": round(time.monotonic() - began)}
    with figures.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return code


def _read(figures: Path) -> list[dict[str, Any]]:
    """Figures as the tests wrote them, and how each point's command ended; the last run of each."""
    rows: dict[int, list[dict[str, Any]]] = {}
    run: list[dict[str, Any]] = []
    for line in figures.read_text().splitlines():
        row = json.loads(line)
        run.append(row)
        if "ended" in row:
            rows[row["point"]] = [r for r in run if r["point"] == row["point"]]
            run = []
    return [row for point in sorted(rows) for row in rows[point]]


def page(rows: list[dict[str, Any]]) -> str:
    """The page, a section a point."""
    setting = (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, 2 cores, Linux {platform.release()}, "
        f"CPython {platform.python_version()}. Made by `python -m bench.reliability --write`; each "
        "point can be run alone, by its command, and may have been at another hour. A test that "
        "counts what must be 0 fails where it is not. Speed (point 9) is on "
        "[RESULTS.md](RESULTS.md), measured after all this."
    )
    parts = ["# What llmtap withstands", setting]
    for point in POINTS:
        mine = [row for row in rows if row["point"] == point.number]
        if mine:
            parts.append(_section(point, mine))
    return "\n\n".join(parts) + "\n"


def _section(point: Point, rows: list[dict[str, Any]]) -> str:
    end = rows[-1]
    state = "holds" if end["ended"] == 0 else "**falls short: a test failed**"
    lines = [
        f"## {point.number}. {point.title}",
        "",
        f"Asked: {point.asked}. {state[0].upper()}{state[1:]} ({end['seconds']} s).",
        "",
        f"    python -m {point.command}",
        "",
    ]
    return "\n".join(lines + [f"- {_told(row)}" for row in rows[:-1]])


def _told(row: dict[str, Any]) -> str:
    test = row.get("test", "").split("::")[-1]
    values = ", ".join(
        f"{_words(name)} {_value(name, value)}" for name, value in row["values"].items()
    )
    return f"`{test}`: {values}" if test else values


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(name: str, value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and name != "seed" else str(value)


if __name__ == "__main__":
    sys.exit(main())
