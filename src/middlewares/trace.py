"""Writes down every exchange: the first middleware, and an ordinary one.

It sees what any middleware can see (the exchange, its observers) and only copies bytes into the
journal; the recorder process makes the trace file of them. A trace never stalls, changes or fails
a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import marshal
import os
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, Field

from ..proxy.exchange import CallNext, ErrorRecord, Exchange, Header, Response
from ..tracing.child import RecorderProcess
from ..tracing.counters import Counters
from ..tracing.journal import Journal
from ..tracing.records import MARSHAL_VERSION, Kind
from ..tracing.secrets import MaskedHead, Secret, SecretTable, hide, load_salt
from ..utils.redaction import redact_text
from ..utils.ulid import ULIDs
from .base import Services

JOURNAL_FOLDER = ".journal"
_QUEUE_FULL = "the trace queue was full"
_EXT_BYTES = 1 << 20


class TraceOptions(BaseModel):
    """Options of the trace middleware."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dir: Path | None = Field(None, description="folder of the traces; default: trace_dir")
    body_bytes: int = Field(10 << 20, ge=0, description="kept of a body, each way")
    queue_bytes: int = Field(
        256 << 20, ge=16 << 20, description="what may wait to be written, on disk"
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
        self._last = Counters(0, 0, 0, 0, 0, 0, 0)

    async def start(self) -> None:
        """Make the folder and the journal, start the recorder. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = self._folder / JOURNAL_FOLDER / f"{os.getpid()}-{ULIDs()()}"
        recorder = RecorderProcess(directory, self._recorder_settings(directory))
        journal = Journal(
            directory,
            recorder,
            queue_bytes=self._options.queue_bytes,
            clock=self._services.clock,
        )
        extra = (*self._options.redact_headers, *self._options.redact_query)
        names = frozenset(name.lower().encode() for name in extra)
        self._secrets = SecretTable(load_salt(self._folder), names, journal.secret)
        journal.start(asyncio.get_running_loop().call_later)
        self._journal = journal

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
            "lines": "off" if self._services.quiet else style,
        }

    async def stop(self) -> None:
        """Wait for the recorder to write what is there, up to the flush time."""
        journal, self._journal = self._journal, None
        if journal is not None:
            self._last = await asyncio.to_thread(journal.stop, self._services.flush_s)

    def counters(self) -> dict[str, int]:
        """Figures for the health page: accepted, written, dropped, failed, recovered, …"""
        now = self._journal.counters() if self._journal is not None else self._last
        return {
            "accepted": now.accepted,
            "written": now.written,
            "dropped": now.dropped,
            "failed": now.failed,
            "recovered": now.recovered,
            "pending": now.pending,
            "pending_bytes": now.pending_bytes,
            "bodies_omitted": now.bodies_omitted,
        }

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        """Record the request, pass it on, record what comes back."""
        if self._journal is None or self._secrets is None:
            return await call_next(exchange)
        recording = _Recording(self._journal, self._secrets, self._clock, self._body_bytes)
        if not recording.open(exchange):
            return await call_next(exchange)
        exchange.on_request_chunk(recording.request.add)
        exchange.on_chunk(recording.response.add)
        exchange.on_finish(recording.finish)
        response = await call_next(exchange)
        recording.answered(exchange, response)
        return response


class _Recording:
    """One exchange on its way into the journal, in the order it happens."""

    __slots__ = (
        "_answered",
        "_head",
        "_journal",
        "_number",
        "_secrets",
        "_sent",
        "request",
        "response",
    )

    def __init__(
        self, journal: Journal, secrets: SecretTable, clock: Callable[[], float], body_bytes: int
    ) -> None:
        self._journal = journal
        self._secrets = secrets
        self._head: MaskedHead
        self._sent: MaskedHead | None = None  # the head as forwarded
        self._number = 0
        self._answered = False
        self.request = Flow(journal, clock, body_bytes, Kind.REQUEST_CHUNK, Kind.REQUEST_MASKED)
        self.response = Flow(journal, clock, body_bytes, Kind.RESPONSE_CHUNK, Kind.RESPONSE_MASKED)

    def open(self, exchange: Exchange) -> bool:
        """Write down the head before anything is forwarded. False: no room, not traced."""
        head = self._head = self._secrets.mask_headers(exchange.headers)
        target = self._secrets.mask_target(exchange.target, head)
        opened = (
            exchange.id,
            exchange.received_ns,
            exchange.started,
            exchange.method,
            target,
            exchange.forward_path,
            exchange.http_version,
            head.headers,
            exchange.client,
            head.fingerprint,
            head.numbers(),
            _describe(exchange),
            exchange.chain,
        )
        payload = marshal.dumps(opened, MARSHAL_VERSION)
        self._number = number = self._journal.open(exchange.started, payload)
        self.request.begin(number, head.content_length, head.secrets)
        self.response.begin(number, None, head.secrets)
        return number != 0

    def answered(self, exchange: Exchange, response: Response) -> None:
        """Write down the response's head."""
        self._answered = True
        head = self._secrets.mask_response_headers(response.headers)
        sent = self._forwarded_head(exchange)
        secrets = self._head.secrets
        if sent is not None and sent.secrets != secrets:
            secrets = tuple(dict.fromkeys(secrets + sent.secrets))
        self.response.begin(self._number, head.content_length, secrets)
        answered = (
            response.status,
            response.http_version,
            head.headers,
            tuple([secret.number for secret in secrets]),
        )
        now = self._journal.clock()
        payload = marshal.dumps(answered, MARSHAL_VERSION)
        self._journal.append(Kind.RESPONSE_HEAD, self._number, now, payload)

    def finish(self, exchange: Exchange) -> None:
        """Write down how it ended. Called once, synchronously."""
        if not self._answered and exchange.response is not None:
            # An answer made outside of the chain: the gateway's, for an error further in.
            self.answered(exchange, exchange.response)
        now = exchange.t_finished or self._journal.clock()
        self._journal.finish(self._number, now, self._finished(exchange))

    def _finished(self, exchange: Exchange) -> bytes:
        """The fields of `records.Finished`, in order."""
        upstream = exchange.upstream
        finished = (
            exchange.t_request_body,
            exchange.t_connect_start,
            exchange.t_connected,
            exchange.t_sent,
            exchange.t_headers,
            exchange.t_first_byte,
            exchange.t_last_byte,
            exchange.t_finished,
            exchange.reused,
            exchange.max_gap,
            exchange.status,
            exchange.upstream_http_version,
            str(exchange.cause or "ok"),
            str(exchange.phase),
            self._masked(exchange.detail),
            self._error(exchange.error),
            exchange.rejected_by,
            exchange.key_label,
            upstream.key_label if upstream is not None else None,
            [
                (a.key_label, a.started, a.status, self._masked(a.error), a.wait_ms)
                for a in exchange.attempts
            ],
            self._forwarded(exchange),
            self.request.outcome(),
            self.response.outcome(),
            self._sent.numbers() if self._sent is not None else (),
            exchange.tags,
            _ext(exchange.ext),
            _describe(exchange),
        )
        return marshal.dumps(finished, MARSHAL_VERSION)

    def _forwarded_head(self, exchange: Exchange) -> MaskedHead | None:
        if self._sent is None and exchange.forwarded is not None:
            self._sent = self._secrets.mask_headers(exchange.forwarded.headers)
        return self._sent

    def _forwarded(
        self, exchange: Exchange
    ) -> tuple[bytes, tuple[Header, ...], bool, str | None, bool] | None:
        """(url, headers, body_changed, sha256_out, path_changed) as really sent."""
        head, sent = self._forwarded_head(exchange), exchange.forwarded
        if head is None or sent is None:
            return None
        origin = b"%b://%b" % (sent.upstream.scheme.encode(), sent.upstream.host_header)
        target = self._secrets.mask_target(sent.target, head)
        tail = exchange.forward_path + (b"?" + exchange.query if exchange.query else b"")
        path_changed = not sent.target.endswith(tail)
        return origin + target, head.headers, sent.body_changed, sent.sha256_out, path_changed

    def _error(self, error: ErrorRecord | None) -> tuple[str, str, str | None, int | None] | None:
        if error is None:
            return None
        return error.source, error.type, self._masked(error.message), error.status

    def _masked(self, text: str | None) -> str | None:
        """An error text without the secrets of this exchange."""
        if text is None:
            return None
        secrets = self._head.secrets + (self._sent.secrets if self._sent is not None else ())
        return redact_text(text, [t.decode("latin-1") for s in secrets for t in s.texts])


class Flow:
    """One direction's body on its way into the journal: the first `room` bytes of it.

    A body whose announced length is within the cap lies in the journal whole and the recorder
    hashes it there; of all others the hash is carried on here (0.2 µs a chunk).
    """

    __slots__ = (
        "_clock",
        "_hash",
        "_hashing",
        "_journal",
        "_kept",
        "_kind",
        "_lost",
        "_masked_kind",
        "_needles",
        "_number",
        "_room",
        "_secrets",
        "wire_bytes",
    )

    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], float],
        room: int,
        kind: Kind,
        masked_kind: Kind,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._room = room
        self._kept = 0
        self._kind = kind
        self._masked_kind = masked_kind
        self._hashing = True
        self._hash: hashlib._Hash | None = None
        self._lost: str | None = None
        self._needles: tuple[bytes, ...] = ()
        self._secrets: tuple[Secret, ...] = ()
        self._number = 0
        self.wire_bytes = 0

    def begin(self, number: int, length: int | None, secrets: tuple[Secret, ...]) -> None:
        """The head is there: what is announced, and what must not be written."""
        self._number = number
        if self.wire_bytes:
            return  # a chunk came before its head: go on as begun
        self._hashing = length is None or length > self._room
        self._secrets = secrets
        self._needles = secrets[0].needles if len(secrets) == 1 else _needles(secrets)

    def add(self, chunk: bytes) -> None:
        """A piece of the body. Hot: once per chunk of a stream; 0.7 µs."""
        size = len(chunk)
        self.wire_bytes += size
        if self._hashing:
            if self._hash is None:
                self._hash = hashlib.sha256()
            self._hash.update(chunk)
        if size > self._room:
            if self._room <= 0:
                return
            chunk = chunk[: self._room]
        for needle in self._needles:
            if needle in chunk:
                self._add_masked(chunk)
                return
        journal = self._journal
        if journal.takes_bodies and journal.append(self._kind, self._number, self._clock(), chunk):
            self._room -= size
            self._kept += len(chunk)
        else:
            self._lose()

    def _add_masked(self, chunk: bytes) -> None:
        payload = marshal.dumps(hide(chunk, self._secrets), MARSHAL_VERSION)
        now = self._clock()
        if self._journal.append(self._masked_kind, self._number, now, payload):
            self._room -= len(chunk)
            self._kept += len(chunk)
        else:
            self._lose()

    def _lose(self) -> None:
        self._room = 0
        self._lost = _QUEUE_FULL
        self._journal.body_omitted()

    def outcome(self) -> tuple[int, str | None, str | None, int]:
        """The fields of `records.Body`."""
        digest = self._hash.hexdigest() if self._hash is not None else None
        return self.wire_bytes, digest, self._lost, self._kept


def _needles(secrets: tuple[Secret, ...]) -> tuple[bytes, ...]:
    return tuple({needle for secret in secrets for needle in secret.needles})


def _describe(exchange: Exchange) -> tuple[str, str, bytes, str]:
    """The fields of `records.UpstreamInfo`."""
    upstream = exchange.upstream
    if upstream is None:
        return "", "", b"", exchange.provider.type
    return upstream.name, upstream.base_url, upstream.prefix, upstream.provider.type


def _ext(ext: dict[str, object]) -> bytes | None:
    """What middlewares have added, as JSON; what is none is told so, not lost."""
    if not ext:
        return None
    try:
        written = orjson.dumps(ext)
    except TypeError as error:  # covers values that are no JSON, nesting, integers too large
        return orjson.dumps({"trace": {"error": f"ext could not be written: {error}"}})
    if len(written) > _EXT_BYTES:
        return orjson.dumps({"trace": {"error": f"ext of {len(written)} bytes was left out"}})
    return written
