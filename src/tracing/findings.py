"""What an exchange was, read with the provider's knowledge, and how it really ended.

Recorded ──▶ request ──▶ response or stream ──▶ message, usage, models ──▶ cause, phase, error
"""

from __future__ import annotations

import base64
import hashlib

from ..proxy.providers.values import ErrorInfo, Usage
from . import masking
from .bodies import EMPTY_SHA256, BodyPart, Limits, show
from .recorded import Frames, Recorded
from .records import Body
from .routes import Route, find_route
from .streams import Stream, read_stream
from .websocket import accepted_deflate, read_frames

NO_SECRETS = "compressed, and after a crash it cannot be searched for secrets"

_CUT_CAUSES = frozenset(
    ("client_disconnected", "upstream_reset", "upstream_eof", "timeout", "shutdown", "crash")
)


class Findings:
    """What was found out about one exchange; `find` fills it in.

    `message` is the answer of a stream as one object, `redactions` JSON pointers into the document.
    """

    __slots__ = (
        "answer",
        "answered_model",
        "asked_model",
        "cause",
        "detail",
        "error",
        "message",
        "phase",
        "question",
        "recorded",
        "redactions",
        "request_headers",
        "response_headers",
        "route",
        "status",
        "stream",
        "usage",
    )

    def __init__(self, recorded: Recorded, route: Route) -> None:
        self.recorded = recorded
        self.route = route
        self.redactions: list[str] = []
        # Names in lower case; the last of those that come twice.
        self.request_headers: dict[bytes, bytes] = {}
        self.response_headers: dict[bytes, bytes] = {}
        self.question: BodyPart
        self.answer: BodyPart | None = None
        self.stream: Stream | None = None
        self.message: object | None = None
        self.usage: Usage | None = None
        self.asked_model: str | None = None
        self.answered_model: str | None = None
        self.status: int | None = None
        self.cause = "crash"
        self.phase = "request"
        self.detail: str | None = None
        self.error: dict[str, object] | None = None

    def outcome(self) -> str:
        """The last part of the file's name."""
        if self.status is None:
            return "ERR"
        ended_early = self.phase == "body" and self.cause in _CUT_CAUSES
        return "CUT" if ended_early or self.cause == "in_stream_error" else str(self.status)


def find(recorded: Recorded, limits: Limits, without_bodies: str | None) -> Findings:
    """Read and judge; `without_bodies` is a reason to leave the bodies out. Hot."""
    opened = recorded.opened
    route = find_route(
        opened.upstream, opened.method, opened.target, opened.forward_path, opened.http_version
    )
    found = Findings(recorded, route)
    if recorded.frames is not None:
        _read_websocket(found, recorded.frames, limits, without_bodies)
        return found
    _read_request(found, limits, without_bodies)
    if recorded.answered is not None:
        _read_response(found, limits, without_bodies)
        _read_message(found)
    _judge(found)
    return found


# --- what was asked and answered ---------------------------------------------------------------


def _read_request(found: Findings, limits: Limits, without_bodies: str | None) -> None:
    recorded = found.recorded
    headers = found.request_headers = {n.lower(): v for n, v in recorded.opened.headers}
    data, known = recorded.request_body()
    found.question = part = _part(recorded, headers, data, known)
    show(part, data, limits, mask=True, masker=recorded.masker)
    if recorded.short_secrets and part.kind == "json":
        part.mask_more(masking.mask_fields_in_any_case(part.value))
    _finish_part(found, part, "request", without_bodies)
    found.asked_model = found.route.provider.request_model(found.route.asked_path, part.parsed)


def _read_response(found: Findings, limits: Limits, without_bodies: str | None) -> None:
    recorded = found.recorded
    assert recorded.answered is not None  # noqa: S101 - the caller has looked
    headers = found.response_headers = {n.lower(): v for n, v in recorded.answered.headers}
    data, known = recorded.response_body()
    found.answer = part = _part(recorded, headers, data, known)
    if data and found.route.streamed(part.content_type):
        found.stream = _stream(found, part, limits)
    if found.stream is not None:
        _show_stream(part, len(data), found.stream)
    else:
        show(part, data, limits, masker=recorded.masker)
    _finish_part(found, part, "response", without_bodies)


def _part(recorded: Recorded, headers: dict[bytes, bytes], data: bytes, known: Body) -> BodyPart:
    wire_bytes, sha256, lost, _ = known
    if len(data) != wire_bytes:
        lost = lost or "over the limit of body_bytes"
    elif sha256 is None:
        sha256 = hashlib.sha256(data).hexdigest() if data else EMPTY_SHA256
    if recorded.altered:
        sha256 = None
    content_type = headers.get(b"content-type")
    encoding = headers.get(b"content-encoding")
    return BodyPart(
        None if content_type is None else content_type.decode("latin-1"),
        None if encoding is None else encoding.decode("latin-1"),
        wire_bytes,
        sha256,
        None if lost is None else {"kept_bytes": len(data), "reason": lost},
    )


def _stream(found: Findings, part: BodyPart, limits: Limits) -> Stream | None:
    recorded, route = found.recorded, found.route
    started = recorded.opened.started
    return read_stream(
        route.provider,
        route.operation,
        part.content_type or "",
        part.content_encoding,
        [((t - started) * 1000, chunk) for t, chunk in recorded.response],
        limits,
        recorded.masker,
    )


def _show_stream(part: BodyPart, kept_bytes: int, stream: Stream) -> None:
    """The body of a stream: its value stands in `stream.events`."""
    part.omit(None)
    part.decoded_bytes = stream.decoded_bytes
    if part.truncated is None and stream.cut is not None:
        part.truncated = {"kept_bytes": kept_bytes, "reason": stream.cut}
    if part.truncated is not None:
        part.decoded_bytes = None


