"""The recorder as the proxy sees it: a child process, a pipe to it, a lock they share.

Messages on the pipe: u8 type, u32 length, payload.
    W  how far the journal goes: u32 segment, u32 offset
    S  a secret: u32 number, marshal of the list of its texts
End of file: the proxy is done, or dead.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from ..utils.modules import as_program

log = logging.getLogger("llmtap.tracing")

MESSAGE = struct.Struct("=cI")
WAKE = struct.Struct("=II")
SECRET = struct.Struct("=I")
LOCK_NAME = "lock"

_OUTBOX_BYTES = 4 << 20  # above it secrets are no longer told: the recorder then leaves out more
_KEPT_SECRETS = 4096
_RESTART_PAUSE_S = 1.0


class RecorderProcess:
    """Starts the recorder, wakes it, starts it again when it dies alone.

    `settings` is what `recorder.Settings` takes, without the file descriptors. `journal` is the
    directory both lock: whoever can take the lock knows that both are dead.
    """

    def __init__(self, journal: Path, settings: dict[str, object]) -> None:
        self._journal = journal
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._page_fd = -1
        self._lock_fd = -1
        self._pipe = -1
        self._outbox = bytearray()
        self._secrets: dict[int, bytes] = {}
        self._restarting = False
        self._one_restart = threading.Lock()
        self._finishing = False
        self._started_at = 0.0

    def start(self, page_fd: int) -> None:
        """Take the lock and start the process. Raises OSError."""
        self._page_fd = page_fd
        # Locked before it has its name: a recorder that looks for dead ones must not be first.
        draft = self._journal / f"{LOCK_NAME}.new"
        self._lock_fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(self._journal / LOCK_NAME)
        self._spawn()

    def _spawn(self) -> None:
        theirs, ours = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(ours, False)
        fds = {"pipe_fd": theirs, "page_fd": self._page_fd, "lock_fd": self._lock_fd}
        name, environment = as_program("tracing.recorder")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                # -P: a folder of the same name where the user stands must not be imported.
                [sys.executable, "-P", "-m", name, json.dumps({**self._settings, **fds})],
                pass_fds=tuple(fds.values()),
                stdin=subprocess.DEVNULL,
                env=environment,
                close_fds=True,
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._started_at = time.monotonic()
        outbox = bytearray()
        for number, texts in self._secrets.copy().items():
            outbox += _secret_message(number, texts)
        self._outbox = outbox
        self._pipe = ours

    @property
    def pid(self) -> int | None:
        """The recorder's process id."""
        return self._process.pid if self._process is not None else None

    @property
    def ended(self) -> bool:
        """Whether the process is dead."""
        return self._process is not None and self._process.poll() is not None

    def secret(self, number: int, texts: bytes) -> None:
        """Tell a secret, at once if the pipe takes it: should the proxy be killed now, the recorder
        must know what to mask. Once per distinct secret."""
        if len(self._secrets) >= _KEPT_SECRETS:
            for old in list(self._secrets)[: _KEPT_SECRETS // 2]:
                del self._secrets[old]
        self._secrets[number] = texts
        if len(self._outbox) < _OUTBOX_BYTES:
            self._outbox += _secret_message(number, texts)
        if self._pipe >= 0 and not self._restarting:
            self._flush()

    def wake(self, segment: int, offset: int) -> bool:
        """Tell how far the journal goes. False: the recorder is dead and should be restarted."""
        if self._restarting:
            return True
        if self._pipe < 0:
            return self._too_soon()
        # A full pipe is fine: it wakes all the same, and the next wake tells the position.
        if not self._outbox or self._flush():
            self._outbox += MESSAGE.pack(b"W", WAKE.size) + WAKE.pack(segment, offset)
            self._flush()
            if self._outbox[:1] == b"W" and len(self._outbox) == MESSAGE.size + WAKE.size:
                self._outbox.clear()
        return self._pipe >= 0 or self._too_soon()

    def _flush(self) -> bool:
        """Write what is queued; True if all of it went."""
        try:
            while self._outbox:
                del self._outbox[: os.write(self._pipe, self._outbox)]
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EPIPE:
                log.exception("the trace recorder's pipe failed")
            self._drop_pipe()
            return False
        return True

    def _drop_pipe(self) -> None:
        os.close(self._pipe)
        self._pipe = -1

    def _too_soon(self) -> bool:
        return time.monotonic() - self._started_at < _RESTART_PAUSE_S

    def restart(self) -> None:
        """Start the recorder again after it died alone. Runs in the journal's thread."""
        with self._one_restart:
            if self._pipe < 0 and not self._finishing:
                self._restart()

    def _restart(self) -> None:
        self._restarting = True
        try:
            if self._process is not None:
                code = self._process.wait()
                log.error("the trace recorder died (%s) and is started again", code)
            self._spawn()
        except OSError:
            self._started_at = time.monotonic()
            log.exception("the trace recorder cannot be started")
        finally:
            self._restarting = False

    def finish(self, timeout_s: float, *, revive: bool = True) -> bool:
        """Close the pipe and wait for the process to end. False: it still has work. Where it died
        instead, another writes what there is."""
        with self._one_restart:  # none begins from here on
            self._finishing = True
        deadline = time.monotonic() + timeout_s
        ended = self._close_and_wait(deadline)
        if ended and revive and self._died() and time.monotonic() < deadline:
            self._restart()
            ended = self._close_and_wait(deadline)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
        return ended

    def abandon(self) -> None:
        """End it now: what it works on is gone."""
        if self._process is not None:
            self._process.kill()
        self.finish(1.0, revive=False)

    def _close_and_wait(self, deadline: float) -> bool:
        while self._pipe >= 0 and not self._flush() and time.monotonic() < deadline:
            time.sleep(0.005)
        if self._pipe >= 0:
            self._drop_pipe()
        return self._wait(max(0.0, deadline - time.monotonic()))

    def _died(self) -> bool:
        return self._process is not None and self._process.returncode != 0

    def _wait(self, timeout_s: float) -> bool:
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def _secret_message(number: int, texts: bytes) -> bytes:
    return MESSAGE.pack(b"S", SECRET.size + len(texts)) + SECRET.pack(number) + texts
