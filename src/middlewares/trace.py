"""Writes down every exchange: the first middleware, and an ordinary one.

It sees what any middleware can see (the exchange, its observers) and only copies bytes into the
journal; the recorder process makes the trace file of them. A trace never stalls, changes or fails
a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import marshal
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, Field

from ..proxy.bodies import RequestBody, ResponseBody
from ..proxy.exchange import (
    CallNext,
    Cause,
    ErrorRecord,
    Exchange,
    Forwarded,
    Header,
    Phase,
    Response,
)
from ..proxy.frames import Unmasker
from ..proxy.websocket import ClientFrames
from ..tracing.child import RecorderProcess
from ..tracing.counters import Counters
from ..tracing.journal import Journal
from ..tracing.masking import field_values
from ..tracing.records import MARSHAL_VERSION, Body, Kind
from ..tracing.rules import MaskRules
from ..tracing.secrets import MaskedHead, Secret, SecretTable, hide, load_salt
from ..utils.redaction import redact_text
from ..utils.tasks import spawn
from ..utils.ulid import ULIDs
from .base import Services

log = logging.getLogger("llmtap.tracing")

JOURNAL_FOLDER = ".journal"
_QUEUE_FULL = "the trace queue was full"
_EXT_BYTES = 1 << 20
_UP_S, _LOOK_S = 1.0, 0.005
_KEEP_S = 1.0
_WHOLE_BYTES = 64 << 10  # a body up to this may stand in one record with its head

_REQUEST = int(Kind.REQUEST_CHUNK), int(Kind.REQUEST_MASKED)
_RESPONSE = int(Kind.RESPONSE_CHUNK), int(Kind.RESPONSE_MASKED)
_NO_BODY: Body = (0, None, None, 0)
_RESPONSE_HEAD = int(Kind.RESPONSE_HEAD)
# As plain text: marshal takes no subclass of str.
_TEXT: dict[str, str] = {str(word): str(word) for word in (*Cause, *Phase)}


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
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._journal = self._new_journal()
            await _recorder_up(self._journal)
        except (PermissionError, NotADirectoryError):
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
        recording = _Recording(self._journal, self._secrets, self._clock, self._body_bytes)
        if not recording.open(exchange):
            return await call_next(exchange)
        if not isinstance(recording.request, _Whole):
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


# The fields of `records.Answered`.
Answer = tuple[int, bytes, tuple[Header, ...], tuple[int, ...]]
# Headers not sent on, sent in addition, whether the number of repeated ones differs.
Changes = tuple[tuple[Header, ...], MaskedHead, bool]


class _Recording:
    """One exchange on its way into the journal, in the order it happens. Hot: about 18 µs for all
    of a small exchange in a tight loop, half as much again between other work."""

    request: Flow | _Whole
    response: Flow | _Whole | None = None
    _answer: Answer | None = None  # the head of an answer that is here in one piece
    _piece: bytes | None = None  # its body, as it was sent on
    _head: MaskedHead
    _response_head: MaskedHead
    _response_secrets: tuple[Secret, ...]
    _changes: Changes | None = None
    _number = 0

    def __init__(
        self, journal: Journal, secrets: SecretTable, clock: Callable[[], float], body_bytes: int
    ) -> None:
        self._journal = journal
        self._secrets = secrets
        self._clock = clock
        self._body_bytes = body_bytes
        self._most_whole = min(body_bytes, _WHOLE_BYTES)

    def open(self, exchange: Exchange) -> bool:
        """Write down the head before anything is forwarded. False: no room, not traced."""
        head = self._head = self._secrets.mask_headers(exchange.headers)
        target = self._secrets.mask_target(exchange.target, head)
        body = self._whole_request(exchange.body, head)
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
            body,
        )
        number = self._journal.open(exchange.started, marshal.dumps(opened, MARSHAL_VERSION))
        self._number = number
        if body is not None:
            self.request = _Whole(body, head.secrets)
        elif isinstance(exchange.body, ClientFrames):
            self.request = self._flow(_REQUEST, None, head.secrets, FrameFlow)
        else:
            self.request = self._flow(_REQUEST, head.content_length, head.secrets)
        return number != 0

    def _whole_request(self, body: RequestBody, head: MaskedHead) -> bytes | None:
        """The body, if all of it is here in one small piece that needs no masking: most are, and
        one record costs less than two."""
        chunks = body.chunks
        if not body.complete or len(chunks) != 1 or not self._journal.takes_bodies:
            return None
        chunk = chunks[0]
        if len(chunk) > self._most_whole or len(chunk) != head.content_length:
            return None
        if field_values(chunk) or _holds(chunk, head.secrets):
            return None
        return chunk

    def answered(self, exchange: Exchange, response: Response) -> Callable[[bytes], None]:
        """Write down the response's head; returns what takes in its body."""
        head = self._secrets.mask_headers(response.headers, remember=False)
        secrets = self._head.secrets
        numbers: tuple[int, ...] = ()
        if exchange.forwarded is not None:
            new = self._compare(exchange, exchange.forwarded)[1]
            if new.secrets:
                secrets, numbers = secrets + new.secrets, new.numbers()
        answer = (response.status, response.http_version, head.headers, numbers)
        body = response.body
        if isinstance(body, ResponseBody) and body.in_one_piece:
            self._answer, self._response_head, self._response_secrets = answer, head, secrets
            return self._keep
        return self._write_head(answer, head, secrets).add

    def _write_head(self, answer: Answer, head: MaskedHead, secrets: tuple[Secret, ...]) -> Flow:
        flow = self.response = self._flow(_RESPONSE, head.content_length, secrets)
        payload = marshal.dumps(answer, MARSHAL_VERSION)
        self._journal.append(_RESPONSE_HEAD, self._number, self._clock(), payload)
        return flow

    def _keep(self, chunk: bytes) -> None:
        """The one piece of an answer, for the last record; more than one after all is a flow."""
        if self._answer is not None and self._piece is None:
            self._piece = chunk
            return
        flow = self._flow_after_all() if self.response is None else self.response
        if isinstance(flow, Flow):
            flow.add(chunk)

    def _flow_after_all(self) -> Flow:
        answer, piece = self._answer, self._piece
        assert answer is not None  # noqa: S101 - only called with one
        self._answer = self._piece = None
        flow = self._write_head(answer, self._response_head, self._response_secrets)
        if piece is not None:
            flow.add(piece)
        return flow

    def _whole_answer(self) -> tuple[Answer, bytes] | None:
        """Head and body for the last record, if the body is whole and needs no masking."""
        answer, piece = self._answer, self._piece
        if answer is None:
            return None
        if (
            piece is not None
            and len(piece) == self._response_head.content_length
            and len(piece) <= self._most_whole
            and self._journal.takes_bodies
            and not _holds(piece, self._response_secrets)
        ):
            self.response = _Whole(piece, self._response_secrets)
            return answer, piece
        self._flow_after_all()
        return None

    def finish(self, exchange: Exchange) -> None:
        """Write down how it ended. Called once, synchronously."""
        if self.response is None and self._answer is None and exchange.response is not None:
            # An answer made outside of the chain: the gateway's, for an error further in.
            take = self.answered(exchange, exchange.response)
            body = exchange.response.body
            if isinstance(body, bytes):
                take(body)
        now = exchange.t_finished or self._clock()
        self._journal.finish(self._number, now, self._finished(exchange))

    def _flow(
        self,
        kinds: tuple[int, int],
        length: int | None,
        secrets: tuple[Secret, ...],
        form: type[Flow] | None = None,
    ) -> Flow:
        table = self._secrets if kinds is _REQUEST else None
        flow = (form or Flow)(
            kinds, self._number, self._journal, self._clock, self._body_bytes, table
        )
        if length is not None and length <= self._body_bytes:
            flow.hashing = False
        if secrets:
            flow.hide(secrets)
        return flow

    def _finished(self, exchange: Exchange) -> bytes:
        """The fields of `records.Finished`, in order."""
        upstream = exchange.upstream
        sent = exchange.forwarded
        answer = self._whole_answer()
        response = self.response
        bodies = self.request.outcome(), response.outcome() if response is not None else _NO_BODY
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
            _TEXT[exchange.cause or Cause.OK],
            _TEXT[exchange.phase],
            exchange.detail and self._masked(exchange.detail),
            self._error(exchange.error) if exchange.error is not None else None,
            exchange.rejected_by,
            exchange.key_label,
            upstream.key_label if upstream is not None else None,
            [
                (a.key_label, a.started, a.status, a.error and self._masked(a.error), a.wait_ms)
                for a in exchange.attempts
            ],
            self._forwarded(exchange, sent) if sent is not None else None,
            *bodies,
            self._new_secrets(),
            exchange.tags,
            _ext(exchange.ext),
            answer,
        )
        return marshal.dumps(finished, MARSHAL_VERSION)

    def _new_secrets(self) -> tuple[int, ...]:
        """Those learned since the request's head."""
        secrets = self.request.secrets
        if self._changes is not None and self._changes[1].secrets:
            secrets += self._changes[1].secrets
        elif secrets is self._head.secrets:
            return ()
        return tuple([secret.number for secret in secrets])

    def _compare(self, exchange: Exchange, sent: Forwarded) -> Changes:
        """What was not sent on and what was sent in addition, masked; and whether a repeated
        header stands more or less often than it did."""
        if self._changes is None:
            gone, new, repeated = _difference(exchange.headers, sent.headers)
            self._changes = (*self._secrets.mask_changes(gone, new), repeated)
        return self._changes

    def _forwarded(
        self, exchange: Exchange, sent: Forwarded
    ) -> tuple[bytes, tuple[Header, ...], tuple[Header, ...], bool, bool, str | None, bool]:
        gone, new, repeated = self._compare(exchange, sent)
        if b"=" in sent.target:  # its query may add a secret, and `new` may be everybody's
            new = new.copy()
            self._changes = gone, new, repeated
        origin = b"%b://%b" % (sent.upstream.scheme.encode(), sent.upstream.host_header)
        tail = (
            exchange.forward_path + b"?" + exchange.query
            if exchange.query
            else exchange.forward_path
        )
        return (
            origin + self._secrets.mask_target(sent.target, new),
            gone,
            new.headers,
            repeated,
            sent.body_changed,
            sent.sha256_out,
            not sent.target.endswith(tail),
        )

    def _error(self, error: ErrorRecord) -> tuple[str, str, str, int | None]:
        return error.source, error.type, self._masked(error.message), error.status

    def _masked(self, text: str) -> str:
        """An error text without the secrets of this exchange."""
        secrets = self._head.secrets + (
            self._changes[1].secrets if self._changes is not None else ()
        )
        return redact_text(text, [t.decode("latin-1") for s in secrets for t in s.texts])


