"""What a running program holds, sampled over time: files, memory, tasks, journal; and its trend."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.client import call
from tests.support.tap import LLMTap


@dataclass(slots=True, frozen=True)
class Sample:
    """`at_s`: monotonic. Files and memory (PSS: shared pages count once) of all its processes."""

    at_s: float
    fds: int
    pss_mb: float
    journal_mb: float
    tasks: int
    connections: int
    in_flight: int
    threads: int


def sample(tap: LLMTap) -> Sample:
    pids = tap.members()
    health = told(tap)
    return Sample(
        time.monotonic(),
        sum(_entries(pid, "fd") for pid in pids),
        sum(_pss_kb(pid) for pid in pids) / 1024,
        _bytes_below(tap.trace_dir / ".journal") / 1e6,
        health["tasks"],
        health["connections"],
        health["in_flight"],
        sum(_entries(pid, "task") for pid in pids),
    )


def told(tap: LLMTap) -> dict[str, int]:
    """What `/health` says."""
    answer = call(tap.address, "GET", "/health", timeout=10)
    assert answer.status == 200
    figures: dict[str, int] = json.loads(answer.body)
    return figures


class Sampler:
    """Samples every `interval_s` in a thread of its own while the block runs."""

    def __init__(self, tap: LLMTap, interval_s: float) -> None:
        self.tap = tap
        self.interval_s = interval_s
        self.samples: list[Sample] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self.interval_s):
            self.samples.append(sample(self.tap))

    def per_minute(self, what: str) -> float:
        """The slope of one figure over the second half: the first is warming up."""
        half = self.samples[len(self.samples) // 2 :]
        return 60 * slope([(s.at_s, float(getattr(s, what))) for s in half])

    def most(self, what: str) -> float:
        return max(float(getattr(s, what)) for s in self.samples)


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares: the rise of y for each unit of x."""
    n = len(points)
    middle_x, middle_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    across = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / across if across else 0.0


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _entries(pid: int, folder: str) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/{folder}"))
    return 0


def _pss_kb(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # given back meanwhile
            status = path.stat()
            total += status.st_blocks * 512
    return total
