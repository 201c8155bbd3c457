"""What the proxy knows of a provider, as pure functions: bytes in, values out, no I/O.

`Provider` itself behaves as one that is not known (`generic`); a provider of its own is one file
beside this one, named by its type, which ends with `PROVIDER = ItsClass()`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import ClassVar
from urllib.parse import unquote_to_bytes

from ...utils.spellings import Spellings
from .reading import code, entries, mapping, text
from .sse import JSONArrayParser, NDJSONParser, SSEParser
from .values import (
    ErrorInfo,
    Format,
    Header,
    StreamAssembler,
    StreamEvent,
    StreamParser,
    Usage,
)

# Where clients of any provider put their key. Whichever one it used, it is the proxy's to replace.
CREDENTIAL_HEADERS: tuple[bytes, ...] = (
    b"authorization",
    b"x-api-key",
    b"x-goog-api-key",
    b"api-key",
    b"x-client-api-key",
)
CREDENTIAL_QUERY: tuple[bytes, ...] = (b"key", b"api_key")

_CARRIES_KEY = Spellings(lambda name: name in CREDENTIAL_HEADERS)

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


_LIMIT_NAMES = {
    kind: [f"x-ratelimit-{part}-{kind}".encode() for part in ("limit", "remaining", "reset")]
    for kind in ("requests", "tokens")
}


@lru_cache(maxsize=1024)
def _credential(provider: Provider, key: str) -> Header:
    return provider.credential(key)


class Provider:
    """One kind of upstream. Stateless: one instance serves all requests of its type."""

    type: ClassVar[str] = "generic"
    title: ClassVar[str] = "Generic"
    default_base_url: ClassVar[str | None] = None
    formats: ClassVar[Mapping[str, Format]] = {}  # operation -> how its answers read
    inference: ClassVar[frozenset[str]] = frozenset()  # operations that run a model
    request_id_headers: ClassVar[tuple[bytes, ...]] = (b"x-request-id", b"request-id")

    def client_setup(self, url: str) -> str:
        """The shell line that points a client at the proxy; `url` is the proxy's, with prefix."""
        return f"export OPENAI_BASE_URL={url.rstrip('/')}/v1"

    # --- the request -------------------------------------------------------------------------

    def credential(self, key: str) -> Header:
        """The header that carries the key, in the provider's spelling."""
        return b"Authorization", b"Bearer " + key.encode()

    def sign(self, headers: Iterable[Header], query: bytes, key: str) -> tuple[list[Header], bytes]:
        """Put `key` where the provider wants it, in place of the client's credential.

        The client's is taken out wherever it stands (`CREDENTIAL_HEADERS`, `CREDENTIAL_QUERY`);
        everything else stays as it is and in its order. `query` is without the question mark.
        """
        ours = _credential(self, key)
        name = ours[0].lower()
        signed = []
        put = False
        for header in headers:
            if not _CARRIES_KEY[header[0]]:
                signed.append(header)
            elif not put:
                put = True
                signed.append((header[0], ours[1]) if header[0].lower() == name else ours)
        if not put:
            signed.append(ours)
        return signed, _without_key(query) if b"key=" in query or b"%" in query else query

    def operation(self, method: str, path: str) -> str:
        """A short stable name for what is asked, "other" if it is not known.

        `path` is as the provider serves it, with or without its version, without the query.
        """
        del method, path
        return "other"

    def is_inference(self, operation: str) -> bool:
        """True where a model runs: those requests have tokens, and count against limits."""
        return operation in self.inference

    def request_model(self, path: str, body: object | None) -> str | None:
        """The model asked for; `body` is the parsed JSON or None."""
        del path
        return text(mapping(body).get("model"))

    def streams(self, path: str, query: str, body: object | None) -> bool:
        """True if the request asks for a stream."""
        del path, query
        return mapping(body).get("stream") is True

    # --- the answer --------------------------------------------------------------------------

    def response_model(self, operation: str, body: object) -> str | None:
        """The model that answered, from an unstreamed answer's JSON."""
        answer = self.formats.get(operation)
        return answer.model(body) if answer and isinstance(body, dict) else None

    def usage(self, operation: str, body: object) -> Usage | None:
        """The usage in an unstreamed answer's JSON; None if it tells none."""
        answer = self.formats.get(operation)
        return answer.usage(body) if answer and isinstance(body, dict) else None

    def finish_reasons(self, operation: str, message: object) -> list[str]:
        """Why generation stopped, one for each choice; `message` is an unstreamed answer's JSON."""
        answer = self.formats.get(operation)
        return answer.finish_reasons(message) if answer and isinstance(message, dict) else []

    def parser(self, operation: str, content_type: str) -> StreamParser | None:
        """A parser for a body of this content type; None if it is not a stream."""
        media = content_type.partition(";")[0].strip().lower()
        if media == "text/event-stream":
            return SSEParser()
        if media == "application/x-ndjson":
            return NDJSONParser()
        answer = self.formats.get(operation)
        if media == "application/json" and answer and "json_array" in answer.assemblers:
            return JSONArrayParser()
        return None

    def assembler(self, operation: str, content_type: str) -> StreamAssembler | None:
        """What puts this stream together; None: not a stream this provider knows."""
        answer = self.formats.get(operation)
        parser = self.parser(operation, content_type)
        if answer is None or parser is None:
            return None
        make = answer.assemblers.get(parser.protocol)
        return make() if make else None

    def request_id(self, headers: Iterable[Header]) -> str | None:
        """The provider's own id for the request, from the response headers."""
        return self.request_id_in({name.lower(): value for name, value in headers})

    def request_id_in(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The same, of headers by their names in lower case."""
        for name in self.request_id_headers:
            if value := headers.get(name):
                return value.decode("latin-1")
        return None

    def rate_limit_headers(
        self, kind: str, limit: int, remaining: int, reset_s: float, now_s: float
    ) -> list[Header]:
        """A limit as this provider's clients know it from the answers' headers: OpenAI's names.

        `kind` is requests or tokens, `reset_s` until it is whole again, `now_s` seconds of the
        epoch.
        """
        del now_s
        names = _LIMIT_NAMES[kind]
        return [
            (names[0], b"%d" % limit),
            (names[1], b"%d" % remaining),
            (names[2], duration(reset_s)),
        ]

    # --- errors ------------------------------------------------------------------------------

    def error(self, status: int, body: object | None) -> ErrorInfo | None:
        """The error in the JSON of an answer with `status`; None if there is none to be seen."""
        if status < 400:
            return None
        return read_error(body)

    def error_body(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The proxy's own error as this provider's clients expect one: JSON."""
        kind = error_type(status)
        error = {"message": message, "type": kind, "param": None, "code": code}
        return dumps({"error": error, "request_id": request_id})


@lru_cache(256)
def duration(seconds: float) -> bytes:
    """As OpenAI writes one, in Go's way: `6m0s`, `1.5s`, `120ms`."""
    if seconds < 1:
        return b"%dms" % max(round(seconds * 1000), 0)
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{rest:.1f}".removesuffix(".0") + "s"
    if hours:
        return f"{hours}h{minutes}m{shown}".encode()
    return (f"{minutes}m{shown}" if minutes else shown).encode()


def dumps(value: object) -> bytes:
    """Compact JSON, UTF-8."""
    return json.dumps(value, separators=(",", ":")).encode()


def error_type(status: int) -> str:
    """The usual name of an error of this HTTP status."""
    return _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def read_error(body: object | None) -> ErrorInfo | None:
    """The error in any of the shapes seen in the field; None if the body holds none.

    `{"error": {…}}`, `{"error": "…"}`, either of them in an array (Gemini), the bare
    `{"message": …, "type": …, "code": …}` (vLLM, gateways), `{"detail": …}` (FastAPI).
    """
    if isinstance(body, list):
        body = next(iter(entries(body)), None)
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, str) and error:
        return ErrorInfo(text(body.get("type")), text(body.get("message")) or error)
    fields = error if isinstance(error, dict) and error else body
    message = text(fields.get("message")) or text(fields.get("detail"))
    if message is None and fields is body:
        return None
    kind = text(fields.get("type")) or text(fields.get("status"))
    return ErrorInfo(kind, message, code(fields.get("code")))


def _without_key(query: bytes) -> bytes:
    return b"&".join(
        part
        for part in query.split(b"&")
        if unquote_to_bytes(part.partition(b"=")[0]) not in CREDENTIAL_QUERY
    )


__all__ = [
    "CREDENTIAL_HEADERS",
    "CREDENTIAL_QUERY",
    "ErrorInfo",
    "Format",
    "Header",
    "JSONArrayParser",
    "NDJSONParser",
    "Provider",
    "SSEParser",
    "StreamAssembler",
    "StreamEvent",
    "StreamParser",
    "Usage",
    "dumps",
    "duration",
    "error_type",
    "read_error",
]
