"""The second transport, on httpx: HTTP/2, and outgoing proxies (HTTP and SOCKS).

Slower by an order of magnitude; chosen per upstream. httpx 0.28 loses slots of its pool when
requests are cancelled while it is full (reliability, "act on these first" 1), so its pool has no
limit and the count is kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import httpx

from ...utils.tasks import spawn
from ..bodies import ResponseBody
from ..errors import (
    BadResponse,
    BodyError,
    ConnectFailed,
    ConnectTimeout,
    HeadersTimeout,
    PoolTimeout,
    ProxyError,
    TLSFailed,
    UpstreamClosed,
    UpstreamReset,
)
from ..exchange import Exchange, Header, Phase, Response, Upstream
from ..headers import KIND, Kind, response_framing
from .base import Outgoing, TransportLimits
from .native import tls_context
from .sending import Sending
from .upload import Upload

_FRAMES = frozenset({Kind.CONTENT_LENGTH, Kind.TRANSFER_ENCODING})


class HttpxTransport:
    """Sends requests to one upstream through httpx. `proxy` is http://, https:// or socks5://."""

    def __init__(
        self,
        limits: TransportLimits,
        *,
        http2: bool = False,
        proxy: str | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self._limits = limits
        self._http2 = http2
        self._proxy = proxy
        self._ca_file = ca_file
        self._client: httpx.AsyncClient | None = None
        self._slots = asyncio.Semaphore(limits.connections)

    async def start(self) -> None:
        limits = self._limits
        self._client = httpx.AsyncClient(
            http2=self._http2,
            proxy=self._proxy,
            verify=tls_context(self._ca_file),
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=limits.idle_connections,
                keepalive_expiry=limits.idle_reuse_s,
            ),
        )

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def send(self, exchange: Exchange, upstream: Upstream, out: Outgoing) -> Response:
        """See Transport."""
        if self._client is None:
            raise RuntimeError("the transport was not started")
        limit = asyncio.timeout(None)
        request = self._request(exchange, upstream, out, limit)
        try:
            async with asyncio.timeout(self._limits.pool_s):
                await self._slots.acquire()
        except TimeoutError:
            raise PoolTimeout(f"all {self._limits.connections} requests are in use") from None
        exchange.t_sent = monotonic()
        exchange.phase = Phase.HEADERS
        sending = Sending(self._client, request, self._slots.release)
        answer = await self._trusted(await self._head(sending, limit))
        now = monotonic()
        exchange.t_headers = now
        pump = _Pump(answer, sending, self._slots, self._limits.idle_s)
        pump.task = spawn(pump.run(), "httpx body")
        version = answer.http_version.removeprefix("HTTP/").encode()
        headers: list[Header] = list(answer.headers.raw)
        reason = answer.reason_phrase.encode()
        return Response(answer.status_code, headers, pump.body, reason=reason, http_version=version)

    def _request(
        self, exchange: Exchange, upstream: Upstream, out: Outgoing, limit: asyncio.Timeout
    ) -> httpx.Request:
        framed = any(KIND[name] in _FRAMES for name, _ in out.headers)
        headers_s, loop = self._limits.headers_s, asyncio.get_running_loop()

        def client_is_slow(waits: bool) -> None:
            """The upstream's time runs while it has something to take or to answer."""
            limit.reschedule(None if waits else loop.time() + headers_s)

        request = httpx.Request(
            out.method.decode(),
            f"{upstream.scheme}://{upstream.host_header.decode()}/",
            headers=[(name, value) for name, value in out.headers],
            content=_content(exchange, out, client_is_slow) if framed else None,
            # Reading has limits of its own here: for the head, and between two pieces.
            extensions={"timeout": httpx.Timeout(None, connect=self._limits.connect_s).as_dict()},
        )
        request.url = _ExactURL(request.url, out.target)
        if not framed:
            request.headers.pop("content-length", None)  # 18: httpx gives a bare POST one
        return request

    async def _head(self, sending: Sending, limit: asyncio.Timeout) -> httpx.Response:
        headers_s = self._limits.headers_s
        try:
            async with limit:
                limit.reschedule(asyncio.get_running_loop().time() + headers_s)
                return await sending.head()
        except TimeoutError:
            raise HeadersTimeout(f"no answer from the upstream within {headers_s:g} s") from None
        except httpx.HTTPError as error:
            raise mapped(error) from error

    async def _trusted(self, answer: httpx.Response) -> httpx.Response:
        problem = response_framing(answer.headers.raw)[1]
        if problem is None:
            return answer
        try:
            await answer.aclose()
        finally:
            self._slots.release()
        raise BadResponse(f"the upstream's answer cannot be trusted: {problem}")


