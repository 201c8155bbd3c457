"""Proxy and recorder on one core: the proxy goes first, as long as the queue has room.

Two threads take turns at one iterator of pieces of work, never both:

    patient (nice 19) ──the queue is half full, or the proxy is gone──▶ ordinary
            ◀──────────────────there is room again─────────────────────

The kernel runs the patient one where a core has nothing better to do, and takes the core from it
when the proxy wakes: with a recorder of ordinary priority a request waited up to 4 ms for that, one
in a hundred, and traffic was halved to write traces that can wait, for the journal holds them. Two
threads, because what has become nice cannot become ordinary again (setpriority(2)).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic

HURRY_AT, CALM_AT = 0.5, 0.4  # of the queue; from three quarters on bodies are left out
_LOOK_S = 0.001  # of work between two looks
_NICE = 19


class Pace:
    """Runs `pieces` to their end in the thread that fits. `fullness`: of the queue, 0 to 1;
    `ending`: nothing more comes, and somebody waits for the rest."""

    def __init__(self, fullness: Callable[[], float], ending: Callable[[], bool]) -> None:
        self._fullness = fullness
        self._ending = ending
        self._ordinary = threading.Semaphore(0)
        self._patient = threading.Semaphore(0)
        self._looked = 0.0
        self._hurrying = False
        self._done = False
        self._failed: BaseException | None = None

    def run(self, pieces: Iterator[None]) -> None:
        """Returns when `pieces` ends, raises what it raises."""
        thread = threading.Thread(target=self._be_patient, args=(pieces,), daemon=True)
        thread.start()
        while True:
            self._ordinary.acquire()
            if self._done:
                break
            self._done = self._work(pieces, hurrying=True)
            self._patient.release()
        thread.join()
        if self._failed is not None:
            raise self._failed

    def _be_patient(self, pieces: Iterator[None]) -> None:
        _become_nice()
        try:
            while not self._done and not self._work(pieces, hurrying=False):
                self._ordinary.release()
                self._patient.acquire()
        except BaseException as error:  # noqa: BLE001 - raised again in `run`
            self._failed = error
        self._done = True
        self._ordinary.release()

    def _work(self, pieces: Iterator[None], *, hurrying: bool) -> bool:
        """Work while it is this thread's turn. True: all is done."""
        return all(self.hurries() is hurrying for _ in pieces)

    def hurries(self) -> bool:
        """Is it the ordinary thread's turn? Hot: once per exchange; a look every millisecond."""
        now = monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            most = CALM_AT if self._hurrying else HURRY_AT
            self._hurrying = self._ending() or self._fullness() >= most
        return self._hurrying


def _become_nice() -> None:
    """This thread only: such is a process id to Linux here; elsewhere it would be all threads."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
