"""The feeder: a process of its own that keeps the store fed.

    python -m <package>.store.feeder        settings as JSON on its standard input, then its life

One of several beside each other feeds, the others wait for its lock. The end of its input is the
end of the program: it works off what is there, within the time given, and goes. Its first line of
output is `ready`, or what is wrong with the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import hashlib
import json
import logging
import os
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from ..utils.logging import set_up_logging

LOCK_NAME = "feeder.lock"
REFUSED = 4
"""The exit code of one that will never be able to feed this store."""
_NICE = 19
_PAUSE_S = 1.0


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
    lock = _take_lock(settings)
    if lock is None:
        return 0
    from .feeding import run  # noqa: PLC0415  50 MB that one who only waits does not need

    gc.set_threshold(50_000)
    return asyncio.run(run(settings, _say))


def _take_lock(settings: Settings) -> int | None:
    """Held as long as we live; None: the program ended before it was our turn."""
    told = ""
    whose = hashlib.sha256((settings.database_url or "").encode()).digest()
    while True:
        fd = -1
        try:
            fd = _open_lock(Path(settings.trace_dir) / ".store")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if (waits := _word(error)) != told:
                told = _tell(waits, error, fd, whose)
            if fd >= 0:
                os.close(fd)
            if _ended(_PAUSE_S):
                return None
            continue
        with contextlib.suppress(OSError):  # a full disk
            os.pwrite(fd, whose, 0)
        return fd


def _word(error: OSError) -> str:
    """Another holds it; or the disk is full, or the folder may not be made."""
    return "waiting" if isinstance(error, BlockingIOError) else "away"


def _tell(word: str, error: OSError, fd: int, whose: bytes) -> str:
    _say(word)
    if word == "away":
        _log(f"the store's folder cannot be made, its rows wait: {error}")
    elif os.pread(fd, len(whose), 0) not in (whose, b""):
        _log(
            "another llmtap feeds another database from this trace folder, and it gets all rows;"
            " give both the same database_url, or folders of their own"
        )
    return word


def _open_lock(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _log(text: str) -> None:
    set_up_logging("info")
    logging.getLogger("llmtap.store").warning(text)


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
