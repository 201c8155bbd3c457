"""What became of the traces of a load: waited for, counted, and looked into."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.systems import Tap

_SETTLED_S = 0.5
_SAMPLE = 300


@dataclass(slots=True)
class Traces:
    """Traces of one load. `files` may pass `answered` by the requests that wrk cut at its end.

    drain_s: from the end of the load to the last file; lost: answered requests without a file;
    short: of `looked_at` traces, those that lack a body or an event or did not end well.
    """

    answered: int
    files: int
    drain_s: float
    lost: int
    looked_at: int
    short: int


def count(folder: Path) -> int:
    return sum(1 for _ in _files(folder))


def settled(tap: Tap, before: int, answered: int, load_ended: float, timeout_s: float) -> Traces:
    """Waits until every answered request has its file and no more come, or for `timeout_s`.

    `before`: files there before the load; `load_ended`: time.time() at its end.
    """
    until, last, since = time.monotonic() + timeout_s, -1, time.monotonic()
    while time.monotonic() < until:
        now = count(tap.traces) - before
        if now != last:
            last, since = now, time.monotonic()
        elif now >= answered and time.monotonic() - since > _SETTLED_S:
            break
        time.sleep(0.1)
    looked_at, short = _look(tap.traces)
    drain_s = max(0.0, _last_change(tap.traces) - load_ended)
    return Traces(answered, last, drain_s, max(0, answered - last), looked_at, short)


def _files(folder: Path) -> Iterator[Path]:
    """Finished traces; what is under way lies in hidden folders."""
    if folder.is_dir():
        for day in folder.iterdir():
            if day.is_dir() and not day.name.startswith("."):
                yield from (path for path in day.iterdir() if path.suffix == ".json")


def _last_change(folder: Path) -> float:
    """When the last file was put into a day's folder: a rename sets the folder's own time."""
    days = [day for day in folder.iterdir() if day.is_dir() and not day.name.startswith(".")]
    return max((day.stat().st_mtime for day in days), default=0.0)


def _look(folder: Path) -> tuple[int, int]:
    files = sorted(_files(folder))
    some = files[:: max(1, len(files) // _SAMPLE)]
    return len(some), sum(not _is_whole(json.loads(path.read_bytes())) for path in some)


def _is_whole(trace: dict[str, Any]) -> bool:
    """It went well and nothing of it was left out."""
    if trace["termination"]["cause"] == "client_disconnected":  # wrk at its end
        return True
    answer, stream = trace["response"]["body"], trace["stream"]
    if trace["termination"]["cause"] != "ok" or trace["request"]["body"]["kind"] != "json":
        return False
    if stream is None:
        return bool(answer["kind"] == "json")
    events = sum(len(event["raw"].encode()) for event in stream["events"])
    return bool(stream["terminal"] and events == answer["decoded_bytes"])


def said_at_the_end(log: str) -> tuple[int, int] | None:
    """The program's own count of requests and traces, from its last line."""
    found = re.search(r"stopped: (\d+) requests, (\d+) traces", log)
    return (int(found[1]), int(found[2])) if found else None
