"""Content encodings, undone for the trace only, piece by piece, under a cap.

A body of a few kilobytes can decode to gigabytes: output is bounded per call, not checked after.
"""

from __future__ import annotations

import zlib
from typing import Protocol

_PIECE_BYTES = 1 << 16
_INPUT_BYTES = 4096  # so much at a time: how far a bomb may go is judged by what of it was read
_MOST_STAGES = 4  # a header has room for ten thousand, each with buffers and a bomb of its own
_MOST_NAMES_BYTES = 256
_ZSTD_INPUT_BYTES = 256  # a zstd block of four bytes may stand for 128 KB
_ZSTD_WINDOW_BYTES = 8 << 20  # RFC 9659: no more for content codings
_RATIO_FLOOR_BYTES = 1 << 20  # small bodies may be as repetitive as they like


class DecodeError(ValueError):
    """The body is not what its Content-Encoding says, or that is not known here."""


class TooLarge(DecodeError):
    """The decoded body is over the cap; `kept` is the beginning."""


class _Stage(Protocol):
    def feed(self, data: bytes, room: int) -> bytes:
        """Decoded bytes, never many more than `room`."""


class Decoder:
    """Undoes the codings of a `Content-Encoding` value, last applied first.

    `feed` raises DecodeError on bad input and TooLarge over the cap; `decoded_bytes` counts on.
    """

    def __init__(self, encoding: str, max_bytes: int, max_ratio: int) -> None:
        names = [name.strip().lower() for name in encoding[:_MOST_NAMES_BYTES].split(",")]
        names = [name for name in names if name not in ("", "identity")]
        if len(names) > _MOST_STAGES or len(encoding) > _MOST_NAMES_BYTES:
            raise DecodeError(f"more than {_MOST_STAGES} content encodings, one in the other")
        self._stages = [_stage(name) for name in reversed(names)]
        self._max_bytes = max_bytes
        self._max_ratio = max_ratio
        self._wire_bytes = 0
        self.decoded_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """What these bytes decode to. On TooLarge the exception's argument is as much as may be."""
        if len(data) <= _INPUT_BYTES:
            return self._feed(data)
        whole = bytearray()
        try:
            for at in range(0, len(data), _INPUT_BYTES):
                whole += self._feed(data[at : at + _INPUT_BYTES])
        except TooLarge as error:
            raise TooLarge(bytes(whole + error.args[0])) from None
        return bytes(whole)

    def _feed(self, data: bytes) -> bytes:
        self._wire_bytes += len(data)
        ratio_room = max(_RATIO_FLOOR_BYTES, self._wire_bytes * self._max_ratio)
        room = min(self._max_bytes, ratio_room) - self.decoded_bytes
        for stage in self._stages:
            try:
                data = stage.feed(data, room)
            except DecodeError:
                raise
            except Exception as error:
                raise DecodeError(f"{type(error).__name__}: {error}") from error
        if len(data) > room:
            self.decoded_bytes += room
            raise TooLarge(data[:room])
        self.decoded_bytes += len(data)
        return data


def _stage(name: str) -> _Stage:
    if name in ("gzip", "x-gzip"):
        return _Zlib(zlib.MAX_WBITS | 16)
    if name == "deflate":
        return _Deflate()
    if name == "br":
        return _Brotli()
    if name == "zstd":
        return _Zstd()
    raise DecodeError(f"content encoding {name[:40]!r} is not known")


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._object = zlib.decompressobj(wbits)

    def feed(self, data: bytes, room: int) -> bytes:
        parts = [self._object.decompress(data, room + 1)]
        got = len(parts[0])
        # Several gzip members may follow one another (RFC 1952 2.2).
        while self._object.eof and self._object.unused_data.startswith(b"\x1f\x8b") and got <= room:
            rest = self._object.unused_data
            self._object = zlib.decompressobj(self._wbits)
            parts.append(self._object.decompress(rest, room + 1 - got))
            got += len(parts[-1])
        return b"".join(parts)


class _Deflate:
    """zlib by the standard, raw deflate from some servers: the first bytes tell."""

    def __init__(self) -> None:
        self._inner: _Zlib | None = None
        self._first = b""

    def feed(self, data: bytes, room: int) -> bytes:
        if self._inner is None:
            self._first += data
            if len(self._first) < 2:
                return b""
            data = self._first
            zlib_header = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._inner = _Zlib(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
        return self._inner.feed(data, room)


class _Brotli:
    def __init__(self) -> None:
        import brotli  # type: ignore[import-untyped] # noqa: PLC0415 - no stubs; loaded when needed

        self._object = brotli.Decompressor()

    def feed(self, data: bytes, room: int) -> bytes:
        parts: list[bytes] = []
        got = 0
        while True:
            part: bytes = self._object.process(data, output_buffer_limit=_PIECE_BYTES)
            parts.append(part)
            got += len(part)
            data = b""
            if got > room or self._object.can_accept_more_data():
                return b"".join(parts)


class _Zstd:
    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415 - loaded by the first body that needs it

        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._object = decompressor.decompressobj(read_across_frames=True)

    def feed(self, data: bytes, room: int) -> bytes:
        parts: list[bytes] = []
        got = 0
        for at in range(0, len(data), _ZSTD_INPUT_BYTES):
            part = self._object.decompress(data[at : at + _ZSTD_INPUT_BYTES])
            parts.append(part)
            got += len(part)
            if got > room:
                break
        return b"".join(parts)
