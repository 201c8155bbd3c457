"""The recorder: a process of its own that turns the journal into trace files.

    python -m <package>.tracing.recorder '{"trace_dir": …, "journal_dir": …, "pipe_fd": …, …}'

    pipe says how far ──▶ scan ──▶ finished exchange ──▶ document ──▶ file ──▶ mark, count, release
                                                   │             └─ OSError ──▶ again later
                                                   └─ three recorders died of it ──▶ set aside

It lives as long as its pipe: when the proxy ends, or is killed, it finishes what the journal
holds, writes what was in flight as recovered, and goes. SIGINT and SIGTERM are the proxy's to
handle. Standard library, orjson and the providers only.
"""

from __future__ import annotations

import errno
import gc
import math
import os
import signal
import sys
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep, time

import orjson

from ..prices.table import Prices
from . import counters as slot
from .archive import Archive
from .bodies import Limits
from .counters import CounterPage
from .document import Document, Documents
from .files import TraceFolder
from .inbox import Inbox
from .leftovers import remove_journal, take_leftovers
from .lines import Lines
from .pace import Pace
from .reading import JournalReader, OpenExchange
from .records import Mark
from .retention import Retention, sweep
from .segments import SEGMENT_BYTES
from .set_aside import SetAside
from .spool import Spool

_RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_LAST_TRIES_S = 1.0  # after the end of the proxy, for a disk that fails
_SWEEP_S = 60.0
_DEATHS = 3  # of recorders at one exchange: then it is not tried again
_TOO_LARGE = "the file system refused a file of this size"


@dataclass(slots=True, frozen=True)
class Settings:
    """What the proxy tells the recorder on its command line. No secret is among it."""

    trace_dir: str
    journal_dir: str
    pipe_fd: int
    page_fd: int
    lock_fd: int  # only held: the journal is locked while either process lives
    queue_bytes: int = 1 << 30
    decoded_bytes: int = 20 << 20
    decoded_ratio: int = 200
    keep_days: float | None = None
    keep_gb: float | None = None
    keep_count: int | None = None
    keep_bodies_days: float | None = None
    spool: bool = False  # tell a store of each trace
    lines: str = "off"  # terminal, logfmt, json, off
    prices: Sequence[Mapping[str, str | None]] = ()  # one's own, as `prices.own` reads them


