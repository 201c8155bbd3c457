"""Measures the query API over a store of `bench.store`: `python -m bench.api --folder FOLDER`.

The whole program, its web process asked one question after the other; medians of several rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from bench.process import Process, free_port
from bench.systems import ROOT

ASKED: dict[str, tuple[int, str]] = {
    "first page": (50, "requests"),
    "model:claude*": (50, "requests?q=model:claude*"),
    "status:>=400": (50, "requests?q=status:>=400"),
    "duration:>5m (rare)": (50, "requests?q=duration:>5m"),
    "tool:RareTool": (50, "requests?q=tool:RareTool"),
    "model:retired-1 (20 days ago)": (50, "requests?q=model:retired-1"),
    "sort=-cost": (50, "requests?sort=-cost"),
    "body:w01234": (300, "requests?q=body:w01234"),
    'body:"w00005 w00017"': (300, "requests?q=body:%22w00005 w00017%22"),
    "body:absent": (300, "requests?q=body:absent"),
    "sessions": (50, "sessions"),
    "stats by day": (1000, "stats?bucket=1d&q=since:2026-09-22"),
    "stats by model by day": (1000, "stats?bucket=1d&by=model&q=since:2026-09-22"),
    "stats by key by day": (1000, "stats?bucket=1d&by=key&q=since:2026-09-22"),
    "stats by key by hour": (1000, "stats?bucket=1h&by=key&q=since:2026-09-22"),
    "stats of key:key-07 by model by day": (
        1000,
        "stats?bucket=1d&by=model&q=since:2026-09-22 key:key-07",
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="given to bench.store")
    parser.add_argument("--url", help="its database, if not SQLite in that folder")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="llmtap-bench-") as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(
            json.dumps(
                {
                    "upstreams": [{"type": "openai", "base_url": "http://127.0.0.1:9"}],
                    "port": free_port(),
                    "trace_dir": str(options.folder.resolve()),
                    "store": {"database_url": options.url} if options.url else {},
                    "web": {"port": port},
                }
            )
        )
        command = [sys.executable, "-m", "src.main", "--config", str(config)]
        process = Process(command, Path(folder), env={"PYTHONPATH": str(ROOT)})
        process.start()
        try:
            process.wait_for(port)
            _measure(f"http://127.0.0.1:{port}/api/", options.rounds)
        finally:
            process.stop()
    return 0


def _measure(base: str, rounds: int) -> None:
    print("| asked of the API | median ms | worst ms | KB | asked, ms |\n|---|---:|---:|---:|---:|")
    with httpx.Client(base_url=base, timeout=60) as client:
        for what, (limit, path) in ASKED.items():
            took = []
            for _ in range(rounds):
                began = time.perf_counter()
                answer = client.get(path)
                took.append((time.perf_counter() - began) * 1000)
                if answer.status_code != 200:
                    raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
            middle, size = statistics.median(took), len(answer.content) / 1000
            print(f"| {what} | {middle:.1f} | {max(took):.1f} | {size:,.0f} | {limit} |")


if __name__ == "__main__":
    sys.exit(main())