class _Whole:
    """A body that lies in the journal with its head, in one record."""

    __slots__ = ("secrets", "size")

    def __init__(self, body: bytes, secrets: tuple[Secret, ...]) -> None:
        self.size = len(body)
        self.secrets = secrets

    def outcome(self) -> Body:
        """As a Flow's."""
        return self.size, None, None, self.size


def _holds(chunk: bytes, secrets: tuple[Secret, ...]) -> bool:
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
        self._room = room
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
        if size > self._room:
            chunk = chunk[: self._room]
        if not chunk:
            return
        if self._held:
            chunk, self._held = self._held + chunk, b""
        if chunk[-1] in self._last_bytes:
            chunk = self._hold_back(chunk)
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
            self._room -= size
            self._kept += size
        else:
            self._room = 0
            self._lost = _QUEUE_FULL
            journal.body_omitted()

    def _hold_back(self, chunk: bytes) -> bytes:
        """The chunk without the beginning of a secret it may end with."""
        longest = 0
        for needle in self._needles:
            for length in range(min(len(needle) - 1, len(chunk)), longest, -1):
                if chunk.endswith(needle[:length]):
                    longest = length
                    break
        if not longest:
            return chunk
        self._held = chunk[-longest:]
        return chunk[:-longest]

    def outcome(self) -> Body:
        """What is known of the whole body, which has ended."""
        if self._held:
            self._put(self._kinds[0], len(self._held), self._held)
        digest = self._hash.hexdigest() if self._hash is not None else None
        return self.wire_bytes, digest, self._lost, self._kept