def _finish_part(found: Findings, part: BodyPart, name: str, without_bodies: str | None) -> None:
    if part.masked:
        found.redactions += [f"/{name}/body/value{pointer}" for pointer in part.masked]
    secrets = found.recorded.secrets
    if part.content_encoding is not None and secrets is None:
        _leave_out(found, part, name, NO_SECRETS)
    if without_bodies is not None and part.wire_bytes:
        _leave_out(found, part, name, without_bodies)
    if part.kind == "base64" and (secrets or found.recorded.short_secrets):
        value = base64.b64decode(str(part.value))
        masked = masking.mask_bytes(value, [*(secrets or ()), *found.recorded.short_secrets])
        if masked != value:
            part.value = base64.b64encode(masked).decode()
            found.redactions.append(f"/{name}/body/value")


def _leave_out(found: Findings, part: BodyPart, name: str, reason: str) -> None:
    part.file = None
    part.omit(reason)
    if name == "response":
        found.stream = None


def _read_message(found: Findings) -> None:
    """The answer as one object, its model and its usage."""
    stream, answer = found.stream, found.answer
    if stream is not None:
        assembler, masker = stream.assembler, found.recorded.masker
        if assembler is not None:
            found.message = assembler.message()
            found.usage = assembler.usage
        if masker is not None and masker.mask_paths(found.message):
            found.redactions.append("/response/message")
        if assembler is not None:
            found.answered_model = assembler.model
        found.redactions += [f"/stream/events/{number}/raw" for number in stream.masked]
    elif answer is not None and answer.parsed is not None:
        provider, operation = found.route.provider, found.route.operation
        found.answered_model = provider.response_model(operation, answer.parsed)
        found.usage = provider.usage(operation, answer.parsed)


def _read_websocket(
    found: Findings, frames: list[Frames], limits: Limits, without_bodies: str | None
) -> None:
    """Both ways of a WebSocket: a stream; the bodies only say how much of it there was."""
    recorded = found.recorded
    assert recorded.answered is not None  # noqa: S101 - a 101 has made it one
    asked = found.request_headers = {n.lower(): v for n, v in recorded.opened.headers}
    answered = found.response_headers = {n.lower(): v for n, v in recorded.answered.headers}
    deflate = accepted_deflate(answered.get(b"sec-websocket-extensions"))
    stream, closing = read_frames(recorded, frames, deflate, limits)
    found.stream = stream
    found.question = _part(recorded, asked, *recorded.request_body())
    if recorded.finished is None:
        found.question.sha256 = None  # it is of the wire, and what is here has lost its masks
    found.answer = _part(recorded, answered, *recorded.response_body())
    for part, name in ((found.question, "request"), (found.answer, "response")):
        if part.wire_bytes:
            _show_stream(part, part.wire_bytes, stream)
            part.decoded_bytes = None
        if deflate is not None and recorded.secrets is None:
            _leave_out(found, part, name, NO_SECRETS)
        elif without_bodies is not None and part.wire_bytes:
            _leave_out(found, part, name, without_bodies)
    found.redactions += [f"/stream/events/{number}/raw" for number in stream.masked]
    found.asked_model = found.route.query_model()
    _judge(found)
    if found.cause == "ok":  # a close was seen, whichever side left first then
        found.phase, found.detail = "done", closing


# --- how it ended --------------------------------------------------------------------------------


def _judge(found: Findings) -> None:
    finished, answered = found.recorded.finished, found.recorded.answered
    if finished is None:
        if answered is not None:
            found.status = answered.status
            found.phase = "body"
        found.detail = "the proxy was killed while this request was in flight"
        return
    found.status = status = finished.status
    found.cause, found.phase = finished.cause, finished.phase
    found.detail = finished.detail
    if finished.error is not None:
        found.error = _error(*finished.error)
    if status is not None and (status >= 400 or found.cause == "upstream_error"):
        _judge_refusal(found, status, forwarded=finished.forwarded is not None)
    if found.stream is not None and found.stream.assembler is not None:
        _judge_stream(found, found.stream, found.stream.assembler.error)


def _judge_refusal(found: Findings, status: int, *, forwarded: bool) -> None:
    """An answer of 400 and above is the upstream's, where the request got there."""
    if found.cause == "ok" and forwarded:
        found.cause = "upstream_error"
    if found.cause == "upstream_error" and found.error is None:
        parsed = found.answer.parsed if found.answer is not None else None
        info = found.route.provider.error(status, parsed) or ErrorInfo(None, None)
        found.error = _error("upstream", info.type or info.code, info.message, status)


def _judge_stream(found: Findings, stream: Stream, error: ErrorInfo | None) -> None:
    """A stream may fail after a 200, or be complete though its client left."""
    if error is not None and found.cause in ("ok", "client_disconnected", "upstream_eof"):
        found.cause = "in_stream_error"
        found.error = _error("in_stream", error.type or error.code, error.message, found.status)
    elif found.cause == "client_disconnected" and stream.terminal:
        found.cause, found.phase, found.detail = "ok", "done", None
    elif found.cause == "ok" and stream.terminal is False and not _known_in_part(found, stream):
        found.cause, found.phase = "upstream_eof", "body"
        found.detail = "the stream ended without the provider's terminal event"


def _known_in_part(found: Findings, stream: Stream) -> bool:
    """The end of the stream was not kept, or not parsed: nothing can be said of it."""
    cut = found.answer is not None and found.answer.truncated is not None
    return cut or stream.overflowed


def _error(
    source: str, kind: str | None, message: str | None, status: int | None
) -> dict[str, object]:
    return {"source": source, "type": kind, "message": message, "status": status}
