"""How an exchange went and ended, in the words of the trace."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """How an exchange ended, as written to `termination.cause`."""

    OK = "ok"
    UPSTREAM_ERROR = "upstream_error"  # a 4xx or 5xx the upstream sent
    CLIENT_DISCONNECTED = "client_disconnected"
    CONNECT_FAILED = "connect_failed"
    TLS_FAILED = "tls_failed"
    UPSTREAM_RESET = "upstream_reset"
    UPSTREAM_EOF = "upstream_eof"  # closed short of its length or without an answer
    TIMEOUT = "timeout"
    REJECTED = "rejected"  # by a middleware or by the proxy's own limits
    SHUTDOWN = "shutdown"


class Phase(StrEnum):
    """How far an exchange had come when it ended."""

    REQUEST = "request"  # reading the request, passing the middlewares
    CONNECT = "connect"
    HEADERS = "headers"  # sent, waiting for the upstream's head
    BODY = "body"
    DONE = "done"


@dataclass(slots=True, frozen=True)
class ErrorRecord:
    """An error as the trace names it. `source` is client, proxy, upstream or in_stream."""

    source: str
    type: str
    message: str
    status: int | None = None


@dataclass(slots=True)
class Attempt:
    """One try at the upstream. `started` is monotonic seconds, `wait_ms` the pause before it."""

    started: float
    key_label: str | None = None
    status: int | None = None
    error: str | None = None
    wait_ms: float = 0.0
