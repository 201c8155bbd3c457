"""The recorder's end of the pipe: how far the journal goes, and the secrets' texts."""

from __future__ import annotations

import marshal
import os
import select

from .child import MESSAGE, SECRET, WAKE

_READ_BYTES = 1 << 16
_KEPT_SECRETS = 16384


class Inbox:
    """Takes messages in. `position`: segment and offset up to which the journal is surely written;
    `closed`: the proxy is gone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = b""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN | select.POLLHUP)
        self.position = (0, 0)
        self.secrets: dict[int, list[bytes]] = {}
        self.closed = False

    def wait(self, timeout_s: float | None) -> None:
        """Until something comes, at most so long; None: for ever."""
        if not self._poll.poll(None if timeout_s is None else timeout_s * 1000):
            return
        data = os.read(self._fd, _READ_BYTES)
        if not data:
            self.closed = True
            return
        self._buffer += data
        self._take()

    def _take(self) -> None:
        buffer, at = self._buffer, 0
        while at + MESSAGE.size <= len(buffer):
            kind, size = MESSAGE.unpack_from(buffer, at)
            end = at + MESSAGE.size + size
            if end > len(buffer):
                break
            payload = buffer[at + MESSAGE.size : end]
            if kind == b"W":
                self.position = WAKE.unpack(payload)
            elif kind == b"S":
                self._remember(payload)
            at = end
        self._buffer = buffer[at:]

    def _remember(self, payload: bytes) -> None:
        if len(self.secrets) >= _KEPT_SECRETS:
            for old in list(self.secrets)[: _KEPT_SECRETS // 2]:
                del self.secrets[old]
        (number,) = SECRET.unpack_from(payload)
        self.secrets[number] = marshal.loads(payload[SECRET.size :])  # noqa: S302 - from the proxy
