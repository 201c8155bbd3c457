"""The only place where the parts meet: settings become upstreams, transports, chain, gateway.

Building is inert; `start` opens, `stop` closes in the opposite order and works after half a start.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from .config.middlewares import load_middleware, summarize
from .config.settings import Settings, UpstreamSettings
from .middlewares.base import Counts, Middleware, Services, Starts, Stops
from .middlewares.chain import build_chain
from .proxy.asgi import Receive, Scope, Send, refuse_websocket, serve_http
from .proxy.counts import ServerCounts
from .proxy.exchange import CallNext, Upstream
from .proxy.forwarder import Forwarder, TimeLimit
from .proxy.gateway import Gateway
from .proxy.limits import ServerLimits
from .proxy.providers import get_provider
from .proxy.retries import AnswerRetries
from .proxy.transport.base import Transport, TransportLimits
from .proxy.transport.native import NativeTransport
from .proxy.urls import host_header, split_base
from .store.child import FED, FeederProcess, StoreRefusedError
from .utils.addresses import is_loopback
from .utils.files import allow_files
from .utils.tasks import Sweeper
from .utils.ulid import ULIDs

log = logging.getLogger("llmtap.app")

_OTHER_FILES = 200  # connections kept for the health paths, journal, libraries, logs

OwnAnswer = Callable[[], tuple[int, bytes]]


class StartError(Exception):
    """A middleware cannot start: the message names it, and what it says."""


class Application:
    """The proxy as an ASGI application, and as what `ServerProtocol` serves without ASGI."""

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        transports: dict[str, Transport],
        layers: list[tuple[str, Middleware]],
        sweeper: Sweeper,
    ) -> None:
        self.settings = settings
        self.gateway = gateway
        self.sweeper = sweeper
        self.server_limits = _server_limits(settings)
        self.server_counts = ServerCounts()
        self.new_id = ULIDs()
        self.own_answers: dict[bytes, OwnAnswer] = {
            b"/health": self._health,
            b"/liveness": self._liveness,
            b"/readiness": self._readiness,
        }
        self._transports = transports
        self._layers = layers
        gated = any(getattr(member, "authenticates", False) is True for _, member in layers)
        self._feeder = _feeder(settings)
        self._closed = not (gated or settings.allow_open)
        self._started: list[Stops] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            own = self.own_answers.get(scope["path"].encode())
            if own is not None and scope["method"] in {"GET", "HEAD"}:
                await _send_json(send, *own())
                return
            if self._closed and _reached_from_beyond(scope):
                await _send_json(send, 403, _CLOSED)
                return
            await serve_http(self.gateway, self.server_limits, self.new_id, scope, receive, send)
        else:
            await refuse_websocket(receive, send, scope)

    async def start(self) -> None:
        """Open what must be open before the first request. Raises StartError for a middleware."""
        self._allow_files()
        if self._feeder is not None:
            try:
                await asyncio.to_thread(self._feeder.start)
            except (StoreRefusedError, OSError) as error:
                raise StartError(f"store cannot start: {error}") from error
        for transport in self._distinct_transports():
            self._started.append(transport)
            await transport.start()
        for name, middleware in self._layers:
            if isinstance(middleware, Stops):
                self._started.append(middleware)
            if isinstance(middleware, Starts):
                try:
                    await middleware.start()
                except Exception as error:
                    raise StartError(f"{name} cannot start: {summarize(error)}") from error
        # What lives until the end is taken out of the collector's rounds, and these are made
        # rarer: a full one over everything imported would stall the streams for 20 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 50)

    def _allow_files(self) -> None:
        """Room for every connection the limits allow: systems begin with 1,024 files a process."""
        limits = self.settings.limits
        needed = limits.connections + limits.upstream_connections + _OTHER_FILES
        allowed = allow_files(needed)
        if allowed < needed and not self.settings.quiet:
            log.warning(
                "%d files may be open, limits.connections and limits.upstream_connections want %d;"
                " raise it with ulimit -n, or lower them",
                allowed,
                needed,
            )

    async def stop(self) -> None:
        """Cut what is in flight, wait until it is finished, then close, last opened first."""
        await self.gateway.drain(self.settings.drain.flush_s)
        for part in reversed(self._started):
            try:
                await part.stop()
            except Exception:
                log.exception("stopping %s failed", type(part).__name__)
        self._started.clear()
        if self._feeder is not None:  # after the recorders: they have told it the last
            await asyncio.to_thread(self._feeder.stop, self.settings.drain.flush_s + 1)
        self.sweeper.stop()

    def _distinct_transports(self) -> Iterable[Transport]:
        return {id(t): t for t in self._transports.values()}.values()

    def counters(self) -> dict[str, int]:
        """Whole numbers for the health page: requests, what is held open for them, and what the
        middlewares count."""
        counts = {
            "accepted": self.gateway.accepted,
            "in_flight": len(self.gateway.in_flight),
            "connections": self.server_counts.connections,
            "upstream_connections": self._upstream_connections(),
            "refused": self.server_counts.refused,
            "slow": self.server_counts.slow,
        }
        for name, middleware in self._layers:
            if isinstance(middleware, Counts):
                counts |= {f"{name}.{key}": n for key, n in middleware.counters().items()}
        return counts

    def _upstream_connections(self) -> int:
        """Those of our own transport, idle ones included; httpx does not tell of its own."""
        own = (t for t in self._distinct_transports() if isinstance(t, NativeTransport))
        return sum(transport.open_connections() for transport in own)

    def closing_line(self) -> str:
        """What was done, for the last line on the terminal."""
        counts = self.counters()
        line = _counted(counts["accepted"], "request")
        if "trace.written" in counts:
            written = _counted(counts["trace.written"], "trace")
            line += f", {written} written to {self.settings.trace_dir}"
            lost = counts.get("trace.dropped", 0) + counts.get("trace.failed", 0)
            if lost:
                line += f", {lost} LOST"
            if counts["trace.pending"]:
                line += f", {counts['trace.pending']} still in the journal for the next start"
        return line

    def _health(self) -> tuple[int, bytes]:
        state = "ok" if self.gateway.ready else "not ready"
        tasks = len(asyncio.all_tasks())  # 0.2 us each, and only when asked
        return 200, orjson.dumps({"status": state, **self.counters(), "tasks": tasks})

    def _liveness(self) -> tuple[int, bytes]:
        return 200, b'{"status":"ok"}'

    def _readiness(self) -> tuple[int, bytes]:
        if self.gateway.ready:
            return 200, b'{"status":"ready"}'
        return 503, b'{"status":"not ready"}'

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            if isinstance(error, StartError):
                log.critical("%s", error)
            else:
                log.exception("start failed")
            await self.stop()
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        if not self.settings.quiet:
            log.info("stopped: %s", self.closing_line())
        await send({"type": "lifespan.shutdown.complete"})


_CLOSED = orjson.dumps(
    {
        "error": {
            "type": "permission_error",
            "message": "this address is reached by other machines, and nothing asks them for a key;"
            " put auth into middlewares, or set allow_open",
        }
    }
)


def _reached_from_beyond(scope: Scope) -> bool:
    """Under a server of one's own (`uvicorn src.main:app --host 0.0.0.0`) nobody has told us where
    it listens, so each connection is asked: which of our addresses did it come to?"""
    server = scope.get("server")
    if server is None or server[1] is None:  # a Unix socket
        return False
    return not is_loopback(server[0])


def build(settings: Settings) -> Application:
    """Everything made and wired, nothing opened. Raises ConfigError for a bad middleware."""
    sweeper = Sweeper()
    upstreams = [_upstream(u) for u in settings.upstreams]
    transports = _transports(settings, sweeper)
    services = Services(
        trace_dir=settings.trace_dir,
        quiet=settings.quiet,
        flush_s=settings.drain.flush_s,
        prices=tuple(price.as_texts() for price in settings.prices),
        spooled=settings.store is not None,
    )
    retries = settings.retries
    answers = AnswerRetries(retries.answers, frozenset(retries.statuses), retries.total_s)
    forward: CallNext = Forwarder(transports, retries.connect, answers if retries.answers else None)
    if settings.timeouts.total_s is not None:
        forward = TimeLimit(forward, settings.timeouts.total_s)
    layers = [(spec.name, load_middleware(spec, services)) for spec in settings.middlewares]
    names = (*(name for name, _ in layers), "forward")
    gateway = Gateway(
        upstreams,
        build_chain(layers, forward),
        get_provider("generic"),
        names,
        settings.limits.in_flight,
    )
    return Application(settings, gateway, transports, layers, sweeper)


def _feeder(settings: Settings) -> FeederProcess | None:
    """The store's; none in a worker whose supervisor has it."""
    if settings.store is None or os.environ.get(FED):
        return None
    url = settings.store.database_url
    return FeederProcess(settings.trace_folder(), url, settings.drain.flush_s)


