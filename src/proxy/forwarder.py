"""The end of the chain: an exchange becomes a request to its upstream, and the answer comes back."""

from __future__ import annotations

from time import monotonic

from .errors import ConnectFailed, ProxyError
from .exchange import Attempt, Cause, Exchange, Forwarded, Phase, Response, Upstream
from .headers import KIND, Header, Kind, connection_tokens
from .transport.base import Outgoing, Transport
from .urls import join_path


class Forwarder:
    """Sends an exchange to its upstream. The `call_next` of the innermost middleware.

    `transports` by upstream name. `connect_retries`: further tries after a failed connect, where
    nothing was sent (reliability 64); anything later is the client's to repeat, SDKs do (71).
    """

    def __init__(self, transports: dict[str, Transport], connect_retries: int = 2) -> None:
        self._transports = transports
        self._connect_retries = connect_retries

    async def __call__(self, exchange: Exchange) -> Response:
        if exchange.refusal is not None:
            return exchange.refuse(*exchange.refusal)
        upstream = exchange.upstream
        if upstream is None:
            return exchange.refuse(
                404, "unknown_path", f"no upstream serves {exchange.path.decode('latin-1')}"
            )
        if exchange.forwarded is not None:
            raise RuntimeError("call_next was called twice: repeating is the forwarder's business")
        if wants_websocket(exchange):
            return exchange.refuse(
                426, "websocket_unsupported", "WebSockets are not served here: use HTTP streaming"
            )
        out = outgoing(exchange, upstream)
        exchange.forwarded = Forwarded(upstream, out.target, out.headers, out.body is not None)
        transport = self._transports[upstream.name]
        tries_left = self._connect_retries
        while True:
            attempt = Attempt(monotonic(), upstream.key_label)
            exchange.attempts.append(attempt)
            try:
                response = await transport.send(exchange, upstream, out)
            except ConnectFailed as error:
                attempt.error = error.code
                if tries_left <= 0:
                    raise
                tries_left -= 1
            except ProxyError as error:
                attempt.error = error.code
                raise
            else:
                attempt.status = exchange.upstream_status = response.status
                exchange.upstream_http_version = response.http_version
                exchange.phase = _BODY
                if response.status >= 400:
                    exchange.end(Cause.UPSTREAM_ERROR)
                return response


_BODY = Phase.BODY


def outgoing(exchange: Exchange, upstream: Upstream) -> Outgoing:
    """The request as the upstream gets it. Hot: once per request."""
    headers = _end_to_end(exchange, upstream)
    query = exchange.query
    if exchange.header_edits is not None:
        headers = _edited(headers, exchange.header_edits)
    if upstream.api_key is not None:
        headers, query = upstream.provider.sign(headers, query, upstream.api_key)
    if upstream.extra_headers:
        headers = _edited(headers, upstream.extra_headers)
    body = exchange.new_body
    if body is not None:
        headers = [pair for pair in headers if pair[0].lower() not in _FRAMING]
        headers.append((b"content-length", b"%d" % len(body)))
    path = join_path(upstream.base_path, exchange.forward_path)
    target = b"%b?%b" % (path, query) if query or b"?" in exchange.target else path
    return Outgoing(exchange.method, target, headers, body)


_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})


_PASS = Kind.PASS
_LENGTH = Kind.CONTENT_LENGTH


def _end_to_end(exchange: Exchange, upstream: Upstream) -> list[Header]:
    """The client's headers without those for its own connection, in order and case.

    Names that `Connection` lists are dropped, unless the upstream needs them (reliability 13).
    """
    kept: list[Header] = []
    named: set[bytes] | None = None
    for pair in exchange.headers:
        kind = KIND[pair[0]]
        if kind is _PASS or kind is _LENGTH:
            kept.append(pair)
        elif kind is Kind.HOST:
            kept.append((pair[0], upstream.host_header))
        elif kind is Kind.TRANSFER_ENCODING and exchange.body.chunked:
            kept.append(pair)
        elif kind is Kind.CONNECTION and pair[1] != b"keep-alive":
            named = (named or set()) | connection_tokens(pair[1])
    if named is not None and (named := named - _NEVER_NAMED):
        kept = [pair for pair in kept if pair[0].lower() not in named]
    return kept


_NEVER_NAMED = frozenset(
    {b"close", b"keep-alive", b"host", b"content-length", b"transfer-encoding", b"authorization"}
)


def _edited(
    headers: list[Header], edits: list[tuple[bytes, bytes | None]] | tuple[Header, ...]
) -> list[Header]:
    """Replace in place, add at the end, or remove, name by name."""
    for name, value in edits:
        lower = name.lower()
        at = next((i for i, pair in enumerate(headers) if pair[0].lower() == lower), len(headers))
        headers = [pair for pair in headers if pair[0].lower() != lower]
        if value is not None:
            headers.insert(min(at, len(headers)), (name, value))
    return headers


def wants_websocket(exchange: Exchange) -> bool:
    """Is this an upgrade to WebSocket? Codex tries one first and falls back on 426."""
    if exchange.method != b"GET":
        return False
    upgrade = exchange.header(b"upgrade")
    return upgrade is not None and upgrade.lower() == b"websocket"


__all__ = ["Forwarder", "outgoing", "wants_websocket"]
