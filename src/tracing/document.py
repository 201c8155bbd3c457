"""The trace document: what was recorded, read with the provider's knowledge, in the schema's order.

Recorded ──▶ bodies, stream ──▶ what it was (model, usage, message) ──▶ how it ended ──▶ JSON
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from ..proxy.providers.base import Provider
from ..proxy.providers.registry import get_provider
from ..proxy.providers.values import ErrorInfo, Usage
from . import genai, masking, render
from .bodies import EMPTY_SHA256, BodyPart, Limits, Wire, body_part, omitted
from .changes import header_changes
from .files import trace_name
from .recorded import Recorded
from .records import Body, UpstreamInfo
from .session import Lineage, named_session
from .streams import Stream, read_stream
from .timing import Clock, timing

SCHEMA = "llmtap/1"
NO_SECRETS = "compressed, and after a crash it cannot be searched for secrets"

# How deep a body's value stands: document, request or response, body.
_VALUE_DEPTH = 3
_CUT_CAUSES = frozenset(
    ("client_disconnected", "upstream_reset", "upstream_eof", "timeout", "shutdown", "crash")
)
_NO_USAGE: dict[str, object] = {
    "input_tokens": None,
    "output_tokens": None,
    "cache_read_tokens": None,
    "cache_write_tokens": None,
    "reasoning_tokens": None,
    "source": "none",
    "raw": None,
}


@dataclass(slots=True)
class Document:
    """A trace ready to be written, into the folder `day` under `name`; `files`: names and bytes of
    bodies that lie beside it."""

    day: str
    name: str
    data: bytes
    received_ns: int
    summary: dict[str, object]
    files: list[tuple[str, bytes]] = field(default_factory=list)


class Documents:
    """Makes documents of exchanges. Keeps what saves time from one to the next, and the lineage."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.lines = render.HeaderLines()
        self.clock = Clock()
        self.lineage = Lineage()

    def build(self, recorded: Recorded, without_bodies: str | None = None) -> Document:
        """The document of one exchange; `without_bodies` is a reason to leave the bodies out."""
        return _Building(self, recorded, without_bodies).document()


@lru_cache(maxsize=2048)
def _operation(provider_type: str, method: bytes, path: bytes) -> tuple[Provider, str, str, bool]:
    """The provider, the path as text, the operation, whether it is inference: one look-up."""
    provider = get_provider(provider_type)
    text = path.decode("latin-1")
    operation = provider.operation(method.decode("latin-1"), text)
    return provider, text, operation, provider.is_inference(operation)


class _Building:
    """One document in the making; the methods stand in the order they run. Hot: 20 µs for a small
    exchange."""

    __slots__ = (
        "_answer",
        "_cause",
        "_detail",
        "_error",
        "_files",
        "_inference",
        "_limits",
        "_maker",
        "_message",
        "_operation",
        "_path",
        "_phase",
        "_provider",
        "_question",
        "_recorded",
        "_redactions",
        "_request_headers",
        "_response_headers",
        "_status",
        "_stream",
        "_upstream",
        "_usage",
        "_without_bodies",
    )

    def __init__(self, maker: Documents, recorded: Recorded, without_bodies: str | None) -> None:
        opened = recorded.opened
        self._maker = maker
        self._limits = maker.limits
        self._recorded = recorded
        self._without_bodies = without_bodies
        self._upstream = UpstreamInfo(*opened.upstream)
        path = opened.forward_path or opened.target.partition(b"?")[0]
        self._provider, self._path, self._operation, self._inference = _operation(
            self._upstream.provider_type, opened.method, path
        )
        self._redactions: list[str] = []
        self._files: list[tuple[str, bytes]] = []
        self._request_headers = {name.lower(): value for name, value in opened.headers}
        self._response_headers: dict[bytes, bytes] = {}
        self._question: BodyPart
        self._answer: BodyPart | None = None
        self._stream: Stream | None = None
        self._message: object | None = None
        self._usage: Usage | None = None
        self._status: int | None = None
        self._cause = "crash"
        self._phase = "request"
        self._detail: str | None = None
        self._error: dict[str, object] | None = None

    def document(self) -> Document:
        """Read, judge, write."""
        self._read_request()
        self._read_response()
        self._read_message()
        self._judge()
        opened = self._recorded.opened
        asked = self._provider.request_model(self._path, self._question.parsed)
        answered = self._answered_model()
        day, time = self._maker.clock.day_and_time(opened.received_ns)
        kind = self._upstream.provider_type
        name = trace_name(time, opened.id, kind, asked or answered, self._outcome())
        self._name_files(name)
        summary = self._summary(asked or answered)
        data = self._written(self._fields(summary, asked, answered))
        return Document(day, name + ".json", data, opened.received_ns, summary, self._files)

    def _name_files(self, name: str) -> None:
        for suffix, part in (("request", self._question), ("response", self._answer)):
            if part is not None and part.file is not None:
                file = f"{name}.{suffix}.bin"
                part.fields["value"] = file
                self._files.append((file, part.file))

    # --- what was asked and answered -------------------------------------------------------

    def _read_request(self) -> None:
        data, known = self._recorded.request_body()
        wire = self._wire(data, known, self._request_headers)
        masker = self._recorded.masker
        self._question = body_part(wire, self._limits, _VALUE_DEPTH, mask=True, masker=masker)
        self._finish_part(self._question, "request")

    def _read_response(self) -> None:
        answered = self._recorded.answered
        if answered is None:
            return
        self._response_headers = headers = {n.lower(): v for n, v in answered.headers}
        data, known = self._recorded.response_body()
        wire = self._wire(data, known, headers)
        if data:
            started = self._recorded.opened.started
            chunks = [((t - started) * 1000, chunk) for t, chunk in self._recorded.response]
            self._stream = read_stream(
                self._provider,
                self._operation,
                wire.content_type or "",
                wire.content_encoding,
                chunks,
                self._limits,
                self._recorded.masker,
            )
        if self._stream is not None:
            self._answer = self._streamed_part(wire, self._stream)
        else:
            masker = self._recorded.masker
            self._answer = body_part(wire, self._limits, _VALUE_DEPTH, masker=masker)
        self._finish_part(self._answer, "response")

    def _wire(self, data: bytes, known: Body, headers: dict[bytes, bytes]) -> Wire:
        wire_bytes, sha256, lost, _ = known
        if len(data) != wire_bytes:
            lost = lost or "over the limit of body_bytes"
        elif sha256 is None:
            sha256 = hashlib.sha256(data).hexdigest() if data else EMPTY_SHA256
        if self._recorded.altered:
            sha256 = None
        content_type = headers.get(b"content-type")
        encoding = headers.get(b"content-encoding")
        return Wire(
            data,
            wire_bytes,
            sha256,
            None if content_type is None else content_type.decode("latin-1"),
            None if encoding is None else encoding.decode("latin-1"),
            lost,
        )

    def _streamed_part(self, wire: Wire, stream: Stream) -> BodyPart:
        """The body of a stream: its value stands in `stream.events`."""
        empty = Wire(b"", 0, wire.sha256, wire.content_type, wire.content_encoding)
        part = body_part(empty, self._limits, _VALUE_DEPTH)
        part.fields["wire_bytes"] = wire.wire_bytes
        part.fields["decoded_bytes"] = stream.decoded_bytes
        omitted(part.fields, None)
        reason = wire.lost or stream.cut
        if reason is not None:
            part.fields["decoded_bytes"] = None
            part.fields["truncated"] = {"kept_bytes": len(wire.data), "reason": reason}
        return part

    def _finish_part(self, part: BodyPart, name: str) -> None:
        if part.masked:
            self._redactions += [f"/{name}/body/value{pointer}" for pointer in part.masked]
        searchable = self._recorded.secrets is not None
        if part.fields["content_encoding"] is not None and not searchable:
            part.file = None
            self._stream = None if name == "response" else self._stream
            omitted(part.fields, NO_SECRETS)
        if self._without_bodies is not None and part.fields["wire_bytes"]:
            part.file = None
            self._stream = None if name == "response" else self._stream
            omitted(part.fields, self._without_bodies)
        secrets = self._recorded.secrets
        if secrets and part.fields["kind"] == "base64":
            value = base64.b64decode(str(part.fields["value"]))
            masked = masking.mask_bytes(value, secrets)
            if masked != value:
                part.fields["value"] = base64.b64encode(masked).decode()
                self._redactions.append(f"/{name}/body/value")

    def _read_message(self) -> None:
        """The answer as one object, and its usage."""
        stream, answer = self._stream, self._answer
        if stream is not None:
            if stream.assembler is not None:
                self._message = stream.assembler.message()
                self._usage = stream.assembler.usage
            masker = self._recorded.masker
            if masker is not None and masker.mask_paths(self._message):
                self._redactions.append("/response/message")
            self._redactions += [f"/stream/events/{number}/raw" for number in stream.masked]
        elif answer is not None and answer.parsed is not None:
            self._usage = self._provider.usage(self._operation, answer.parsed)

    # --- how it ended ----------------------------------------------------------------------

    def _judge(self) -> None:
        recorded, finished = self._recorded, self._recorded.finished
        answered = recorded.answered
        if finished is None:
            self._status = answered.status if answered is not None else None
            if answered is not None:
                self._phase = "body"
            self._detail = "the proxy was killed while this request was in flight"
            return
        self._status = finished.status
        self._cause, self._phase = finished.cause, finished.phase
        self._detail = finished.detail
        if finished.error is not None:
            source, kind, message, status = finished.error
            self._error = _error(source, kind, message, status)
        status = self._status
        if self._cause == "ok" and status is not None and status >= 400 and finished.forwarded:
            self._cause = "upstream_error"
        if self._cause == "upstream_error" and self._error is None and status is not None:
            parsed = self._answer.parsed if self._answer is not None else None
            info = self._provider.error(status, parsed) or ErrorInfo(None, None)
            self._error = _error("upstream", info.type or info.code, info.message, status)
        if self._stream is not None and self._stream.assembler is not None:
            self._judge_stream(self._stream, self._stream.assembler.error)

    def _judge_stream(self, stream: Stream, error: ErrorInfo | None) -> None:
        """A stream may fail after a 200, or be complete though its client left."""
        if error is not None and self._cause in ("ok", "client_disconnected", "upstream_eof"):
            self._cause = "in_stream_error"
            self._error = _error("in_stream", error.type or error.code, error.message, self._status)
        elif self._cause == "client_disconnected" and stream.terminal:
            self._cause, self._phase, self._detail = "ok", "done", None
        elif self._cause == "ok" and stream.terminal is False and not self._known_in_part(stream):
            self._cause, self._phase = "upstream_eof", "body"
            self._detail = "the stream ended without the provider's terminal event"

    def _known_in_part(self, stream: Stream) -> bool:
        """The end of the stream was not kept, or not parsed: nothing can be said of it."""
        cut = self._answer is not None and self._answer.fields["truncated"] is not None
        return cut or stream.overflowed

    def _outcome(self) -> str:
        """The last part of the file's name."""
        if self._status is None:
            return "ERR"
        ended_early = self._phase == "body" and self._cause in _CUT_CAUSES
        return "CUT" if ended_early or self._cause == "in_stream_error" else str(self._status)

    # --- the document ----------------------------------------------------------------------

    def _summary(self, model: str | None) -> dict[str, object]:
        """What a list row needs."""
        finished, usage, stream = self._recorded.finished, self._usage, self._stream
        started = self._recorded.opened.started
        first = stream.first_token_ms if stream is not None else None
        return {
            "provider": self._upstream.provider_type,
            "model": model,
            "operation": self._operation,
            "status": self._status,
            "duration_ms": round((finished.t_finished - started) * 1000, 3) if finished else None,
            "ttft_ms": round(first, 3) if first is not None else None,
            "input_tokens": usage.input_tokens if usage is not None else None,
            "output_tokens": usage.output_tokens if usage is not None else None,
            "cost_usd": usage.cost_usd if usage is not None else None,
            "cause": self._cause,
        }

    def _fields(
        self, summary: dict[str, object], asked_model: str | None, answered_model: str | None
    ) -> dict[str, object]:
        """The document in the schema's order. Redactions are complete when it is."""
        opened, finished = self._recorded.opened, self._recorded.finished
        usage, stream = self._usage, self._stream
        asked = self._question.parsed
        return {
            "schema": SCHEMA,
            "id": opened.id,
            "state": "complete" if finished is not None else "recovered",
            "summary": summary,
            "session": self._session(asked_model, asked),
            "client": {
                "address": opened.client or None,
                "user_agent": _text(self._request_headers.get(b"user-agent")),
                "key_label": finished.key_label if finished is not None else None,
                "key_fingerprint": opened.fingerprint,
            },
            "upstream": self._upstream_fields(),
            "timing": timing(
                self._recorded,
                self._maker.clock.rfc3339(opened.received_ns),
                stream.first_token_ms if stream is not None else None,
                usage.output_tokens if usage is not None else None,
            ),
            "termination": {"cause": self._cause, "phase": self._phase, "detail": self._detail},
            "error": self._error,
            "usage": _usage(usage),
            "cost": _cost(usage),
            "request": self._request(),
            "forwarded": self._forwarded(),
            "response": self._response(),
            "stream": _stream(stream),
            "redactions": self._redactions,
            "gen_ai": self._gen_ai(asked, asked_model, answered_model),
            "tags": finished.tags if finished is not None else [],
            "ext": render.loads(finished.ext) if finished is not None and finished.ext else {},
        }

    def _answered_model(self) -> str | None:
        if self._stream is not None and self._stream.assembler is not None:
            return self._stream.assembler.model
        if self._answer is None or self._answer.parsed is None:
            return None
        return self._provider.response_model(self._operation, self._answer.parsed)

    def _session(self, model: str | None, asked: object | None) -> dict[str, object]:
        opened = self._recorded.opened
        session, source = named_session(self._request_headers, asked)
        parent = None
        if self._inference and asked is not None:
            client = opened.fingerprint or opened.client.rpartition(":")[0]
            session, parent = self._maker.lineage.place(client, model, asked, opened.id, session)
            source = source or ("lineage" if session is not None else None)
        return {"id": session, "source": source, "parent_id": parent}

    def _upstream_fields(self) -> dict[str, object]:
        finished, upstream = self._recorded.finished, self._upstream
        version = finished.upstream_http_version if finished is not None else None
        started = self._recorded.opened.started
        answered = self._recorded.answered
        forwarded = finished is None or finished.forwarded is not None
        return {
            "name": upstream.name or None,
            "base_url": upstream.base_url or None,
            "key_label": finished.upstream_key_label if finished is not None else None,
            "http_version": _text(version),
            "request_id": (
                self._provider.request_id(answered.headers) if answered and forwarded else None
            ),
            "attempts": [
                {
                    "key_label": label,
                    "started_ms": round((at - started) * 1000, 3),
                    "status": status,
                    "error": error,
                    "wait_ms": wait_ms,
                }
                for label, at, status, error, wait_ms in (finished.attempts if finished else ())
            ],
        }

    def _request(self) -> dict[str, object]:
        opened = self._recorded.opened
        path, mark, query = opened.target.partition(b"?")
        if b"=[REDACTED]" in query:
            self._redactions.append("/request/query")
        return {
            "method": opened.method.decode("latin-1"),
            "path": path.decode("latin-1"),
            "query": query.decode("latin-1") if mark else None,
            "http_version": _text(opened.http_version),
            "headers": self._maker.lines.render(
                opened.headers, "/request/headers", self._redactions
            ),
            "body": self._question.fields,
        }

    def _response(self) -> dict[str, object] | None:
        answered = self._recorded.answered
        if answered is None or self._answer is None:
            return None
        return {
            "status": answered.status,
            "http_version": _text(answered.http_version),
            "headers": self._maker.lines.render(
                answered.headers, "/response/headers", self._redactions
            ),
            "body": self._answer.fields,
            "message": self._message,
        }

    def _forwarded(self) -> dict[str, object] | None:
        finished = self._recorded.finished
        if finished is None or finished.forwarded is None:
            return None
        url, gone, new, repeated, body_changed, sha256_out, path_changed = finished.forwarded
        received = self._recorded.opened.headers
        changes, real = header_changes(received, gone, new, repeated)
        sha256_in = self._question.fields["sha256"]
        if b"=[REDACTED]" in url:
            self._redactions.append("/forwarded/url")
        return {
            "url": url.decode("utf-8", "replace"),
            "changed": body_changed or path_changed or real,
            "header_changes": changes,
            "body_changed": body_changed,
            "sha256_in": sha256_in,
            "sha256_out": sha256_out if body_changed else sha256_in,
        }

    def _gen_ai(
        self, asked: object | None, asked_model: str | None, answered_model: str | None
    ) -> dict[str, object]:
        stream, usage = self._stream, self._usage
        found = genai.attributes(
            self._upstream.provider_type,
            self._operation,
            self._inference,
            asked,
            asked_model,
            stream is not None,
        )
        answer: object | None = self._message
        if stream is None and self._answer is not None:
            answer = self._answer.parsed
        genai.add_response(
            found,
            answer,
            answered_model,
            self._provider.finish_reasons(self._operation, answer) if answer else [],
            usage,
            stream.first_token_ms if stream is not None else None,
            self._error,
        )
        return found

    def _written(self, fields: dict[str, object]) -> bytes:
        """Rendered, and free of the secrets that may have been echoed anywhere in it."""
        data = render.document(fields)
        secrets = self._recorded.secrets
        if self._recorded.masker is not None:
            # Bodies and events are masked already; what is left is headers, addresses, errors.
            data = render.masked_document(data, self._recorded.masker.clean)
        if not secrets:
            return data
        if self._files:
            self._files = [(n, masking.mask_bytes(file, secrets)) for n, file in self._files]
        for needle in masking.needles(tuple(secrets)):
            if needle in data:
                return render.masked_document(data, masking.cleaner(secrets))
        return data


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None


def _error(
    source: str, kind: str | None, message: str | None, status: int | None
) -> dict[str, object]:
    return {"source": source, "type": kind, "message": message, "status": status}


def _stream(stream: Stream | None) -> dict[str, object] | None:
    if stream is None:
        return None
    return {
        "protocol": stream.protocol,
        "events": stream.events,
        "terminal": bool(stream.terminal),
    }


def _usage(usage: Usage | None) -> dict[str, object]:
    if usage is None:
        return _NO_USAGE
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "source": "provider",
        "raw": usage.raw,
    }


def _cost(usage: Usage | None) -> dict[str, object] | None:
    if usage is None or usage.cost_usd is None:
        return None
    return {
        "usd": usage.cost_usd,
        "input_usd": None,
        "output_usd": None,
        "cache_read_usd": None,
        "cache_write_usd": None,
        "source": "provider",
        "table_version": None,
    }
