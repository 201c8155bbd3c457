"""Strikes a coroutine at its n-th suspension, and the program in one loop with all that it needs.

A cancellation can come while something is waited for, or in the very turn in which it arrives: its
value is then lost on the way, which is where a slot or a connection gets lost with it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from src.app import Application, build
from src.config.settings import Settings
from src.proxy.server import ServerProtocol
from tests.support.bodies import chat_answer, chat_events
from tests.support.steps import JSON_TYPE, SSE_TYPE, head
from tests.support.wire import LAST_CHUNK, chunked

EVENTS = chat_events()
POOL = 2  # connections to each upstream
CONCURRENT = 4
KEY = "llmtap-test-key-0001"


class Probe:
    """Counts the suspensions of the first task whose coroutine has this name, and of the `helpers`
    that run for it; at number `at` of all it strikes.

    `when`: "waiting", at the next turn of the loop; "arriving", in the turn in which what is
    awaited has come. `strike` gets the task.
    """

    def __init__(
        self,
        name: str,
        helpers: frozenset[str],
        at: int,
        when: str,
        strike: Callable[[asyncio.Task[Any]], None],
    ) -> None:
        self.name = name
        self.helpers = helpers
        self.at = at
        self.when = when
        self.count = 0
        self.struck = False
        self.task: asyncio.Task[Any] | None = None
        self._strike = strike

    def make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        """A loop's task factory."""
        name = getattr(coro, "__qualname__", "")
        if self.task is None and name == self.name:
            self.task = asyncio.Task(_Watched(coro, self), loop=loop, **options)
            return self.task
        if self.task is not None and name in self.helpers:
            coro = _Watched(coro, self)
        return asyncio.Task(coro, loop=loop, **options)

    def ended(self) -> bool:
        return self.task is not None and self.task.done()

    def suspended(self, awaited: asyncio.Future[Any] | None) -> None:
        self.count += 1
        if self.count != self.at:
            return
        if self.when == "arriving" and awaited is not None:
            awaited.add_done_callback(self._now)  # before the task's own
        else:
            asyncio.get_running_loop().call_soon(self._now)

    def _now(self, awaited: asyncio.Future[Any] | None = None) -> None:
        assert self.task is not None
        if not self.task.done() and not (awaited is not None and awaited.cancelled()):
            self.struck = True
            self._strike(self.task)


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine that tells of each suspension; else the one inside."""

    def __init__(self, inner: Coroutine[Any, Any, Any], probe: Probe) -> None:
        self._inner = inner
        self._probe = probe

    def send(self, value: Any) -> Any:
        awaited = self._inner.send(value)
        self._probe.suspended(awaited)
        return awaited

    def throw(self, *error: Any) -> Any:
        awaited = self._inner.throw(*error)
        self._probe.suspended(awaited)
        return awaited

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Answering:
    """The upstream, in the same loop. What it does stands in the query: `hold` waits until it is
    let go, `pair` until POOL of them are there, `stream` answers in two parts, else a call."""

    def __init__(self) -> None:
        self.open = 0
        self.busy: set[str] = set()
        self.seen: set[str] = set()
        self.let_go = asyncio.Event()
        self._there = 0
        self._pairs = asyncio.Condition()

    async def answer(self, query: str, transport: asyncio.Transport) -> None:
        if query.startswith("hold"):
            await self.let_go.wait()
        elif query.startswith("pair"):
            await self._wait_for_the_other()
        if not query.startswith("stream"):
            body = chat_answer()
            length = (b"Content-Length", b"%d" % len(body))
            transport.write(head(200, JSON_TYPE, length) + body)
            return
        fields = SSE_TYPE, (b"Transfer-Encoding", b"chunked")
        transport.write(head(200, *fields) + chunked(EVENTS[0]))
        await asyncio.sleep(0.004)  # so that the proxy passes it on before the rest is there
        transport.write(chunked(*EVENTS[1:]) + LAST_CHUNK)

    async def _wait_for_the_other(self) -> None:
        async with self._pairs:
            self._there += 1
            wanted = -(-self._there // POOL) * POOL
            self._pairs.notify_all()
            await self._pairs.wait_for(lambda: self._there >= wanted)


class _Answerer(asyncio.Protocol):
    """One connection to the upstream."""

    transport: asyncio.Transport

    def __init__(self, upstream: Answering) -> None:
        self._upstream = upstream
        self._received = b""
        self._query = ""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._upstream.open += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        raw, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        self._query = raw.split(b" ", 2)[1].decode().partition("?")[2]
        self._upstream.busy.add(self._query)
        self._upstream.seen.add(self._query)
        if len(body) < int(raw.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        self._received = b""
        self._task = asyncio.ensure_future(self._upstream.answer(self._query, self.transport))
        self._task.add_done_callback(lambda _: self._upstream.busy.discard(self._query))

    def connection_lost(self, error: Exception | None) -> None:
        self._upstream.open -= 1
        self._upstream.busy.discard(self._query)
        if self._task is not None:
            self._task.cancel()


class Program:
    """The application with its whole chain, its server and its upstream, in this loop."""

    def __init__(self, app: Application, upstream: Answering, port: int) -> None:
        self.app = app
        self.upstream = upstream
        self.port = port
        self.protocol: ServerProtocol  # of the last client that connected
        self._state = SimpleNamespace(connections=set(), tasks=set())

    def connection(self) -> ServerProtocol:
        self.protocol = ServerProtocol(SimpleNamespace(loaded_app=self.app), self._state, {})
        return self.protocol


def _settings(folder: Path, upstream_port: int, transport: str) -> Settings:
    return Settings(
        upstreams=[
            {
                "type": "openai",
                "base_url": f"http://127.0.0.1:{upstream_port}",
                "transport": transport,
                "api_key": "sk-upstream",
            }
        ],
        limits={"upstream_connections": POOL},
        timeouts={"pool_s": 3, "headers_s": 3, "idle_s": 3},
        middlewares=[
            "trace",
            {"auth": {"keys": [{"label": "one", "key": KEY, "models": ["*"]}]}},
            {"rate_limit": {"concurrent": CONCURRENT, "tokens_per_minute": 1_000_000_000}},
            {"redact": {"patterns": ["EMP-[0-9]{6}"], "send": True}},
        ],
        trace_dir=folder,
        quiet=True,
    )


@asynccontextmanager
async def running(folder: Path, transport: str) -> AsyncIterator[Program]:
    loop = asyncio.get_running_loop()
    upstream = Answering()
    behind = await loop.create_server(lambda: _Answerer(upstream), "127.0.0.1", 0)
    app = build(_settings(folder, behind.sockets[0].getsockname()[1], transport))
    program = Program(app, upstream, 0)
    thresholds = gc.get_threshold()
    try:
        await app.start()
        server = await loop.create_server(program.connection, "127.0.0.1", 0)
        program.port = server.sockets[0].getsockname()[1]
        yield program
        server.close()
    finally:
        await app.stop()
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        behind.close()


__all__ = ["CONCURRENT", "EVENTS", "KEY", "POOL", "Answering", "Probe", "Program", "running"]
