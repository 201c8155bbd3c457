"""The web process as the program sees it: a child, started again when it dies, ended with us."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict

from ..utils.modules import as_program
from .settings import WebProcessSettings

log = logging.getLogger("llmtap.web")

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_SOUND_S = 10.0  # one that lived so long did not die of its start


class WebProcess:
    """Starts it, watches it, ends it. Keeps the sockets: whoever connects between two of them
    waits for the next."""

    def __init__(self, settings: WebProcessSettings, sockets: Sequence[socket.socket]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it and go on: nobody waits for it. Raises OSError."""
        self._process = self._spawned()
        threading.Thread(target=self._watch, name="web", daemon=True).start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End its input, and it after a while. Safe after half a start."""
        self._stopping.set()
        process = self._process
        if process is not None:
            _close_input(process)
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for sock in self._sockets:
            sock.close()

    def _spawned(self) -> subprocess.Popen[bytes]:
        name, environment = as_program("web.server")
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            # -P: a folder of the same name where the user stands must not be imported.
            [sys.executable, "-P", "-m", name],
            stdin=subprocess.PIPE,
            pass_fds=[sock.fileno() for sock in self._sockets],
            env=environment,
            close_fds=True,
        )
        assert process.stdin is not None  # noqa: S101  a pipe, as asked
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asdict(self._settings)).encode() + b"\n")
            process.stdin.flush()
        return process

    def _watch(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while (process := self._process) is not None:
            began = time.monotonic()
            code = process.wait()
            if self._stopping.is_set():
                return
            _close_input(process)
            sound = time.monotonic() - began > _SOUND_S
            pause_s = _FIRST_PAUSE_S if sound else min(pause_s * 2, _LONGEST_PAUSE_S)
            log.error("the web process died (%s) and is started again", code)
            if self._stopping.wait(pause_s):
                return
            try:
                self._process = self._spawned()
            except OSError:
                log.exception("the web process cannot be started")


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
