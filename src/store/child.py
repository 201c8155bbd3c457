"""The feeder as the program sees it: a child process, started again when it dies."""

from __future__ import annotations

import contextlib
import json
import logging
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

from ..utils.modules import as_program

log = logging.getLogger("llmtap.store")

REFUSED = 4
FED = "_LLMTAP_FED"
"""In the environment of workers whose supervisor feeds the store."""
_FIRST_WORD_S = 5.0
_RESTART_S = 1.0


class StoreRefusedError(Exception):
    """The store cannot be used by this program; the message says why."""


class FeederProcess:
    """Starts the feeder, watches it, ends it. `database_url` None: SQLite beside the traces."""

    def __init__(self, trace_dir: Path, database_url: str | None, last_s: float) -> None:
        self._settings = {"trace_dir": str(trace_dir.resolve()), "database_url": database_url}
        self._last_s = last_s
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def pid(self) -> int | None:
        """The feeder's process id."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it and wait for its first word, at most five seconds: a database that is away is
        no reason not to serve. Raises StoreRefusedError, OSError."""
        self._spawn()
        word = self._first_word()
        assert self._process is not None  # noqa: S101  spawned above
        if word and word not in ("ready", "away", "waiting"):
            self._process.wait(_FIRST_WORD_S)
            self.stop(0)
            raise StoreRefusedError(word)
        self._watcher = threading.Thread(target=self._watch, name="feeder", daemon=True)
        self._watcher.start()

    def stop(self, timeout_s: float) -> bool:
        """End its input and wait for it. False: it still works; what is left is on disk."""
        self._stopping.set()
        process = self._process
        if process is None:
            return True
        self._close_pipes(process)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _spawn(self) -> None:
        name, environment = as_program("store.feeder")
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-P", "-m", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            close_fds=True,
        )
        assert process.stdin is not None  # noqa: S101  a pipe, as asked
        # By the pipe: a command line is there for everybody to read, and the URL may hold a
        # password.
        told = json.dumps({**self._settings, "last_s": self._last_s})
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(told.encode() + b"\n")
            process.stdin.flush()
        self._process = process

    def _first_word(self) -> str:
        assert self._process is not None  # noqa: S101  spawned before
        assert self._process.stdout is not None  # noqa: S101  a pipe, as asked
        readable, _, _ = select.select([self._process.stdout], [], [], _FIRST_WORD_S)
        return self._process.stdout.readline().decode().strip() if readable else ""

    def _watch(self) -> None:
        while not self._stopping.is_set():
            process = self._process
            assert process is not None  # noqa: S101  start has spawned it
            code = process.wait()
            if self._stopping.is_set():
                return
            self._close_pipes(process)
            if code == REFUSED:
                log.error("the store is not fed any more; start anew once it can be used")
                return
            log.error("the feeder of the store died (%s) and is started again", code)
            time.sleep(_RESTART_S)
            if self._stopping.is_set():
                return
            try:
                self._spawn()
            except OSError:
                log.exception("the feeder of the store cannot be started")
                return

    @staticmethod
    def _close_pipes(process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
