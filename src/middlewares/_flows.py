"""Bodies on their way into the journal: whole, piece by piece, or as the frames of a WebSocket.

    Whole       it lies in one record with its head
    Flow        an HTTP body, chunk by chunk
    FrameFlow   what a client sends over a WebSocket

Each tells at the end what is known of it: `outcome`.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable

from ..proxy.frames import Unmasker
from ..tracing.journal import Journal
from ..tracing.masking import field_values
from ..tracing.records import MARSHAL_VERSION, Body
from ..tracing.secrets import Secret, SecretTable, hide

_QUEUE_FULL = "the trace queue was full"


class Whole:
    """A body that lies in the journal with its head, in one record."""

    __slots__ = ("secrets", "size")

    def __init__(self, body: bytes, secrets: tuple[Secret, ...]) -> None:
        self.size = len(body)
        self.secrets = secrets

    def outcome(self) -> Body:
        """As a Flow's."""
        return self.size, None, None, self.size


def holds(chunk: bytes, secrets: tuple[Secret, ...]) -> bool:
    """Does one of the secrets stand in it?"""
    for secret in secrets:
        for needle in secret.needles:
            if needle in chunk:
                return True
    return False


class Flow:
    """One direction's body on its way into the journal: the first `room` bytes of it.

    A body whose announced length is within the cap lies in the journal whole and the recorder
    hashes it there; of all others the hash is carried on here (0.3 µs a chunk). A secret of this
    exchange is masked before it is written; the beginning of one at the end of a chunk is held
    back until the next chunk tells.
    """

    wire_bytes = 0
    hashing = True
    secrets: tuple[Secret, ...] = ()
    _kept = 0
    _hash: hashlib._Hash | None = None
    _lost: str | None = None
    _needles: tuple[bytes, ...] = ()
    _last_bytes: frozenset[int] = frozenset()
    _held = b""

    def __init__(
        self,
        kinds: tuple[int, int],
        number: int,
        journal: Journal,
        clock: Callable[[], float],
        room: int,
        table: SecretTable | None,
    ) -> None:
        self._kinds = kinds
        self._number = number
        self._journal = journal
        self._clock = clock
        self.room = room
        self._table = table  # for a request's body: fields with telling names are masked too

    def hide(self, secrets: tuple[Secret, ...]) -> None:
        """What must not be written, wherever it stands in the body."""
        self.secrets = secrets
        if len(secrets) == 1:
            self._needles, self._last_bytes = secrets[0].needles, secrets[0].bytes
        else:
            self._needles = tuple({needle for secret in secrets for needle in secret.needles})
            self._last_bytes = frozenset(byte for secret in secrets for byte in secret.bytes)

    def add(self, chunk: bytes) -> None:
        """A piece of the body. Hot: once per chunk of a stream, about 1 µs."""
        size = len(chunk)
        self.wire_bytes += size
        if self.hashing:
            if self._hash is None:
                self._hash = hashlib.sha256()
            self._hash.update(chunk)
        if self._held:
            chunk, self._held = self._held + chunk, b""
            size = len(chunk)
        if size > self.room:
            chunk = chunk[: self.room]
        if not chunk:
            return
        if chunk[-1] in self._last_bytes:
            chunk = self._hold_back(chunk, cut=size > self.room)
        if self._table is not None and (values := field_values(chunk)):
            found = tuple([self._table.field(value) for value in values])
            self.hide(tuple(dict.fromkeys(self.secrets + found)))
        for needle in self._needles:
            if needle in chunk:
                masked = marshal.dumps(hide(chunk, self.secrets), MARSHAL_VERSION)
                self._put(self._kinds[1], len(chunk), masked)
                return
        self._put(self._kinds[0], len(chunk), chunk)

    def _put(self, kind: int, size: int, payload: bytes) -> None:
        journal = self._journal
        if journal.takes_bodies and journal.append(kind, self._number, self._clock(), payload):
            self.room -= size
            self._kept += size
        else:
            self.room = 0
            self._lost = _QUEUE_FULL
            journal.body_omitted()

    def _hold_back(self, chunk: bytes, *, cut: bool) -> bytes:
        """The chunk without the beginning of a secret it may end with. `cut`: at the cap, so that
        nothing will tell whether it is one: it is left out, and the body ends before it."""
        longest = 0
        for needle in self._needles:
            for length in range(min(len(needle) - 1, len(chunk)), longest, -1):
                if chunk.endswith(needle[:length]):
                    longest = length
                    break
        if not longest:
            return chunk
        if cut:
            self.room -= longest
        else:
            self._held = chunk[-longest:]
        return chunk[:-longest]

    def outcome(self) -> Body:
        """What is known of the whole body, which has ended."""
        if self._held and self.room:  # else its place is behind what was lost
            self._put(self._kinds[0], len(self._held), self._held)
        digest = self._hash.hexdigest() if self._hash is not None else None
        return self.wire_bytes, digest, self._lost, self._kept


class FrameFlow:
    """What a client sends over a WebSocket, written down without the masks of its frames: what is
    secret in them could not be found otherwise. Length and hash are those of the wire."""

    __slots__ = ("_hash", "_plain", "_unmasker", "_wire_bytes")

    def __init__(self, plain: Flow) -> None:
        plain.hashing = False
        self._plain = plain
        self._hash = hashlib.sha256()
        self._wire_bytes = 0
        self._unmasker = Unmasker()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What was masked in it."""
        return self._plain.secrets

    def add(self, chunk: bytes) -> None:
        """A piece of the frames. Hot: once per read."""
        self._hash.update(chunk)
        self._wire_bytes += len(chunk)
        if self._plain.room and (plain := self._unmasker.feed(chunk)):
            self._plain.add(plain)

    def outcome(self) -> Body:
        """As a Flow's; a head that broke off is kept as it is."""
        if self._unmasker.rest:
            self._plain.add(self._unmasker.rest)
        _, _, lost, kept = self._plain.outcome()
        return self._wire_bytes, self._hash.hexdigest(), lost, kept
