"""The end of the chain: an exchange becomes a request to its upstream, its answer comes back."""

from __future__ import annotations

import asyncio
import hashlib
from time import monotonic, time

from .bodies import ResponseBody
from .errors import BodyError, ConnectFailed, ConnectTimeout, HeadersTimeout, ProxyError, forget_way
from .exchange import Attempt, CallNext, Cause, Exchange, Forwarded, Phase, Response, Upstream
from .headers import KIND, Header, Kind, connection_tokens
from .retries import AnswerRetries, replayable
from .transport.base import Outgoing, Transport
from .urls import join_path
from .websocket import ClientFrames, handshake_headers, wants_websocket


class Forwarder:
    """Sends an exchange to its upstream. The `call_next` of the innermost middleware.

    `transports` by upstream name. `connect_retries`: further tries after a failed connect, where
    nothing was sent (reliability 64); anything later is the client's to repeat, SDKs do (71), but
    for what `answers` says.
    """

    def __init__(
        self,
        transports: dict[str, Transport],
        connect_retries: int = 2,
        answers: AnswerRetries | None = None,
    ) -> None:
        self._transports = transports
        self._connect_retries = connect_retries
        self._answers = answers

    async def __call__(self, exchange: Exchange) -> Response:
        upstream = exchange.upstream
        if upstream is None or exchange.refusal is not None or exchange.method == b"GET":
            refusal = self._refusal(exchange)
            if refusal is not None:
                return exchange.refuse(*refusal, _SOON if refusal[0] == 503 else ())
        if exchange.forwarded is not None:
            raise RuntimeError("call_next was called twice: repeating is the forwarder's business")
        assert upstream is not None  # noqa: S101 - _refusal has said so otherwise
        if exchange.body.error is not None:
            raise exchange.body.error  # too large, malformed, stalled: 116, before the upstream
        out = outgoing(exchange, upstream)
        exchange.forwarded = forwarded = Forwarded(upstream, out.target, out.headers)
        if out.body is not None:
            forwarded.body_changed = True
            forwarded.sha256_out = hashlib.sha256(out.body).hexdigest()
        response = await self._send(exchange, upstream, out)
        if self._answers is not None and response.status in self._answers.statuses:
            return await self._again(self._answers, response, exchange, upstream, out)
        return response

    def _refusal(self, exchange: Exchange) -> tuple[int, str, str] | None:
        """Status, code and message for what is not forwarded."""
        if exchange.refusal is not None:
            return exchange.refusal
        if exchange.upstream is None:
            return 404, "unknown_path", f"no upstream serves {exchange.path.decode('latin-1')}"
        if wants_websocket(exchange) and not self._carries_websocket(exchange, exchange.upstream):
            text = "WebSockets are not served here: use HTTP streaming"
            return 426, "websocket_unsupported", text
        return None

    def _carries_websocket(self, exchange: Exchange, upstream: Upstream) -> bool:
        """Both sides must be our own: an ASGI server in front or the other transport cannot."""
        transport = self._transports[upstream.name]
        return isinstance(exchange.body, ClientFrames) and getattr(transport, "websockets", False)

    async def _send(
        self, exchange: Exchange, upstream: Upstream, out: Outgoing, wait_ms: float = 0.0
    ) -> Response:
        """Try until the upstream is reached, so often; each attempt is noted on the exchange.
        `wait_ms`: the pause before the first of them."""
        transport = self._transports[upstream.name]
        left = self._connect_retries
        while True:
            attempt = Attempt(monotonic(), upstream.key_label, wait_ms=wait_ms)
            exchange.attempts.append(attempt)
            try:
                response = await transport.send(exchange, upstream, out)
            except ProxyError as error:
                attempt.error = error.code
                if not left or not _unsent(error):
                    raise
                forget_way(error)
                left, wait_ms = left - 1, 0.0
                continue
            return _noted(exchange, attempt, response)

    async def _again(
        self,
        retries: AnswerRetries,
        response: Response,
        exchange: Exchange,
        upstream: Upstream,
        out: Outgoing,
    ) -> Response:
        """The answer after so many more tries: the first good one, else the last (67 to 70)."""
        ends = exchange.attempts[0].started + retries.total_s
        for number in range(retries.tries):
            if response.status not in retries.statuses or not replayable(exchange):
                break
            wait_s = retries.wait_s(response.headers, number, time())
            if monotonic() + wait_s > ends:
                break
            exchange.let_go()  # what it says is not passed on
            exchange.upstream_body = exchange.cause = exchange.detail = None
            exchange.phase = Phase.HEADERS
            await asyncio.sleep(wait_s)
            response = await self._send(exchange, upstream, out, wait_s * 1000)
        return response


