"""When proxy and recorder want the same core, the proxy goes first, as long as the queue has room.

The kernel would share a contended core evenly, which halves the traffic to write traces that can
wait: the journal holds them. Being `nice` instead could not be taken back when the queue fills. So
the recorder looks how long the proxy had to wait for its turns while it worked itself, and where
that is much, it sleeps between small pieces of work: twenty times as long as it worked while the
queue has room, less from two fifths on, not at all from seven tenths (bodies are left out from
three quarters on).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from time import monotonic, sleep

_PIECE_S = 0.001  # of work between two looks
_MOST_REST = 20.0  # seconds of sleep for a second of work
_ROOM, _FULL = 0.4, 0.7  # of the queue
_CONTENDED = 0.25  # of the time worked: a proxy that waited longer was held up by it


class Pace:
    """Called between exchanges; sleeps where it should. `fullness`: of the queue, 0 to 1."""

    def __init__(self, fullness: Callable[[], float], proxy_pid: int) -> None:
        self._fullness = fullness
        self._fd = -1
        with contextlib.suppress(OSError):  # not Linux: no pacing
            self._fd = os.open(f"/proc/{proxy_pid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        self._began = monotonic()
        self._waited = self._waited_s()

    def step(self) -> None:
        """A piece of work is done. Hot: once per exchange, 0.1 µs; a look every millisecond."""
        if monotonic() - self._began < _PIECE_S or self._fd < 0:
            return
        waited = self._waited_s()
        rest = rest_s(monotonic() - self._began, waited - self._waited, self._fullness())
        if rest:
            sleep(rest)
            waited = self._waited_s()
        self._waited = waited
        self._began = monotonic()

    def _waited_s(self) -> float:
        """How long the proxy's main thread has waited for a core in all (proc(5), schedstat)."""
        try:
            return int(os.pread(self._fd, 64, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # it is gone
            return 0.0


def rest_s(worked_s: float, proxy_waited_s: float, fullness: float) -> float:
    """How long to sleep after this much work, with the proxy waiting so long meanwhile."""
    if proxy_waited_s < worked_s * _CONTENDED or fullness >= _FULL:
        return 0.0
    room = min(1.0, (_FULL - fullness) / (_FULL - _ROOM))
    return min(worked_s, 4 * _PIECE_S) * _MOST_REST * room
