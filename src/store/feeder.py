"""The feeder: a process of its own that keeps the store fed.

    python -m <package>.store.feeder        settings as JSON on its standard input, then its life

One of several beside each other feeds, the others wait for its lock. The end of its input is the
end of the program: it works off what is there, within the time given, and goes. Its first line of
output is `ready`, or what is wrong with the store.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import os
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

LOCK_NAME = "feeder.lock"
REFUSED = 4
"""The exit code of one that will never be able to feed this store."""
_NICE = 19


@dataclass(slots=True, frozen=True)
class Settings:
    """What the program tells. `last_s`: for what is left when it ends."""

    trace_dir: str
    database_url: str | None = None
    last_s: float = 5.0


def main() -> int:
    """The process's life."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.umask(0o077)
    os.nice(_NICE)  # a contended core is the proxy's and the recorder's
    settings = Settings(**json.loads(sys.stdin.buffer.readline()))
    lock = _take_lock(Path(settings.trace_dir))
    if lock is None:
        return 0
    from .feeding import run  # noqa: PLC0415  50 MB that one who only waits does not need

    gc.set_threshold(50_000)
    return asyncio.run(run(settings, _say))


def _take_lock(trace_dir: Path) -> int | None:
    """Held as long as we live; None: the program ended before it was our turn."""
    folder = trace_dir / ".store"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    told = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                _say("waiting")
                told = True
            if _ended(1.0):
                return None
            continue
        return fd


def _ended(timeout_s: float) -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], timeout_s)
    return bool(readable)


def _say(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(main())
