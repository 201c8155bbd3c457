"""WebSocket frames (RFC 6455 5.2) as bytes: where each begins, how long it is, and no more.

Nothing is unpacked on the way: what passes is what came.
"""

from __future__ import annotations

import os

CLOSE = 0x8
_FIN = _MASKED = 0x80
_OPCODE = 0x0F
_LENGTH = 0x7F


def head_at(data: bytes, at: int) -> tuple[int, int] | None:
    """The size of the head that begins there and the length of its payload; None where the head
    is not all there yet."""
    have = len(data) - at
    if have < 2:
        return None
    second = data[at + 1]
    size = 6 if second & _MASKED else 2
    length = second & _LENGTH
    if length == 126:
        size += 2
        length = int.from_bytes(data[at + 2 : at + 4], "big")
    elif length == 127:
        size += 8
        length = int.from_bytes(data[at + 2 : at + 10], "big")
    return (size, length) if have >= size else None


def close_frame(code: int, reason: str, *, masked: bool) -> bytes:
    """A close frame; `masked` as one from a client has to be."""
    payload = code.to_bytes(2, "big") + reason.encode()
    if not masked:
        return bytes((_FIN | CLOSE, len(payload))) + payload
    key = os.urandom(4)
    return bytes((_FIN | CLOSE, _MASKED | len(payload))) + key + mask(payload, key)


def mask(data: bytes, key: bytes) -> bytes:
    """Put a mask on, or take it off."""
    size = len(data)
    stream = (key * (size // 4 + 1))[:size]
    plain = int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")
    return plain.to_bytes(size, "little")


class FrameWalker:
    """Goes from head to head through what one side sends and adds up its messages.

    `over`: a message is larger than `limit` bytes, over all its fragments, by what its heads
    announce. `closed`: a close frame has begun to pass.
    """

    __slots__ = ("_head", "_left", "_limit", "_message", "closed", "over")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head = b""  # a head that is not whole
        self._left = 0  # of the payload that is passing
        self._message = 0  # bytes of a fragmented message so far
        self.closed = False
        self.over = False

    @property
    def between(self) -> bool:
        """What has passed ends with a frame: one of ours may follow."""
        return not self._left

    def walk(self, data: bytes) -> bytes:
        """What may pass now: all of it, without a head that is not whole yet (it goes with the
        rest of it) and without a message that is too large. Hot: once per read."""
        if len(data) <= self._left:
            self._left -= len(data)
            return data
        if self._head:
            data, self._head = self._head + data, b""
        at, end = self._left, len(data)
        while at < end:
            found = head_at(data, at)
            if found is None:
                self._head = data[at:]
                break
            if not self._takes(data[at], found[1]):
                self.over = True
                break
            at += found[0] + found[1]
        else:
            self._left = at - end
            return data
        self._left = 0
        return data[:at]

    def _takes(self, first: int, length: int) -> bool:
        opcode = first & _OPCODE
        if opcode >= CLOSE:  # control frames may stand between fragments
            self.closed = self.closed or opcode == CLOSE
            return length <= self._limit
        total = length if opcode else self._message + length
        self._message = 0 if first & _FIN else total
        return total <= self._limit


class Unmasker:
    """Takes the masks off what a client sends, for whoever has to read it.

    The keys are replaced by zeros, so that what comes out are still a client's frames.
    """

    __slots__ = ("_key", "_left", "_turned", "rest")

    def __init__(self) -> None:
        self.rest = b""  # a head that is not whole
        self._left = 0
        self._key = b""
        self._turned = 0

    def feed(self, data: bytes) -> bytes:
        """The same bytes, readable. Hot: once per read of a client that is traced."""
        data, self.rest = self.rest + data, b""
        plain: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self._left:
                stop = min(end, at + self._left)
                plain.append(self._unmasked(data[at:stop]))
            elif (found := head_at(data, at)) is not None:
                stop = at + found[0]
                plain.append(self._begin(data[at:stop], found[1]))
            else:
                self.rest = data[at:]
                break
            at = stop
        return b"".join(plain)

    def _begin(self, head: bytes, length: int) -> bytes:
        self._left, self._turned, self._key = length, 0, b""
        if not head[1] & _MASKED:
            return head
        self._key = head[-4:]
        return head[:-4] + bytes(4)

    def _unmasked(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if not self._key:
            return piece
        turned = self._turned
        self._turned = (turned + len(piece)) % 4
        return mask(piece, self._key[turned:] + self._key[:turned])


__all__ = ["CLOSE", "FrameWalker", "Unmasker", "close_frame", "head_at", "mask"]
