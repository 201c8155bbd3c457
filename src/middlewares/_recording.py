"""One exchange on its way into the journal: its heads, how it ended, and what of both was masked.

Most are two records: the request's head and body, then how it ended with the answer's head and
body. A body that is large, streamed or holds a secret is written piece by piece (_flows).
"""

from __future__ import annotations

import marshal
from collections.abc import Callable

import orjson

from ..proxy.bodies import RequestBody, ResponseBody
from ..proxy.exchange import (
    Cause,
    ErrorRecord,
    Exchange,
    Forwarded,
    Header,
    Phase,
    Response,
)
from ..proxy.websocket import ClientFrames
from ..tracing.journal import Journal
from ..tracing.masking import field_values
from ..tracing.records import MARSHAL_VERSION, Body, Kind
from ..tracing.secrets import MaskedHead, Secret, SecretTable
from ..utils.redaction import redact_text
from ._flows import Flow, FrameFlow, Whole, holds
from ._header_changes import difference

_EXT_BYTES = 1 << 20
_WHOLE_BYTES = 64 << 10  # a body up to this may stand in one record with its head
_REQUEST = int(Kind.REQUEST_CHUNK), int(Kind.REQUEST_MASKED)
_RESPONSE = int(Kind.RESPONSE_CHUNK), int(Kind.RESPONSE_MASKED)
_NO_BODY: Body = (0, None, None, 0)
_RESPONSE_HEAD = int(Kind.RESPONSE_HEAD)
# As plain text: marshal takes no subclass of str.
_TEXT: dict[str, str] = {str(word): str(word) for word in (*Cause, *Phase)}

# The fields of `records.Answered`.
Answer = tuple[int, bytes, tuple[Header, ...], tuple[int, ...]]
# Headers not sent on, sent in addition, whether the number of repeated ones differs.
Changes = tuple[tuple[Header, ...], MaskedHead, bool]


class Recording:
    """One exchange on its way into the journal, in the order it happens. Hot: about 18 µs for all
    of a small exchange in a tight loop, half as much again between other work."""

    request: Flow | FrameFlow | Whole
    response: Flow | Whole | None = None
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
            self.request = Whole(body, head.secrets)
        elif isinstance(exchange.body, ClientFrames):
            self.request = FrameFlow(self._flow(_REQUEST, None, head.secrets))
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
        if field_values(chunk) or holds(chunk, head.secrets):
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
            and not holds(piece, self._response_secrets)
        ):
            self.response = Whole(piece, self._response_secrets)
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
        self, kinds: tuple[int, int], length: int | None, secrets: tuple[Secret, ...]
    ) -> Flow:
        table = self._secrets if kinds is _REQUEST else None
        flow = Flow(kinds, self._number, self._journal, self._clock, self._body_bytes, table)
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
            gone, new, repeated = difference(exchange.headers, sent.headers)
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