def _upstream(u: UpstreamSettings) -> Upstream:
    provider = get_provider(u.type)
    base_url = u.base_url or provider.default_base_url or ""
    scheme, host, port, path = split_base(base_url)
    return Upstream(
        name=u.name,
        provider=provider,
        base_url=base_url,
        prefix=u.prefix.rstrip("/").encode(),
        scheme=scheme,
        host=host,
        port=port,
        host_header=host_header(scheme, host, port),
        base_path=path,
        base_query=urlsplit(base_url).query.encode(),
        api_key=u.api_key.get_secret_value() if u.api_key else None,
        key_label="config" if u.api_key else None,
        extra_headers=tuple(
            (k.encode("latin-1"), v.encode("latin-1")) for k, v in u.headers.items()
        ),
    )


def _transports(settings: Settings, sweeper: Sweeper) -> dict[str, Transport]:
    """One transport per upstream name; all plain ones share the native transport."""
    limits = _transport_limits(settings)
    ca_files = {u.name: Path(u.ca_file) for u in settings.upstreams if u.ca_file}
    native = NativeTransport(limits, sweeper, ca_files)
    transports: dict[str, Transport] = {}
    for u in settings.upstreams:
        if u.transport == "http1":
            transports[u.name] = native
            continue
        # 60 ms to import, and rarely wanted.
        from .proxy.transport.httpx import HttpxTransport  # noqa: PLC0415

        transports[u.name] = HttpxTransport(
            limits,
            http2=u.http2,
            proxy=str(u.proxy) if u.proxy else None,
            ca_file=ca_files.get(u.name),
        )
    return transports


def _transport_limits(settings: Settings) -> TransportLimits:
    times, limits = settings.timeouts, settings.limits
    return TransportLimits(
        connect_s=times.connect_s,
        headers_s=times.headers_s,
        idle_s=times.idle_s,
        pool_s=times.pool_s,
        connections=limits.upstream_connections,
        idle_connections=limits.upstream_idle,
        idle_reuse_s=limits.upstream_idle_s,
        message_bytes=limits.websocket_message_bytes,
    )


def _server_limits(settings: Settings) -> ServerLimits:
    times, limits = settings.timeouts, settings.limits
    return ServerLimits(
        connections=limits.connections,
        header_bytes=limits.header_bytes,
        header_count=limits.header_count,
        url_bytes=limits.url_bytes,
        body_bytes=limits.body_bytes,
        replay_bytes=limits.replay_bytes,
        head_s=times.request_head_s,
        body_s=times.request_body_s,
        keep_alive_s=times.keep_alive_s,
        client_write_s=times.client_write_s,
    )


async def _send_json(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
