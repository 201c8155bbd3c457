"""One request and all that is learned of it: what middlewares are given, and the gateway keeps.

The words it is told in stand beside it, and can be imported from here: `response`, `upstream`,
`endings`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable
from time import monotonic, time_ns

from ..utils.spellings import Spellings
from .bodies import RequestBody, ResponseBody
from .endings import Attempt, Cause, ErrorRecord, Phase
from .errors import PayloadTooLarge
from .providers.base import Header, Provider
from .response import Response
from .upstream import Forwarded, Upstream

log = logging.getLogger("llmtap.proxy")

ChunkObserver = Callable[[bytes], None]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_NOT_IN_VALUE = re.compile(rb"[\r\n\0]")
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


def _editable(name: bytes) -> bool:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    if name in _FRAMING:
        raise ValueError(f"{name!r} frames the body, which is the proxy's: use replace_body")
    return True


_EDITABLE = Spellings(_editable)  # raises for what is not


class Exchange:
    """One request and all that is learned of it.

    Made by the server when a request's head is complete, handed through the middlewares, finished
    exactly once. Times `t_*` and `started` are `time.monotonic()` seconds, None if it did not
    happen.
    """

    # Past thirty attributes an instance without slots loses its shared keys: 3 µs a request.

    __slots__ = (
        "_ext",
        "_finish_observers",
        "_tags",
        "attempts",
        "body",
        "cause",
        "chain",
        "chunk_observers",
        "client",
        "detail",
        "error",
        "finished",
        "forward_path",
        "forwarded",
        "header_edits",
        "headers",
        "http_version",
        "id",
        "key_label",
        "key_tier",
        "max_gap",
        "method",
        "new_body",
        "new_query",
        "path",
        "phase",
        "provider",
        "query",
        "received_ns",
        "refusal",
        "rejected_by",
        "response",
        "reused",
        "started",
        "status",
        "t_connect_start",
        "t_connected",
        "t_finished",
        "t_first_byte",
        "t_headers",
        "t_last_byte",
        "t_request_body",
        "t_sent",
        "target",
        "upstream",
        "upstream_body",
        "upstream_http_version",
        "upstream_status",
    )

    # what came in
    id: str
    method: bytes
    target: bytes  # as received: path and query
    path: bytes
    query: bytes  # without the question mark
    http_version: bytes
    headers: tuple[Header, ...]
    client: str
    body: RequestBody
    started: float
    received_ns: int

    # where it goes; set by the gateway before the chain runs
    upstream: Upstream | None
    provider: Provider
    forward_path: bytes  # the path below the upstream's prefix
    chain: tuple[str, ...]
    refusal: tuple[int, str, str] | None  # status, code, message: the gateway's own no

    # what a middleware may change
    key_label: str | None  # the client key's label, set by auth
    key_tier: str | None  # and its tier, for whoever limits by it
    new_query: bytes | None
    header_edits: list[tuple[bytes, bytes | None]] | None
    new_body: bytes | None

    # how it went
    forwarded: Forwarded | None
    upstream_body: ResponseBody | None  # of the upstream's answer, whatever became of it
    attempts: list[Attempt]
    response: Response | None
    status: int | None  # what the client got; None: no answer reached it
    upstream_status: int | None
    upstream_http_version: bytes | None
    reused: bool | None
    t_request_body: float | None
    t_connect_start: float | None
    t_connected: float | None
    t_sent: float | None
    t_headers: float | None
    t_first_byte: float | None
    t_last_byte: float | None
    t_finished: float | None
    max_gap: float  # seconds between two chunks of the answer

    cause: Cause | None
    phase: Phase
    detail: str | None
    error: ErrorRecord | None
    rejected_by: str | None
    finished: bool

    _tags: list[str] | None
    _ext: dict[str, object] | None
    chunk_observers: list[ChunkObserver] | None
    _finish_observers: list[Callable[[Exchange], None]] | None

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's name in the trace
        method: bytes,
        target: bytes,
        http_version: bytes,
        headers: tuple[Header, ...],
        client: str,
        body: RequestBody,
    ) -> None:
        self.id = id
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition(b"?")
        self.http_version = http_version
        self.headers = headers
        self.client = client
        self.body = body
        self.started = monotonic()
        self.received_ns = time_ns()
        self.attempts = []
        self.upstream = None
        self.forward_path = b""
        self.chain = ()
        self.refusal = None
        self.key_label = None
        self.key_tier = None
        self.new_query = None
        self.header_edits = None
        self.new_body = None
        self.forwarded = None
        self.upstream_body = None
        self.response = None
        self.status = None
        self.upstream_status = None
        self.upstream_http_version = None
        self.reused = None
        self.t_request_body = None
        self.t_connect_start = None
        self.t_connected = None
        self.t_sent = None
        self.t_headers = None
        self.t_first_byte = None
        self.t_last_byte = None
        self.t_finished = None
        self.max_gap = 0.0
        self.cause = None
        self.phase = Phase.REQUEST
        self.detail = None
        self.error = None
        self.rejected_by = None
        self.finished = False
        self._tags = None
        self._ext = None
        self.chunk_observers = None
        self._finish_observers = None

    # --- for middlewares -------------------------------------------------------------------

    @property
    def tags(self) -> list[str]:
        """The user's labels, written to the trace."""
        if self._tags is None:
            self._tags = []
        return self._tags

    @property
    def ext(self) -> dict[str, object]:
        """What middlewares add to the trace: JSON values, one key per middleware's name."""
        if self._ext is None:
            self._ext = {}
        return self._ext

    def header(self, name: bytes) -> bytes | None:
        """The first request header of this name (lower case), or None."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None

    def set_header(self, name: bytes, value: bytes) -> None:
        """Send this header upstream in place of the client's own of that name.

        Raises ValueError for what would break the request's head or its framing.
        """
        if _NOT_IN_VALUE.search(value):
            raise ValueError(f"a line break or NUL in the value of {name!r} would end the header")
        self._edit(name, value)

    def remove_header(self, name: bytes) -> None:
        """Do not send the client's headers of this name upstream."""
        self._edit(name, None)

    def _edit(self, name: bytes, value: bytes | None) -> None:
        _ = _EDITABLE[name]
        if self.header_edits is None:
            self.header_edits = []
        self.header_edits.append((name, value))

    def replace_query(self, query: bytes) -> None:
        """Send this query (without the question mark) upstream instead of the client's."""
        self.new_query = query

    def limit_body(self, size_bytes: int) -> bool:
        """Take no more than this of the request's body; what is over it ends in a 413.

        False: it is over the limit already, by what has arrived or is announced.
        """
        body = self.body
        body.limit = min(body.limit, size_bytes)
        return max(body.size, body.announced) <= body.limit

    async def read_body(self) -> bytes:
        """The whole request body, bytes as received. Still forwarded as it came.

        Raises PayloadTooLarge over the configured limit, ClientDisconnected if it never ends.
        """
        return await self.body.read()

    async def read_json(self) -> object | None:
        """The request body as JSON, or None where it is none (compressed ones included)."""
        try:
            value: object = json.loads(await self.read_body())
        except (ValueError, RecursionError):
            return None
        return value

    def replace_body(self, body: bytes) -> None:
        """Send this body upstream instead of the client's; the trace says so."""
        self.new_body = body

    def refuse(
        self, status: int, code: str, message: str, headers: tuple[Header, ...] = ()
    ) -> Response:
        """An early answer in the provider's error shape: return it instead of calling on."""
        body = self.provider.error_body(status, code, message, self.id)
        self.error = ErrorRecord("proxy", code, message, status)
        pairs: list[Header] = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-llmtap-error", code.encode("ascii", "replace")),
            *headers,
        ]
        return Response(status, pairs, body, refused=True)

    def on_request_chunk(self, observer: ChunkObserver) -> None:
        """Call `observer` with each piece of the request body, those already here at once."""
        self.body.observe(observer)

    def on_chunk(self, observer: ChunkObserver) -> None:
        """Call `observer` with each piece of the response body as it goes to the client."""
        if self.chunk_observers is None:
            self.chunk_observers = []
        self.chunk_observers.append(observer)

    def on_finish(self, observer: Callable[[Exchange], None]) -> None:
        """Call `observer` once at the very end, synchronously, whatever happened.

        Innermost middleware first: what it then adds (tags, ext) is in the trace.
        """
        if self._finish_observers is None:
            self._finish_observers = []
        self._finish_observers.append(observer)

    # --- for the gateway -------------------------------------------------------------------

    def observe_chunk(self, chunk: bytes) -> None:
        """Show a response chunk to the observers; one that raises is dropped. Hot: per chunk."""
        observers = self.chunk_observers
        if observers is None:
            return
        for observer in observers:
            try:
                observer(chunk)
            except Exception:
                log.exception("chunk observer failed and is dropped for request %s", self.id)
                self.chunk_observers = [o for o in self.chunk_observers or () if o is not observer]

    def let_go(self) -> None:
        """Close the upstream's connection where its answer was not read to the end: a layer raised
        after it came or answered in its place, the client left, the proxy stops."""
        if self.upstream_body is not None:
            self.upstream_body.abort()

    def end(self, cause: Cause, detail: str | None = None) -> None:
        """Note how it ended. The first cause stands: what follows is its consequence."""
        if self.cause is None:
            self.cause = cause
            self.detail = detail

    def finish(self) -> None:
        """Close the record and tell the observers, once. Never raises, never waits."""
        if self.finished:
            return
        self.finished = True
        self.t_finished = monotonic()
        if self.cause is None:
            self.cause = Cause.OK
        for observer in reversed(self._finish_observers or ()):
            try:
                observer(self)
            except Exception:
                log.exception("finish observer failed for request %s", self.id)


CallNext = Callable[[Exchange], Awaitable[Response]]

__all__ = [
    "Attempt",
    "CallNext",
    "Cause",
    "ErrorRecord",
    "Exchange",
    "Forwarded",
    "Header",
    "PayloadTooLarge",
    "Phase",
    "Response",
    "Upstream",
]
