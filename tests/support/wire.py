"""HTTP/1.1 as both ends of the kit read it: a blocking socket with a buffer, heads as raw pairs.

Deliberately strict and separate from the program's own parser, so that a mistake there is not
repeated here.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from dataclasses import dataclass, field

Header = tuple[bytes, bytes]


class Ended(Exception):
    """The peer closed or reset before what was asked for had come; `how` is `fin` or `rst`."""

    def __init__(self, how: str, rest: bytes = b"") -> None:
        super().__init__(f"connection ended by {how}, {len(rest)} bytes of an unfinished part")
        self.how = how
        self.rest = rest


@dataclass(slots=True)
class Head:
    first: bytes
    headers: list[Header]
    raw: bytes

    def all(self, name: str) -> list[bytes]:
        wanted = name.lower().encode("latin-1")
        return [value for key, value in self.headers if key.lower() == wanted]

    def one(self, name: str) -> bytes | None:
        values = self.all(name)
        return values[0] if values else None


@dataclass(slots=True)
class Wire:
    """A blocking socket with a read buffer. Reads raise `Ended` at EOF, TimeoutError when late."""

    sock: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    record: bytearray | None = None
    received: int = 0

    def fill(self, size: int = 65536) -> bytes:
        try:
            data = self.sock.recv(size)
        except (ConnectionError, BrokenPipeError):
            raise Ended("rst", bytes(self.buffer)) from None
        except TimeoutError:
            raise
        except OSError:
            raise Ended("rst", bytes(self.buffer)) from None
        if not data:
            raise Ended("fin", bytes(self.buffer))
        self.received += len(data)
        self.buffer += data
        if self.record is not None:
            self.record += data
        return data

    def until(self, mark: bytes) -> bytes:
        searched = 0
        while (at := self.buffer.find(mark, searched)) < 0:
            searched = max(0, len(self.buffer) - len(mark) + 1)
            self.fill()
        return self.take(at + len(mark))

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self.fill(max(65536, size - len(self.buffer)))
        return self.take(size)

    def take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def some(self) -> bytes:
        if not self.buffer:
            self.fill()
        return self.take(len(self.buffer))

    def head(self) -> Head:
        return parse_head(self.until(b"\r\n\r\n"))

    def chunk(self) -> bytes:
        """The next HTTP chunk's data, b"" for the last one (its trailers are read too)."""
        line = self.until(b"\r\n")
        size = int(line.split(b";")[0].strip(), 16)
        if size == 0:
            while self.until(b"\r\n") != b"\r\n":
                pass
            return b""
        data = self.exactly(size)
        if self.exactly(2) != b"\r\n":
            raise AssertionError("a chunk does not end with CRLF")
        return data

    def silent_for(self, seconds: float) -> bool:
        """True when nothing comes for so long: no byte, no end."""
        if self.buffer:
            return False
        before = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self.fill()
        except TimeoutError:
            return True
        except Ended:
            return False
        finally:
            with contextlib.suppress(OSError):
                self.sock.settimeout(before)
        return False

    def ended_within(self, seconds: float) -> str | None:
        """`fin` or `rst` when the peer ends within so many seconds (what it sends is kept)."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.sock.settimeout(left)
                self.fill()
        except TimeoutError:
            return None
        except Ended as end:
            return end.how
        return None


def parse_head(raw: bytes) -> Head:
    lines = raw[:-4].split(b"\r\n")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon:
            raise AssertionError(f"a header line without a colon: {line!r}")
        headers.append((name, value.strip(b" \t")))
    return Head(lines[0], headers, raw)


def close_with_reset(sock: socket.socket) -> None:
    """RST instead of FIN."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def chunked(*pieces: bytes) -> bytes:
    """The pieces as HTTP chunks, without the last one."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)


LAST_CHUNK = b"0\r\n\r\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