class FrameFlow(Flow):
    """What a client sends over a WebSocket, written down without the masks of its frames: what is
    secret in them could not be found otherwise. Length and hash are those of the wire."""

    def __init__(
        self,
        kinds: tuple[int, int],
        number: int,
        journal: Journal,
        clock: Callable[[], float],
        room: int,
        table: SecretTable | None,
    ) -> None:
        super().__init__(kinds, number, journal, clock, room, table)
        self.hashing = False
        self._hash = hashlib.sha256()
        self._unmasker = Unmasker()

    def add(self, chunk: bytes) -> None:
        """A piece of the frames. Hot: once per read."""
        if self._hash is not None:
            self._hash.update(chunk)
        if self._room:
            self.wire_bytes += len(chunk)
            plain = self._unmasker.feed(chunk)
            self.wire_bytes -= len(plain)  # which `add` counts
            if plain:
                super().add(plain)
        else:
            self.wire_bytes += len(chunk)

    def outcome(self) -> Body:
        """As a Flow's; a head that broke off is kept as it is."""
        if self._unmasker.rest and self._room:
            self._put(self._kinds[0], len(self._unmasker.rest), self._unmasker.rest)
        return super().outcome()


def _difference(
    received: tuple[Header, ...], sent: list[Header]
) -> tuple[tuple[Header, ...], tuple[Header, ...], bool]:
    """Headers not sent on, headers sent in addition, whether a repeated one stands more or less
    often. What passes is the same object on both sides, so that few are left to be compared."""
    if len(received) == len(sent):
        differing = [pair for pair in zip(received, sent, strict=True) if pair[0] is not pair[1]]
        if len(differing) == 1 and differing[0][0] != differing[0][1]:  # Host, and nothing else
            return (differing[0][0],), (differing[0][1],), False
        before, after = [a for a, _ in differing], [b for _, b in differing]
    else:
        before, after = [], []
        at, most = 0, len(sent)
        for header in received:
            if at < most and sent[at] is header:
                at += 1
                continue
            before.append(header)
            if at < most and sent[at][0] == header[0]:  # another value in its place
                after.append(sent[at])
                at += 1
        after += sent[at:]
    gone, new = tuple(before), tuple(after)
    if _are_all(gone, sent) and _are_all(new, received):
        return gone, new, False
    fewer, more = set(received) - set(sent), set(sent) - set(received)
    return tuple(fewer), tuple(more), len(received) - len(fewer) != len(sent) - len(more)


def _are_all(some: tuple[Header, ...], others: Sequence[Header]) -> bool:
    """Each stands there once, and none of them on the other side."""
    if len(some) > 1 and len(set(some)) < len(some):
        return False
    for header in some:  # noqa: SIM110 - any() would make a generator, 0.5 µs for one or two
        if header in others:
            return False
    return True


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
