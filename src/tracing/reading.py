"""A journal read back: which exchanges are open, where their records lie, which files may go.

Kept in memory are positions only (eight bytes a record); payloads are read when an exchange is
written. A segment is deleted when it has been read to its end and no exchange needs it.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from ..utils.redaction import MASK, SEARCHED_LENGTH
from . import squeezing
from .recorded import Frames, Recorded
from .records import (
    END_OF_SEGMENT,
    GET_HEADER,
    HEADER_BYTES,
    LENGTH_AT,
    MARK_AT,
    MARK_MASK,
    MARK_SHIFT,
    MARKED,
    Answered,
    Finished,
    Kind,
    Mark,
    Opened,
    end_record,
)
from .rules import Masker, MaskRules
from .segments import FREE_SUFFIX, MOST_FREE, SUFFIX, free_path

# Plain numbers: to look a member up on its enum takes as long as the rest of a loop's round.
_OPEN, _FINISH, _RESPONSE_HEAD = int(Kind.OPEN), int(Kind.FINISH), int(Kind.RESPONSE_HEAD)
_REQUEST_CHUNK, _RESPONSE_CHUNK = int(Kind.REQUEST_CHUNK), int(Kind.RESPONSE_CHUNK)
_MAPPED = 6  # segments mapped at a time
_OFFSET_BITS = 32
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1


class OpenExchange:
    """Where the records of one exchange lie: segment << 32 | offset, in order."""

    __slots__ = ("number", "records", "segments")

    def __init__(self, number: int, segment: int, record: int) -> None:
        self.number = number
        self.records = array("Q", (record,))
        self.segments = [segment]

    def within(self, segment: int) -> range:
        """Which of the records lie in this segment."""
        first = bisect_left(self.records, segment << _OFFSET_BITS)
        return range(first, bisect_left(self.records, (segment + 1) << _OFFSET_BITS))


class JournalReader:
    """Reads one journal directory. `secrets`: number to texts, None if they are not known.

    `recycles`: what is worked off is left to a living proxy to be used again.
    """

    def __init__(
        self,
        directory: Path,
        secrets: dict[int, list[bytes]] | None,
        *,
        recycles: bool = False,
    ) -> None:
        self._directory = directory
        self._recycles = recycles
        self._secrets = secrets
        rules = MaskRules.load(directory)
        self._masker = Masker(rules) if rules is not None else None
        self._maps: dict[int, tuple[mmap.mmap, memoryview]] = {}
        self._needed: dict[int, int] = {}  # segment -> open exchanges with records in it
        self._at = 0
        self._segment = -1
        self.open: dict[int, OpenExchange] = {}
        self._squeezed: dict[int, int] = {}  # segment -> exchanges that needed it when looked at
        self._small: set[int] = set()  # segments that are no longer of their first size
        self._undeleted: set[int] = set()  # the disk did not let us
        self.reclaimed_bytes = 0
        self.held_bytes = 0  # of the segments read so far and not deleted

    @property
    def name(self) -> str:
        """The journal's: of the process that wrote it."""
        return self._directory.name

    @property
    def segment(self) -> int:
        """The number of the segment that is being read; -1 before the first."""
        return self._segment

    # --- finding ---------------------------------------------------------------------------

    def scan(self, until: tuple[int, int] | None) -> Iterator[OpenExchange]:
        """Read on, up to a (segment, offset) that is surely written, None: to the very end.
        Yields each exchange that is finished; it stays `open` until `release`. Raises OSError where
        a file cannot be opened: the next scan goes on from there. Hot: per record."""
        if self._segment < 0 and not self._begin():
            return
        while True:
            limit = _OFFSET_MASK
            if until is not None:
                if self._segment > until[0]:
                    return
                if self._segment == until[0]:
                    limit = until[1]
            found = self._map(self._segment)
            if found is not None:
                yield from self._scan_segment(found[0], limit)
            if (until is not None and self._segment >= until[0]) or not self._go_on(found):
                return

    def _scan_segment(self, mapping: mmap.mmap, limit: int) -> Iterator[OpenExchange]:
        exchanges, needed, segment = self.open, self._needed, self._segment
        base = segment << _OFFSET_BITS
        at = self._at
        last = min(limit, len(mapping) - HEADER_BYTES + 1)
        while at < last:
            _, number, kind, mark, length = GET_HEADER(mapping, at)
            if not length or length == END_OF_SEGMENT:
                break
            if kind == _OPEN:
                if mark < MARKED:
                    exchanges[number] = OpenExchange(number, segment, base | at)
                    needed[segment] = needed.get(segment, 0) + 1
            elif (exchange := exchanges.get(number)) is not None:
                exchange.records.append(base | at)
                if exchange.segments[-1] != segment:
                    exchange.segments.append(segment)
                    needed[segment] = needed.get(segment, 0) + 1
                if kind == _FINISH:
                    self._at = at + length + 7 & ~7
                    yield exchange
            at = at + length + 7 & ~7
        self._at = at

    def _begin(self) -> bool:
        numbers = self._numbers()
        if not numbers:
            return False
        self._enter(numbers[0])
        return True

    def _enter(self, segment: int) -> None:
        found = self._map(segment)  # first: where it fails nothing has changed
        self._segment, self._at = segment, 0
        self.held_bytes += len(found[0]) if found is not None else 0

    def _go_on(self, found: tuple[mmap.mmap, memoryview] | None) -> bool:
        """To the next segment, if this one is closed; False if this is where the journal ends."""
        if found is not None:
            mapping, lengths = found
            place = self._at + LENGTH_AT
            if place + 4 <= len(mapping) and lengths[place >> 2] != END_OF_SEGMENT:
                return False
        after = [number for number in self._numbers() if number > self._segment]
        if not after:
            return False
        left = self._segment
        self._enter(after[0])
        if not self._needed.get(left):
            self._delete(left)
        return True

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self._directory.glob(f"*{SUFFIX}"))

    def highest_marks(self) -> dict[Mark, int]:
        """The highest running number of each mark: what a killed recorder had come to."""
        highest = dict.fromkeys(Mark, 0)
        for segment in self._numbers():
            found = self._map(segment)
            at = 0
            while found is not None and at + HEADER_BYTES <= len(found[0]):
                _, _, kind, mark, length = GET_HEADER(found[0], at)
                if length in (0, END_OF_SEGMENT):
                    break
                if kind == _OPEN and mark >= MARKED:
                    what = Mark(mark >> MARK_SHIFT)
                    highest[what] = max(highest[what], mark & MARK_MASK)
                at = at + length + 7 & ~7
        return highest

    # --- reading ---------------------------------------------------------------------------

    def read(self, exchange: OpenExchange) -> Recorded:
        """All that was recorded of an exchange. Hot: the loop over its records."""
        segment = exchange.segments[0]
        mapping = self._mapping(segment)
        recorded = self._begun(mapping, exchange.records[0] & _OFFSET_MASK)
        request, response = recorded.request, recorded.response
        for record in exchange.records[1:]:
            if record >> _OFFSET_BITS != segment:
                segment = record >> _OFFSET_BITS
                mapping = self._mapping(segment)
            at = record & _OFFSET_MASK
            t, _, kind, _, length = GET_HEADER(mapping, at)
            payload = mapping[at + HEADER_BYTES : at + length]
            if kind == _RESPONSE_CHUNK:
                response.append((t, payload))
            elif kind == _REQUEST_CHUNK:
                request.append(payload)
            else:
                self._take(recorded, kind, t, payload)
        if recorded.answered is not None and recorded.answered.status == 101:
            recorded.frames = self._frames(recorded, exchange)
        return recorded

    def _frames(self, recorded: Recorded, exchange: OpenExchange) -> list[Frames]:
        """What both sides of a WebSocket sent, in the order it passed."""
        frames: list[Frames] = []
        for record in exchange.records[1:]:
            mapping, at = self._mapping(record >> _OFFSET_BITS), record & _OFFSET_MASK
            t, _, kind, _, length = GET_HEADER(mapping, at)
            payload: bytes | None = mapping[at + HEADER_BYTES : at + length]
            if kind in (Kind.REQUEST_MASKED, Kind.RESPONSE_MASKED):
                payload = self._restored(recorded, payload or b"")
                if recorded.altered:
                    payload = None
            elif kind not in (_REQUEST_CHUNK, _RESPONSE_CHUNK):
                continue
            frames.append((t, kind in (_REQUEST_CHUNK, Kind.REQUEST_MASKED), payload))
        return frames

    def _begun(self, mapping: mmap.mmap, at: int) -> Recorded:
        length = GET_HEADER(mapping, at)[-1]
        opened = Opened(*_load(mapping[at + HEADER_BYTES : at + length]))
        request = [opened.body] if opened.body else []
        recorded = Recorded(opened, request, [], None, None, [], self._masker)
        self._add_secrets(recorded, opened.secrets)
        return recorded

    def _mapping(self, segment: int) -> mmap.mmap:
        found = self._map(segment)
        if found is None:
            raise FileNotFoundError(f"segment {segment} of the journal is gone")
        return found[0]

    def _take(self, recorded: Recorded, kind: int, t: float, payload: bytes) -> None:
        if kind == _RESPONSE_HEAD:
            recorded.answered = answered = Answered(*_load(payload))
            if answered.secrets != recorded.opened.secrets:
                self._add_secrets(recorded, answered.secrets)
        elif kind == _FINISH:
            recorded.finished = finished = Finished(*_load(payload))
            if finished.answer is not None:
                head, body = finished.answer
                recorded.answered = Answered(*head)
                recorded.response.append((finished.t_last_byte or t, body))
                self._add_secrets(recorded, recorded.answered.secrets)
            if finished.secrets != recorded.opened.secrets:
                self._add_secrets(recorded, finished.secrets)
        elif kind == Kind.RESPONSE_MASKED:
            recorded.response.append((t, self._restored(recorded, payload)))
        elif kind == Kind.REQUEST_MASKED:
            recorded.request.append(self._restored(recorded, payload))

    def _add_secrets(self, recorded: Recorded, numbers: tuple[int, ...]) -> None:
        if not numbers or recorded.secrets is None:
            return
        for number in numbers:
            texts = self._secrets.get(number) if self._secrets is not None else None
            if texts is None:
                recorded.secrets = None
                return
            for text in texts:
                known = recorded.secrets if len(text) >= SEARCHED_LENGTH else recorded.short_secrets
                if text not in known:
                    known.append(text)

    def _restored(self, recorded: Recorded, payload: bytes) -> bytes:
        """A masked chunk as it was on the wire, if the secrets are known: for its hash, and to
        decode it. The document masks them again."""
        data, spots = _load(payload)
        if self._secrets is None or any(number not in self._secrets for _, number, _ in spots):
            recorded.altered = True
            return bytes(data)
        for offset, number, index in reversed(spots):
            text = self._secrets[number][index]
            data = data[:offset] + text + data[offset + len(MASK) :]
        return bytes(data)

    # --- letting go ------------------------------------------------------------------------

    def mark(self, exchange: OpenExchange, what: Mark, count: int) -> None:
        """Note in the journal what became of it, so that nobody does it again."""
        self._put_mark(exchange, what << MARK_SHIFT | count & MARK_MASK)

    def begin(self, exchange: OpenExchange) -> int:
        """Note that it is about to be written. How often that was noted before, by recorders that
        died of it: it stays in the journal until the exchange is marked or `stand_back`."""
        record = exchange.records[0]
        found = self._map(record >> _OFFSET_BITS)
        begun: int = GET_HEADER(found[0], record & _OFFSET_MASK)[3] if found is not None else 0
        self._put_mark(exchange, begun + 1)
        return begun

    def stand_back(self, exchange: OpenExchange, begun: int) -> None:
        """It could not be written, for no fault of its own: as it was before `begin`."""
        with contextlib.suppress(OSError):
            self._put_mark(exchange, begun)

    def _put_mark(self, exchange: OpenExchange, mark: int) -> None:
        record = exchange.records[0]
        found = self._map(record >> _OFFSET_BITS)
        if found is not None:
            found[1][(record & _OFFSET_MASK) + MARK_AT >> 2] = mark

    @property
    def keeps_secrets(self) -> bool:
        """Whether the records may hold what the configuration wants hidden in files."""
        return self._masker is not None

    def copy(self, exchange: OpenExchange) -> bytes:
        """Its records as a segment of their own, as if never begun."""
        pieces = []
        for record in exchange.records:
            mapping, at = self._mapping(record >> _OFFSET_BITS), record & _OFFSET_MASK
            pieces.append(mapping[at : at + (GET_HEADER(mapping, at)[4] + 7 & ~7)])
        first = bytearray(pieces[0])
        first[MARK_AT : MARK_AT + 4] = bytes(4)
        return b"".join([first, *pieces[1:], end_record()])

    def release(self, exchange: OpenExchange) -> None:
        """Forget an exchange, and delete what only it still needed."""
        self.open.pop(exchange.number, None)
        needed = self._needed
        for segment in exchange.segments:
            left = needed.get(segment, 0) - 1
            if left > 0:
                needed[segment] = left
                continue
            needed.pop(segment, None)
            if segment < self._segment:
                self._delete(segment)

    def squeeze(self, most: int = 4) -> None:
        """Make old segments small of which less than half is needed; a few at a time, the oldest
        first, each again only when half of those who needed it are gone."""
        for segment, needed in sorted(self._needed.items()):
            if segment >= self._segment or needed * 2 > self._squeezed.get(segment, needed * 2):
                continue
            self._squeezed[segment] = needed
            with contextlib.suppress(OSError):  # a full disk: it stays as it is
                self._squeeze(segment)
            most -= 1
            if not most:
                return

    def _squeeze(self, segment: int) -> None:
        found = self._map(segment)
        if found is None:
            return
        places = [
            (exchange, index)
            for exchange in self.open.values()
            if segment in exchange.segments
            for index in exchange.within(segment)
        ]
        offsets = [exchange.records[index] & _OFFSET_MASK for exchange, index in places]
        size = len(found[0])
        if squeezing.live_bytes(found[0], offsets) * 2 > size:
            return
        moved = squeezing.rewrite(self._path(segment), found[0], offsets)
        for (exchange, index), offset in zip(places, moved, strict=True):
            exchange.records[index] = segment << _OFFSET_BITS | offset
        _unmap(self._maps.pop(segment))
        self._small.add(segment)
        smaller = self._path(segment).stat().st_size
        self.reclaimed_bytes += size - smaller
        self.held_bytes -= size - smaller

    def _delete(self, segment: int) -> None:
        """Give a segment back; one that the disk does not let go of, with the next."""
        for number in (*self._undeleted, segment):
            try:
                self._give_back(number)
                self._undeleted.discard(number)
            except OSError:
                self._undeleted.add(number)

    def _give_back(self, segment: int) -> None:
        self._squeezed.pop(segment, None)
        path = self._path(segment)
        found = self._maps.pop(segment, None)
        size = 0
        if found is not None:
            size = len(found[0])
            _unmap(found)
        else:
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                return
        if (
            self._recycles
            and segment not in self._small
            and len(list(self._directory.glob(f"*{FREE_SUFFIX}"))) < MOST_FREE
        ):
            with contextlib.suppress(FileNotFoundError):
                path.rename(free_path(self._directory, segment))
        else:
            path.unlink(missing_ok=True)
        self._small.discard(segment)
        self.reclaimed_bytes += size
        self.held_bytes -= size

    def _path(self, segment: int) -> Path:
        return self._directory / f"{segment:06d}{SUFFIX}"

    def _map(self, segment: int) -> tuple[mmap.mmap, memoryview] | None:
        found = self._maps.get(segment)
        return found if found is not None else self._open_map(segment)

    def _open_map(self, segment: int) -> tuple[mmap.mmap, memoryview] | None:
        if len(self._maps) >= _MAPPED:
            oldest = next(number for number in self._maps if number != self._segment)
            _unmap(self._maps.pop(oldest))
        try:
            fd = os.open(self._path(segment), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            mapping = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        found = self._maps[segment] = (mapping, memoryview(mapping).cast("I"))
        return found

    def close(self) -> None:
        """Unmap everything; files stay."""
        for found in self._maps.values():
            _unmap(found)
        self._maps.clear()


def _unmap(found: tuple[mmap.mmap, memoryview]) -> None:
    found[1].release()
    found[0].close()


def _load(payload: bytes) -> tuple:  # type: ignore[type-arg] # its fields are those of the record
    # Our own file, in a folder only this user can enter.
    fields: tuple = marshal.loads(payload)  # type: ignore[type-arg] # noqa: S302
    return fields
