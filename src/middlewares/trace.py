"""Writes down every exchange: the first middleware, and an ordinary one.

    Trace ── one per worker ──▶ journal ──▶ recorder process ──▶ trace files
      └── Recording, one per exchange (_recording) ── its bodies (_flows) ──▶ journal

It sees what any middleware can see (the exchange, its observers) and only copies bytes into the
journal; the recorder process makes the trace file of them. A trace never stalls, changes or fails
a request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ..proxy.exchange import CallNext, Exchange, Response
from ..tracing.child import RecorderProcess
from ..tracing.counters import Counters
from ..tracing.journal import Journal
from ..tracing.rules import MaskRules
from ..tracing.secrets import SecretTable, load_salt
from ..utils.tasks import spawn
from ..utils.ulid import ULIDs
from ._flows import Whole
from ._recording import Recording
from .base import Services

log = logging.getLogger("llmtap.tracing")

JOURNAL_FOLDER = ".journal"
_UP_S, _LOOK_S = 1.0, 0.005
_KEEP_S = 1.0


class TraceOptions(BaseModel):
    """Options of the trace middleware."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dir: Path | None = Field(None, description="folder of the traces; default: trace_dir")
    body_bytes: int = Field(10 << 20, ge=0, description="kept of a body, each way")
    queue_bytes: int = Field(
        1 << 30, ge=16 << 20, description="what may wait to be written, on disk"
    )
    decoded_bytes: int = Field(
        20 << 20, ge=0, description="a compressed body is decoded up to this"
    )
    decoded_ratio: int = Field(200, ge=1, description="and up to this many times its size")
    redact_headers: tuple[str, ...] = Field((), description="further headers to mask, by name")
    redact_query: tuple[str, ...] = Field((), description="further query parameters to mask")
    keep_days: float | None = Field(None, gt=0, description="traces older than this are deleted")
    keep_gb: float | None = Field(None, gt=0, description="the oldest above this total are deleted")
    keep_count: int | None = Field(None, gt=0, description="the oldest above this number too")
    keep_bodies_days: float | None = Field(
        None, gt=0, description="traces older than this lose their bodies and keep their figures"
    )


class Trace:
    """The trace middleware. One journal and one recorder process per worker."""

    Options = TraceOptions

    def __init__(self, options: TraceOptions, services: Services) -> None:
        self._options = options
        self._services = services
        self._folder = options.dir or services.trace_dir
        self._journal: Journal | None = None
        self._secrets: SecretTable | None = None
        self._clock = services.clock
        self._body_bytes = options.body_bytes
        self._past = Counters(0, 0, 0, 0, 0, 0, 0)  # of journals that are closed
        self._untraced = 0  # while there was none
        self._keeper: asyncio.Task[object] | None = None

    async def start(self) -> None:
        """Make the folder and the journal, start the recorder. Raises OSError where the folder is
        none or may not be written; a disk that is full is no reason not to serve."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._journal = self._new_journal()
            await _recorder_up(self._journal)
        except (PermissionError, NotADirectoryError, FileExistsError):
            raise
        except OSError as error:
            text = "the trace journal cannot be made: %s; traffic goes on untraced"
            log.error(text, error)  # noqa: TRY400 - the reason is what helps, not our stack
        self._keeper = spawn(self._keep_journal(), "trace journal")

    async def _keep_journal(self) -> None:
        """Make one where there is none: since the disk was full, or somebody removed the folder."""
        while True:
            await asyncio.sleep(_KEEP_S)
            old = self._journal
            if old is not None and not old.is_gone():
                continue
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._journal = self._new_journal()
            except OSError:
                continue
            lost = 0
            if old is not None:
                old.stop_ticking()
                closed = old.abandon()
                lost = closed.pending
                self._past = self._past.plus(closed).plus_dropped(lost)
            log.warning("a trace journal was made anew in %s, %d traces lost", self._folder, lost)

    def _new_journal(self) -> Journal:
        directory = self._folder / JOURNAL_FOLDER / f"{os.getpid()}-{ULIDs()()}"
        try:
            return self._started_journal(directory)
        except OSError:
            shutil.rmtree(directory, ignore_errors=True)
            raise

    def _started_journal(self, directory: Path) -> Journal:
        recorder = RecorderProcess(directory, self._recorder_settings(directory))
        journal = Journal(
            directory,
            recorder,
            queue_bytes=self._options.queue_bytes,
            clock=self._services.clock,
        )
        extra = (*self._options.redact_headers, *self._options.redact_query)
        rules = MaskRules.merged(self._services.masking)
        if rules is not None:
            rules.save(directory)
            extra += rules.headers
        names = frozenset(name.lower().encode() for name in extra)
        self._secrets = SecretTable(load_salt(self._folder), names, journal.secret)
        journal.start(asyncio.get_running_loop().call_later)
        return journal

    def _recorder_settings(self, directory: Path) -> dict[str, object]:
        options = self._options
        style = "terminal" if sys.stderr.isatty() else "logfmt"
        return {
            "trace_dir": str(self._folder.resolve()),
            "journal_dir": str(directory.resolve()),
            "queue_bytes": options.queue_bytes,
            "decoded_bytes": options.decoded_bytes,
            "decoded_ratio": options.decoded_ratio,
            "keep_days": options.keep_days,
            "keep_gb": options.keep_gb,
            "keep_count": options.keep_count,
            "keep_bodies_days": options.keep_bodies_days,
            "spool": self._services.spooled,
            "lines": "off" if self._services.quiet else style,
            "prices": self._services.prices,
        }

    async def stop(self) -> None:
        """Wait for the recorder to write what is there, up to the flush time."""
        if self._keeper is not None:
            self._keeper.cancel()
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.stop_ticking()
            last = await asyncio.to_thread(journal.stop, self._services.flush_s)
            self._past = self._past.plus(last)

    def counters(self) -> dict[str, int]:
        """Figures for the health page: accepted, written, dropped, failed, recovered, …"""
        now = self._past
        if self._journal is not None:
            now = now.plus(self._journal.counters())
        return {
            "accepted": now.accepted + self._untraced,
            "written": now.written,
            "dropped": now.dropped + self._untraced,
            "failed": now.failed,
            "recovered": now.recovered,
            "pending": now.pending,
            "pending_bytes": now.pending_bytes,
            "bodies_omitted": now.bodies_omitted,
        }

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        """Record the request, pass it on, record what comes back."""
        if self._journal is None or self._secrets is None:
            self._untraced += self._keeper is not None
            return await call_next(exchange)
        recording = Recording(self._journal, self._secrets, self._clock, self._body_bytes)
        if not recording.open(exchange):
            return await call_next(exchange)
        if not isinstance(recording.request, Whole):
            exchange.on_request_chunk(recording.request.add)
        exchange.on_finish(recording.finish)
        response = await call_next(exchange)
        exchange.on_chunk(recording.answered(exchange, response))
        return response


async def _recorder_up(journal: Journal) -> None:
    """Wait, but not long, until it has loaded its modules: beside the first requests that would
    take the core from them (500 first streams began within 305 ms instead of 140)."""
    for _ in range(int(_UP_S / _LOOK_S)):
        if journal.recorder_up:
            return
        await asyncio.sleep(_LOOK_S)
