"""The proxy's end of the trace: append-only, no system call, no lock, no wait.

    append ──▶ current segment ──full──▶ next ready segment ──none ready──▶ spill (bounded memory)
                                                             └─ no room ──▶ body left out, or the
                                                                            whole trace; counted

Measured on one core: 0.35 µs for 200 bytes, 0.45 for 1,400, in a segment used before.
"""

from __future__ import annotations

import logging
import mmap
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from . import counters as slot
from .child import LOCK_NAME, RecorderProcess
from .counters import CounterPage, Counters, new_page
from .records import END_OF_SEGMENT, HEADER_BYTES, PUT_HEADER, Kind
from .segments import SEGMENT_BYTES, Segment, SegmentMaker

log = logging.getLogger("llmtap.tracing")

SEGMENTS_AHEAD = 3
# A record is cut into pieces of this size at most (bodies only: heads are far below it).
PIECE_BYTES = 1 << 20
# Memory for what comes while no segment is ready: bodies may take half of it, new requests three
# quarters, the ends of those already open all of it and more (they are bounded by themselves).
SPILL_BYTES = 16 << 20

WAKE_BUSY_S = 0.2
WAKE_IDLE_S = 0.25
WATCH_S = 1.0  # a recorder can die while nothing is traced: of what a killed process has left

_OPEN, _FINISH = int(Kind.OPEN), int(Kind.FINISH)

CallLater = Callable[[float, Callable[[], None]], object]


