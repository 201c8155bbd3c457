"""What can go wrong on the way, each with its HTTP status, its code and how the trace names it.

The transports map every foreign exception to one of these at their border.
"""

from __future__ import annotations

from typing import ClassVar


class ProxyError(Exception):
    """Before the first byte: answered as JSON in the provider's shape. `str()` is the message."""

    status: ClassVar[int] = 502
    code: ClassVar[str] = "proxy_error"
    cause: ClassVar[str] = "connect_failed"
    retry_after_s: ClassVar[int | None] = None


class ConnectFailed(ProxyError):
    """Name not resolved, refused, unreachable: nothing was sent."""

    code = "upstream_connect_failed"


class ConnectTimeout(ConnectFailed):
    """No connection within `timeouts.connect_s`: nothing was sent."""

    status = 504
    code = "upstream_connect_timeout"
    cause = "timeout"


class TLSFailed(ProxyError):
    """The certificate or the handshake failed: nothing was sent."""

    code = "upstream_tls_failed"
    cause = "tls_failed"


class PoolTimeout(ProxyError):
    """No connection to the upstream came free within `timeouts.pool_s`."""

    status = 503
    code = "upstream_pool_exhausted"
    cause = "rejected"
    retry_after_s = 1


class HeadersTimeout(ProxyError):
    """No response head within `timeouts.headers_s`."""

    status = 504
    code = "upstream_headers_timeout"
    cause = "timeout"


class UpstreamClosed(ProxyError):
    """The connection was closed before an answer.

    `stale`: it had served before, and not a byte of this answer came (RFC 9112 9.3.1).
    """

    code = "upstream_closed"
    cause = "upstream_eof"

    def __init__(self, message: str, *, stale: bool = False) -> None:
        super().__init__(message)
        self.stale = stale


class UpstreamReset(UpstreamClosed):
    """As UpstreamClosed, by a TCP reset."""

    code = "upstream_reset"
    cause = "upstream_reset"


class BadResponse(ProxyError):
    """The upstream's answer is no valid HTTP/1.1, or over the limits for its head."""

    code = "upstream_bad_response"
    cause = "upstream_reset"


class PayloadTooLarge(ProxyError):
    """The request body is over `limits.body_bytes`."""

    status = 413
    code = "request_too_large"
    cause = "rejected"


class MalformedRequest(ProxyError):
    """The request's body is not framed as HTTP/1.1 wants it."""

    status = 400
    code = "malformed_request"
    cause = "rejected"


class ClientDisconnected(ProxyError):
    """The client left while its request was being read."""

    status = 499  # nginx's number; nobody is there to read it
    code = "client_disconnected"
    cause = "client_disconnected"


class RequestStalled(ProxyError):
    """The client stopped sending its body for `timeouts.request_body_s`."""

    status = 408
    code = "request_timeout"
    cause = "timeout"


def forget_way(error: Exception) -> None:
    """Let go of the frames an expected error came through, once it is dealt with: they hold the
    exchange and the error itself, which would stay until one of the rare collections."""
    error.__traceback__ = error.__cause__ = error.__context__ = None


class BodyError(Exception):
    """After the first byte: the stream is cut. `cause` is a termination cause."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause
