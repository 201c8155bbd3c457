"""The journal's records: what the proxy writes and the recorder reads.

A segment file is a sequence of records, each beginning at a multiple of eight bytes:

    f64 t           monotonic seconds
    u32 exchange    which exchange it belongs to
    u32 kind        what it is, see `Kind`
    u32 mark        in OPEN records, set by the recorder: what became of the trace, or how often it
                    has begun to write it
    u32 length      of the whole record with its header; stored last, 0: nothing here yet,
                    END_OF_SEGMENT: go on in the next file
    payload         marshal of a tuple, or a body's bytes

The payload is copied first, then the header packed field by field; the length is the last of them
and one aligned four-byte store, so a process killed at any instant leaves the whole record or none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from ..utils.redaction import Header

HEADER_BYTES = 24
END_OF_SEGMENT = 0xFFFFFFFF
MARSHAL_VERSION = 2  # without back references: half the time of version 4

MARK_AT = 16  # where the mark stands in a record
LENGTH_AT = 20
# Native packing: each field is one store, in order. t, exchange, kind, mark, length.
_HEADER = struct.Struct("@dIIII")
PUT_HEADER = _HEADER.pack_into
GET_HEADER = _HEADER.unpack_from

# A masked header's value begins so: it cannot come from the wire, where NUL is refused. Followed by
# the secret's number, or by a question mark and a URL of which only a parameter is masked.
MASKED = b"\0"


def end_record() -> bytes:
    """What closes a segment."""
    end = bytearray(HEADER_BYTES)
    PUT_HEADER(end, 0, 0.0, 0, 0, 0, END_OF_SEGMENT)
    return bytes(end)


class Kind(IntEnum):
    """What a record holds."""

    OPEN = 1  # `Opened`: written before anything is forwarded
    REQUEST_CHUNK = 2  # raw bytes
    RESPONSE_HEAD = 3  # `Answered`
    RESPONSE_CHUNK = 4  # raw bytes as sent to the client
    FINISH = 5  # `Finished`
    REQUEST_MASKED = 6  # `Masked`, instead of a chunk that holds one of the request's secrets
    RESPONSE_MASKED = 7


class Mark(IntEnum):
    """What became of an exchange: the upper two bits of an OPEN record's mark.

    The lower thirty are the running number among those of its kind: with them a recorder that
    takes over from one killed between the mark and the counter knows the true count.
    """

    WRITTEN = 1
    FAILED = 2
    DROPPED = 3


MARK_SHIFT = 30
MARKED = 1 << MARK_SHIFT  # below it: nothing has become of it yet, so often was it begun
MARK_MASK = (1 << MARK_SHIFT) - 1


class UpstreamInfo(NamedTuple):
    """The upstream as far as a trace needs it."""

    name: str
    base_url: str
    prefix: bytes
    provider_type: str


@dataclass(slots=True)
class Opened:
    """A request's head. Headers and target are masked already."""

    id: str
    received_ns: int
    started: float
    method: bytes
    target: bytes
    forward_path: bytes
    http_version: bytes
    headers: tuple[Header, ...]
    client: str
    fingerprint: str | None
    secrets: tuple[int, ...]
    upstream: tuple[str, str, bytes, str]
    chain: tuple[str, ...]
    body: bytes | None = None  # all of it, where it was here already and holds no secret


@dataclass(slots=True)
class Answered:
    """A response's head, masked. `secrets`: those only the forwarded request has (a pool's key)."""

    status: int
    http_version: bytes
    headers: tuple[Header, ...]
    secrets: tuple[int, ...]


class Masked(NamedTuple):
    """A chunk with secrets taken out: `spots` are (offset in `data`, secret, index of its text)."""

    data: bytes
    spots: list[tuple[int, int, int]]


# What the proxy knows of a body beside its chunks: wire bytes; SHA-256, or None where the journal
# holds all of it; why the rest of it is not in the journal; bytes in the journal.
Body = tuple[int, str | None, str | None, int]


@dataclass(slots=True)
class Finished:
    """How it ended. Times are monotonic seconds."""

    t_request_body: float | None
    t_connect_start: float | None
    t_connected: float | None
    t_sent: float | None
    t_headers: float | None
    t_first_byte: float | None
    t_last_byte: float | None
    t_finished: float
    reused: bool | None
    max_gap: float
    status: int | None
    upstream_http_version: bytes | None
    cause: str
    phase: str
    detail: str | None
    error: tuple[str, str, str, int | None] | None
    rejected_by: str | None
    key_label: str | None
    upstream_key_label: str | None
    attempts: list[tuple[str | None, float, int | None, str | None, float]]
    # url, headers gone, headers new, repeated ones differ, body changed, its hash, path changed
    forwarded: (
        tuple[bytes, tuple[Header, ...], tuple[Header, ...], bool, bool, str | None, bool] | None
    )
    request: Body
    response: Body
    secrets: tuple[int, ...]
    tags: list[str]
    ext: bytes | None  # JSON
    # `Answered` and all of the body, where they came at once: there are no other records of them.
    answer: tuple[tuple[int, bytes, tuple[Header, ...], tuple[int, ...]], bytes] | None = None