class Journal:
    """Appends records for the recorder, in order, into files that outlive this process.

    `directory` is this process's own; `queue_bytes` bounds what the recorder has not yet worked
    off: above three quarters bodies are refused, when full new exchanges. `open` counts every
    exchange; `counters()` tells what became of them.
    """

    def __init__(
        self,
        directory: Path,
        recorder: RecorderProcess,
        *,
        queue_bytes: int = 1 << 30,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.directory = directory
        self._recorder = recorder
        self._queue_bytes = queue_bytes
        self._segment_bytes = segment_bytes
        self.clock = clock
        self._maker = SegmentMaker(directory, segment_bytes, SEGMENTS_AHEAD)
        self._call_later: CallLater | None = None
        self._page: CounterPage | None = None
        self._segment: Segment | None = None
        self._map: mmap.mmap  # the segment's
        self._accepted = 0
        self._refused = 0
        self._bodies_omitted = 0
        self._limit = 0  # a record must end before it; 0 sends every append the slow way
        self._at = 0
        self._taken_bytes = 0  # of all segments taken so far
        self._last_exchange = 0
        self._open = 0
        self._spill: deque[tuple[int, int, float, bytes]] = deque()
        self._spill_bytes = 0
        self._armed = False
        self._stopping = False
        self._woken_at = (0, 0)
        self.takes_bodies = True  # read by the trace middleware before it copies
        self.takes_exchanges = True

    def start(self, call_later: CallLater | None = None) -> None:
        """Make the first segments, start the recorder. `call_later` is the event loop's; without
        one the owner calls `wake` itself. Raises OSError if nothing can be created."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._call_later = call_later
        self._page = new_page()
        try:
            self._recorder.start(self._page.fd)
        except OSError:
            self.stop(0)
            raise
        self._maker.start()
        self._advance()
        if call_later is not None:
            call_later(WATCH_S, self._watch)

    # --- hot: per record -------------------------------------------------------------------

    def open(self, t: float, payload: bytes) -> int:
        """Begin an exchange. Its number for `append`, or 0: there is no room, it is not traced."""
        self._accepted += 1
        if not self._armed:
            self._arm(WAKE_BUSY_S)
        exchange = self._last_exchange = self._last_exchange % 0xFFFFFFFF + 1
        if not self.takes_exchanges or not self.append(_OPEN, exchange, t, payload):
            self._refused += 1
            return 0
        self._open += 1
        return exchange

    def append(self, kind: int, exchange: int, t: float, payload: bytes) -> bool:
        """Add a record. False: it was left out for want of room."""
        at = self._at
        data = at + HEADER_BYTES
        end = data + len(payload)
        if end > self._limit:
            return self._append_slowly(kind, exchange, t, payload)
        mapping = self._map
        mapping[data:end] = payload
        PUT_HEADER(mapping, at, t, exchange, kind, 0, end - at)  # the length last: now it is there
        self._at = end + 7 & ~7
        return True

    def finish(self, exchange: int, t: float, payload: bytes) -> None:
        """The last record of an exchange. Never refused."""
        self._open -= 1
        self.append(_FINISH, exchange, t, payload)

    # --- when a segment is full ------------------------------------------------------------

    def _append_slowly(self, kind: int, exchange: int, t: float, payload: bytes) -> bool:
        if len(payload) > PIECE_BYTES and kind in (Kind.REQUEST_CHUNK, Kind.RESPONSE_CHUNK):
            return self._append_pieces(kind, exchange, t, payload)
        if len(payload) + HEADER_BYTES > self._segment_bytes:
            log.error("a trace record of %d bytes does not fit the journal", len(payload))
            return False
        if self._spill or not self._advance():
            return self._put_aside(kind, exchange, t, payload)
        return self.append(kind, exchange, t, payload)

    def _append_pieces(self, kind: int, exchange: int, t: float, payload: bytes) -> bool:
        for start in range(0, len(payload), PIECE_BYTES):
            if not self.append(kind, exchange, t, payload[start : start + PIECE_BYTES]):
                return False
        return True

    def _advance(self) -> bool:
        """Go on in the next segment; False if none is ready."""
        ready = self._maker.ready
        if not ready:
            self._limit = 0
            return False
        used = self._segment
        if used is not None and self._at + HEADER_BYTES <= used.size:
            PUT_HEADER(used.map, self._at, 0.0, 0, 0, 0, END_OF_SEGMENT)
        self._segment = segment = ready.popleft()
        self._map = segment.map
        self._maker.refill(used)
        self._at = 0
        self._limit = segment.size
        self._taken_bytes += segment.size
        self._measure()
        return True

    def _put_aside(self, kind: int, exchange: int, t: float, payload: bytes) -> bool:
        held = self._spill_bytes + len(payload)
        if kind == _OPEN:
            room = held <= SPILL_BYTES * 3 // 4
        else:
            room = kind in (Kind.FINISH, Kind.RESPONSE_HEAD) or held <= SPILL_BYTES // 2
        if not room:
            return False
        self._limit = 0
        self._spill.append((kind, exchange, t, payload))
        self._spill_bytes = held
        return True

    def _pour_back(self) -> None:
        """Write what was put aside, as far as there are segments."""
        waiting, self._spill, self._spill_bytes = self._spill, deque(), 0
        if self._segment is not None:
            self._limit = self._segment.size
        while waiting:
            self.append(*waiting.popleft())
            if self._spill:
                self._spill.extend(waiting)
                self._spill_bytes += sum(len(record[3]) for record in waiting)
                return

    # --- now and then ----------------------------------------------------------------------

    def secret(self, number: int, texts: bytes) -> None:
        """Tell the recorder a secret's texts, over its private pipe: never on disk."""
        self._recorder.secret(number, texts)

    def wake(self) -> None:
        """Let the recorder know how far the journal goes, and look after both."""
        if self._page is None:
            return
        if self._spill and self._maker.ready:
            self._pour_back()
        self._measure()
        number = self._segment.number if self._segment is not None else 0
        self._woken_at = (number, self._at)
        if not self._recorder.wake(number, self._at):
            self._maker.do(self._recorder.restart)

    def _measure(self) -> None:
        assert self._page is not None  # noqa: S101 - only called after start
        outstanding = self._taken_bytes - self._page.slots[slot.RECLAIMED]
        # What is mapped but still empty is not outstanding.
        outstanding -= self._segment_bytes
        self.takes_bodies = outstanding < self._queue_bytes * 3 // 4
        self.takes_exchanges = outstanding < self._queue_bytes

    def _arm(self, delay_s: float) -> None:
        if self._call_later is not None:
            self._armed = True
            self._call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._armed = False
        if self._page is None or self._stopping:
            return
        moved = self._woken_at != (self._segment.number if self._segment else 0, self._at)
        self.wake()
        if moved:
            self._arm(WAKE_BUSY_S)
        elif self._open or self._spill or self.counters().pending:
            self._arm(WAKE_IDLE_S)

    @property
    def recorder_up(self) -> bool:
        """The recorder has begun its work."""
        return self._page is not None and self._page.slots[slot.LIVES] > 0

    def _watch(self) -> None:
        if self._page is None or self._stopping or self._call_later is None:
            return
        if self._recorder.ended:
            self.wake()
        self._call_later(WATCH_S, self._watch)

    def body_omitted(self) -> None:
        """Count a body that was left out."""
        self._bodies_omitted += 1

    def counters(self) -> Counters:
        """The figures of this moment; all zero before the start."""
        if self._page is None:
            return Counters(0, 0, 0, 0, 0, 0, 0)
        slots = self._page.slots
        pending = self._taken_bytes - self._segment_bytes + self._at - slots[slot.RECLAIMED]
        return Counters(
            accepted=self._accepted,
            written=slots[slot.WRITTEN],
            dropped=self._refused + slots[slot.DROPPED],
            failed=slots[slot.FAILED],
            recovered=slots[slot.RECOVERED],
            bodies_omitted=self._bodies_omitted,
            pending_bytes=max(0, pending),
        )

    def stop_ticking(self) -> None:
        """From now on only `stop` is called; on the loop, before `stop` runs in a thread."""
        self._stopping = True

    def is_gone(self) -> bool:
        """Whether somebody has removed its folder: nothing will come of what is appended."""
        return not (self.directory / LOCK_NAME).exists()

    def abandon(self) -> Counters:
        """Give up one that is gone; the last figures. Blocks for a few ms."""
        self._recorder.abandon()
        return self.stop(0)

    def stop(self, timeout_s: float) -> Counters:
        """Let the recorder finish and end; blocks up to `timeout_s`. What it has not written by
        then it goes on writing by itself. Returns the last figures."""
        if self._page is None:
            return self.counters()
        deadline = self.clock() + timeout_s
        self._stopping = True
        self.wake()
        self._recorder.finish(max(0.0, deadline - self.clock()))
        last = self.counters()
        self._maker.stop()
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        self._limit = 0
        self._page.close()
        self._page = None
        return last