class TimeLimit:
    """Around the forwarder: cuts what is left of an exchange `total_s` after its head came (55)."""

    def __init__(self, call_next: CallNext, total_s: float) -> None:
        self._call_next = call_next
        self._total_s = total_s

    async def __call__(self, exchange: Exchange) -> Response:
        left_s = exchange.started + self._total_s - monotonic()
        why = f"the exchange was not over within {self._total_s:g} s"
        loop = asyncio.get_running_loop()
        ends = loop.time() + max(0.0, left_s)
        try:
            async with asyncio.timeout_at(ends):
                response = await self._call_next(exchange)
        except TimeoutError:
            raise HeadersTimeout(why) from None
        if isinstance(response.body, ResponseBody):
            timer = loop.call_at(ends, response.body.cut, BodyError("timeout", why))
            exchange.on_finish(lambda _: timer.cancel())
        return response


def _unsent(error: ProxyError) -> bool:
    """Nothing was sent, and it did not take all of its time to fail (reliability 52, 64)."""
    return isinstance(error, ConnectFailed) and not isinstance(error, ConnectTimeout)


def _noted(exchange: Exchange, attempt: Attempt, response: Response) -> Response:
    attempt.status = exchange.upstream_status = response.status
    exchange.upstream_http_version = response.http_version
    exchange.phase = _BODY
    if isinstance(response.body, ResponseBody):
        exchange.upstream_body = response.body
    if response.status >= 400:
        exchange.end(Cause.UPSTREAM_ERROR)
    return response


_BODY = Phase.BODY
_SOON = ((b"retry-after", b"1"),)  # full for the moment: as `PoolTimeout` says it


def outgoing(exchange: Exchange, upstream: Upstream) -> Outgoing:
    """The request as the upstream gets it. Hot: once per request."""
    headers = _end_to_end(exchange, upstream)
    query = exchange.query if exchange.new_query is None else exchange.new_query
    if exchange.header_edits is not None:
        headers = _edited(headers, exchange.header_edits)
    if upstream.api_key is not None:
        headers, query = upstream.provider.sign(headers, query, upstream.api_key)
    if upstream.extra_headers:
        headers = _edited(headers, upstream.extra_headers)
    if upstream.base_query:
        query = upstream.base_query + b"&" + query if query else upstream.base_query
    body = exchange.new_body
    if body is not None:
        headers = [pair for pair in headers if pair[0].lower() not in _FRAMING]
        headers.append((b"content-length", b"%d" % len(body)))
    path = join_path(upstream.base_path, exchange.forward_path)
    mark = query or (b"?" in exchange.target and exchange.new_query is None)
    target = b"%b?%b" % (path, query) if mark else path
    return Outgoing(exchange.method, target, headers, body)


_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})


_PASS = Kind.PASS
_LENGTH = Kind.CONTENT_LENGTH
_HOST = Kind.HOST


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
        elif kind is _HOST:
            kept.append((pair[0], upstream.host_header))
        elif kind is Kind.TRANSFER_ENCODING and exchange.body.chunked:
            kept.append(pair)
        elif kind is Kind.CONNECTION and pair[1] != b"keep-alive":
            named = (named or set()) | connection_tokens(pair[1])
    if named is not None and (named := named - _NEVER_NAMED):
        kept = [pair for pair in kept if pair[0].lower() not in named]
        if b"upgrade" in named and isinstance(exchange.body, ClientFrames):
            managed = upstream.api_key is not None
            kept = handshake_headers(exchange.headers, kept, managed=managed)
    if exchange.http_version != b"1.1" and exchange.header(b"host") is None:
        kept.insert(0, (b"Host", upstream.host_header))  # HTTP/1.0 could do without
    return kept


_NEVER_NAMED = frozenset(
    {b"close", b"keep-alive", b"host", b"content-length", b"transfer-encoding", b"authorization"}
)


def _edited(
    headers: list[Header], edits: list[tuple[bytes, bytes | None]] | tuple[Header, ...]
) -> list[Header]:
    """Replace in place, add at the end, or remove, name by name."""
    if len(edits) == 1 and edits[0][1] is None:  # the client's key, mostly
        gone, lower = edits[0][0], edits[0][0].lower()
        return [h for h in headers if h[0] is not gone and h[0].lower() != lower]
    for name, value in edits:
        lower = name.lower()
        if value is None:
            headers = [pair for pair in headers if pair[0].lower() != lower]
            continue
        at = next((i for i, pair in enumerate(headers) if pair[0].lower() == lower), len(headers))
        headers = [pair for pair in headers if pair[0].lower() != lower]
        headers.insert(min(at, len(headers)), (name, value))
    return headers


__all__ = ["Forwarder", "TimeLimit", "outgoing"]