class _ExactURL(httpx.URL):
    """httpx tidies a path (reliability 11). Its "target" extension would be exact too, but an
    outgoing proxy gets it in place of the address it has to know, and of that in a CONNECT."""

    def __init__(self, url: httpx.URL, target: bytes) -> None:
        super().__init__(url)
        self._target = target

    @property
    def raw_path(self) -> bytes:
        return self._target


def _content(exchange: Exchange, out: Outgoing, waits: Callable[[bool], None]) -> bytes | Upload:
    return out.body if out.body is not None else Upload(exchange.body, waits)


class _Pump:
    """Carries an httpx response into a ResponseBody, which pushes."""

    def __init__(
        self, answer: httpx.Response, sending: Sending, slots: asyncio.Semaphore, idle_s: float
    ) -> None:
        self._answer = answer
        self._sending = sending
        self._slots = slots
        self._idle_s = idle_s
        self._go = asyncio.Event()
        self._go.set()
        self._running = False
        self._aborted = False
        self.body = ResponseBody(self)
        self.task: asyncio.Task[object] | None = None

    async def run(self) -> None:
        self._running = True
        failure: BodyError | None = BodyError("upstream_reset", "the answer was given up")
        try:
            if not self._aborted:
                await self._carry()
                failure = None
        except httpx.HTTPError as error:
            problem = mapped(error)
            failure = BodyError(problem.cause, str(problem))
        except TimeoutError:
            failure = BodyError("timeout", f"the upstream sent nothing for {self._idle_s:g} s")
        finally:
            self.body.finish(failure)
            try:
                await self._answer.aclose()
            finally:  # not before: the next request would open one connection too many
                self._slots.release()

    async def _carry(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._idle_s) as idle:
            async for chunk in self._answer.aiter_raw():
                if not self._go.is_set():  # it is the client that is slow; the server watches that
                    idle.reschedule(None)
                    await self._go.wait()
                idle.reschedule(loop.time() + self._idle_s)
                self.body.feed(chunk)

    def pause_reading(self) -> None:
        self._go.clear()

    def resume_reading(self) -> None:
        self._go.set()

    def abort(self) -> None:
        """Once it runs it is cancelled; before its first step that would leave all unreleased."""
        again, self._aborted = self._aborted, True
        if self._running and self.task is not None and not (again or self._sending.closing):
            self.task.cancel()


def mapped(error: httpx.HTTPError) -> ProxyError:
    """httpx's exceptions as ours. Held complete by a test."""
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError) and ("CERTIFICATE" in text or "SSL" in text):
        return TLSFailed(f"TLS with the upstream failed: {text}")
    if isinstance(error, httpx.RemoteProtocolError) and (
        "disconnected" in text or "closed" in text
    ):
        return UpstreamClosed(f"the upstream closed the connection early: {text}")
    for theirs, ours, message in _MAPPED:
        if isinstance(error, theirs):
            return ours(f"{message}: {text}")
    return BadResponse(text)


# Most special first.
_MAPPED: tuple[tuple[type[httpx.HTTPError], type[ProxyError], str], ...] = (
    (httpx.ConnectTimeout, ConnectTimeout, "no connection to the upstream in time"),
    (httpx.PoolTimeout, PoolTimeout, "no connection to the upstream came free"),
    (httpx.TimeoutException, HeadersTimeout, "the upstream sent nothing in time"),
    (httpx.ConnectError, ConnectFailed, "cannot connect to the upstream"),
    (httpx.ProxyError, ConnectFailed, "the outgoing proxy refused"),
    (httpx.UnsupportedProtocol, ConnectFailed, "this address cannot be reached"),
    (httpx.RemoteProtocolError, BadResponse, "the upstream's answer is not valid"),
    (httpx.NetworkError, UpstreamReset, "the connection to the upstream broke"),
)