class Recorder:
    """Works off one live journal, and between its wakes those that killed processes have left."""

    def __init__(self, settings: Settings, inbox: Inbox, page: CounterPage) -> None:
        self._journal_dir = Path(settings.journal_dir)
        self._trace_dir = Path(settings.trace_dir)
        self._queue_bytes = settings.queue_bytes
        self._inbox = inbox
        self._slots = page.slots
        self._reader = JournalReader(self._journal_dir, inbox.secrets, recycles=True)
        self._folder = TraceFolder(self._trace_dir, self._journal_dir.name)
        self._documents = Documents(
            Limits(settings.decoded_bytes, settings.decoded_ratio), Prices.read(settings.prices)
        )
        self._lines = Lines(settings.lines)
        self._spool = Spool(self._trace_dir, self._journal_dir.name) if settings.spool else None
        self._aside = SetAside(self._trace_dir, self._lines)
        self._keep = Retention(
            settings.keep_days,
            None if settings.keep_gb is None else int(settings.keep_gb * 1e9),
            settings.keep_count,
        )
        days = settings.keep_bodies_days
        self._archive = Archive(self._trace_dir, days, self._rewritten) if days else None
        self._pace = Pace(self._fullness, lambda: inbox.closed)
        self._sweep_at = 0.0
        self._failing: deque[OpenExchange] = deque()
        self._tries = 0
        self._retry_at = 0.0
        self._leftovers_at = math.inf  # when to look for them again

    def run(self) -> None:
        """Work until the proxy is gone and everything is written."""
        self._take_over()
        self._pace.run(self._pieces())

    def _pieces(self) -> Iterator[None]:
        """All its work, in pieces of an exchange."""
        leftovers: Iterator[None] | None = self._recover_leftovers()
        while not self._inbox.closed:
            self._inbox.wait(0.0 if leftovers is not None else self._pause_s())
            yield from self._work(self._inbox.position)
            if leftovers is None and monotonic() >= self._leftovers_at:
                leftovers = self._recover_leftovers()
            if leftovers is not None and next(leftovers, self) is self:
                leftovers = None
            self._sweep()
        yield from self._finish()

    def _take_over(self) -> None:
        """A recorder before us may have been killed between a mark and its counter."""
        self._reclaimed_before = self._slots[slot.RECLAIMED]
        self._slots[slot.LIVES] += 1
        if self._slots[slot.LIVES] == 1:
            return
        for what, count in self._reader.highest_marks().items():
            place = _SLOTS[what]
            self._slots[place] = max(self._slots[place], count)

    def _fullness(self) -> float:
        """How much of the queue waits to be read, as far as the proxy has said."""
        self._inbox.wait(0.0)
        segments = self._inbox.position[0] - self._reader.segment
        return segments * SEGMENT_BYTES / self._queue_bytes

    def _pause_s(self) -> float | None:
        until = min(self._retry_at if self._failing else math.inf, self._leftovers_at)
        if until < math.inf:
            return max(0.0, until - monotonic())
        return _SWEEP_S if self._sweeps() else None

    def _work(self, until: tuple[int, int] | None) -> Generator[None, None, bool]:
        """Write everything that is finished up to there. False: the journal could not be read that
        far just now; the next call goes on."""
        read = yield from self._read_on(until)
        if self._failing and monotonic() >= self._retry_at:
            self._retry()
        if self._reader.held_bytes > self._queue_bytes // 4:
            self._reader.squeeze()
        self._slots[slot.RECLAIMED] = self._reclaimed_before + self._reader.reclaimed_bytes
        self._lines.flush()
        return read

    def _read_on(self, until: tuple[int, int] | None) -> Generator[None, None, bool]:
        try:
            for exchange in self._reader.scan(until):
                self._record(exchange)
                yield
        except OSError as error:  # no file descriptor free, no right to open it
            self._lines.note("error", "the trace journal cannot be read", str(error))
            return False
        return True

    def _finish(self) -> Iterator[None]:
        """The proxy is gone: what it left open was in flight."""
        deadline = monotonic() + _LAST_TRIES_S
        while not (read := (yield from self._work(None))) and monotonic() < deadline:
            sleep(_RETRY_S[0])
        for exchange in list(self._reader.open.values()) if read else ():
            if exchange not in self._failing:
                self._record(exchange)
        deadline = monotonic() + _LAST_TRIES_S
        while self._failing and monotonic() < deadline:
            sleep(max(0.0, min(self._retry_at, deadline) - monotonic()))
            self._retry()
        self._lines.flush()
        self._reader.close()
        self._folder.close()
        if self._spool is not None:
            self._spool.close()
        # What could not be written stays in the journal: the next start tries again.
        self._slots[slot.FAILED] += len(self._failing)
        if read and not self._failing:
            remove_journal(self._journal_dir)

    # --- one exchange ----------------------------------------------------------------------

    def _record(self, exchange: OpenExchange) -> None:
        if self._failing:  # the disk refuses: do not knock for each one
            self._failing.append(exchange)
            self._make_room()
            return
        try:
            self._settle(exchange, self._write(self._reader, exchange))
        except OSError as error:
            self._lines.note("error", "traces cannot be written", str(error))
            self._failing.append(exchange)
            self._tries = 0
            self._retry_at = monotonic() + _RETRY_S[0]

    def _settle(self, exchange: OpenExchange, document: Document | None) -> None:
        """Mark, count, forget: in this order, so that a kill between loses nothing."""
        what, place = _FAILED if document is None else _WRITTEN
        count = self._slots[place] + 1
        self._reader.mark(exchange, what, count)
        self._slots[place] = count
        self._reader.release(exchange)
        if document is not None:
            self._lines.add(document.summary, document.name, document.received_ns)

    def _write(self, reader: JournalReader, exchange: OpenExchange) -> Document | None:
        """Make the document and its files. None: it cannot be made, whatever we do. Raises
        OSError if the disk refuses."""
        begun = reader.begin(exchange)
        if begun >= _DEATHS:
            self._aside.put(reader, exchange, last_try=begun > _DEATHS)
            return None
        try:
            return self._write_files(reader, exchange)
        except OSError:
            reader.stand_back(exchange, begun)
            raise

    def _write_files(self, reader: JournalReader, exchange: OpenExchange) -> Document | None:
        document = self._build(reader, exchange, None)
        if document is None:
            return None
        try:
            self._put(document)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            document = self._build(reader, exchange, _TOO_LARGE)
            if document is None:
                return None
            self._put(document)
        return document

    def _put(self, document: Document) -> None:
        for name, data in document.files:
            self._folder.write(document.day, name, data)
        self._folder.write(document.day, document.name, document.data)
        if self._spool is not None:  # before the mark: told twice rather than not at all
            self._spool.written(document.day, document.name)

    def _build(
        self, reader: JournalReader, exchange: OpenExchange, without_bodies: str | None
    ) -> Document | None:
        """A body that no one has foreseen must not cost its trace, let alone the others'."""
        for reason in (without_bodies, "it could not be read"):
            try:
                recorded = reader.read(exchange)
                if reason is not None:
                    recorded.without_bodies()
                return self._documents.build(recorded, reason)
            except OSError as error:
                if not isinstance(error, FileNotFoundError):  # a segment that is gone stays so
                    raise
                self._lines.note("error", "a trace could not be made", repr(error))
            except Exception as error:  # noqa: BLE001 - the root of this exchange's work
                self._lines.note("error", "a trace could not be made", repr(error))
        return None

    # --- a disk that refuses ---------------------------------------------------------------

    def _retry(self) -> None:
        while self._failing:
            exchange = self._failing[0]
            try:
                self._settle(exchange, self._write(self._reader, exchange))
            except OSError:
                self._tries += 1
                self._retry_at = monotonic() + _RETRY_S[min(self._tries, len(_RETRY_S) - 1)]
                return
            self._failing.popleft()
        self._lines.note("info", "traces can be written again", f"after {self._tries + 1} tries")

    def _make_room(self) -> None:
        """What is retried may hold half of the queue; above that the oldest are given up."""
        while self._failing and self._reader.held_bytes > self._queue_bytes // 2:
            self._settle(self._failing.popleft(), None)

    # --- beside ----------------------------------------------------------------------------

    def _recover_leftovers(self) -> Iterator[None]:
        """Write what killed processes have left behind, one exchange a step."""
        self._leftovers_at = math.inf
        for directory in take_leftovers(self._journal_dir):
            # Before the first is begun: whoever is killed again and again while we load must not be
            # taken for a trace that kills recorders.
            self._documents.load()
            reader = JournalReader(directory, None)
            try:
                for exchange in reader.scan(None):
                    self._recover(reader, exchange)
                    yield
                for exchange in list(reader.open.values()):
                    self._recover(reader, exchange)
                    yield
            except (OSError, ValueError) as error:
                self._lines.note("error", "a journal could not be recovered", str(error))
                if isinstance(error, OSError):
                    self._leftovers_at = monotonic() + _RETRY_S[-1]
                continue
            finally:
                reader.close()
            remove_journal(directory)

    def _recover(self, reader: JournalReader, exchange: OpenExchange) -> None:
        document = self._write(reader, exchange)
        reader.mark(exchange, Mark.WRITTEN if document is not None else Mark.FAILED, 1)
        self._slots[slot.RECOVERED] += 1
        reader.release(exchange)
        if document is not None:
            self._lines.add(document.summary, document.name, document.received_ns)

    def _sweep(self) -> None:
        if not self._sweeps() or monotonic() < self._sweep_at:
            return
        self._sweep_at = monotonic() + _SWEEP_S
        deleting = self._spool.deleted if self._spool is not None else None
        try:
            now = datetime.fromtimestamp(time(), UTC)
            sweep(self._trace_dir, self._keep, now, deleting, self._archive, self._doubting)
        except OSError as error:
            self._lines.note("error", "old traces could not be deleted", str(error))

    def _sweeps(self) -> bool:
        return self._keep.limited() or self._archive is not None

    def _doubting(self) -> None:
        detail = "no trace is old until it has gone on for an hour"
        self._lines.note("warning", "the clock has leapt ahead", detail)

    def _rewritten(self, file: str) -> None:
        if self._spool is not None:
            self._spool.changed(file)


# Looked up once: a member of an enum takes 0.1 µs.
_WRITTEN, _FAILED = (Mark.WRITTEN, slot.WRITTEN), (Mark.FAILED, slot.FAILED)
_SLOTS = {Mark.WRITTEN: slot.WRITTEN, Mark.FAILED: slot.FAILED, Mark.DROPPED: slot.DROPPED}


def main() -> None:
    """The process's life."""
    settings = Settings(**orjson.loads(sys.argv[1]))
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.umask(0o077)
    gc.set_threshold(50_000)
    Recorder(settings, Inbox(settings.pipe_fd), CounterPage(settings.page_fd)).run()


if __name__ == "__main__":
    main()
