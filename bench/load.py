"""The two load clients, run and read: wrk for requests, streams.c for streams."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.process import LOAD_CORE, pinned
from bench.systems import MissingToolError, build

_SCRIPT = Path(__file__).with_name("post.lua")
_UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


@dataclass(slots=True)
class Requests:
    """What wrk saw: answers and failures in so many seconds, latencies in microseconds."""

    answered: int
    seconds: float
    p50_us: float
    p99_us: float
    failed: int

    @property
    def per_s(self) -> float:
        return self.answered / self.seconds


def wrk(port: int, connections: int, seconds: float, script: Path = _SCRIPT) -> Requests:
    """Posts chats for so long; wrk counts in whole seconds."""
    binary = shutil.which("wrk")
    if binary is None:
        raise MissingToolError("wrk is not installed; on Debian: apt-get install wrk")
    command = [binary, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    command += ["-s", str(script), f"http://127.0.0.1:{port}/v1/chat/completions"]
    return parse_wrk(_run(command, seconds))


def parse_wrk(text: str) -> Requests:
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    latencies = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+(?:us|ms|s|m))\s*$", text, re.MULTILINE))
    if total is None or len(latencies) < 2:
        raise RuntimeError(f"wrk printed something else:\n{text}")
    failed = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    failed += sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    return Requests(
        answered=int(total[1]),
        seconds=_us(total[2] + total[3]) / 1e6,
        p50_us=_us(latencies["50"]),
        p99_us=_us(latencies["99"]),
        failed=failed,
    )


def _us(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]  # its callers matched it
    return float(number) * _UNITS_US[unit]


@dataclass(slots=True)
class Streams:
    """What streams.c saw; delays from the upstream's write to the client's read."""

    events_per_s: float
    streams: int
    errors: int
    first_p50_us: float
    first_p99_us: float
    delay_p50_us: float
    delay_p99_us: float
    delay_max_us: float


def streams(
    port: int, count: int, seconds: float, events: int = 100, gap_us: int = 20_000
) -> Streams:
    """`count` streams at once of `events` events, one each `gap_us`, for so long."""
    command = [build("streams"), *map(str, (port, count, seconds, events, gap_us))]
    return parse_streams(_run(command, seconds))


def parse_streams(text: str) -> Streams:
    plain = dict(re.findall(r"([a-z/]+)=([\d.]+)", text))
    first = re.search(r"ttfb_us p50=(\d+) p99=(\d+)", text)
    delay = re.search(r"delay_us p50=(\d+) p99=(\d+) max=(\d+)", text)
    if first is None or delay is None:
        raise RuntimeError(f"streams printed something else:\n{text}")
    return Streams(
        float(plain["chunks/s"]),
        int(plain["streams"]),
        int(plain["errors"]) + int(plain["unfinished"]),
        *(float(n) for n in first.groups()),
        *(float(n) for n in delay.groups()),
    )


def _run(command: list[str], seconds: float) -> str:
    """On the core of the load; streams that hang are given up by their own client after 20 s."""
    done = subprocess.run(
        pinned(LOAD_CORE, command),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout
