"""Point 3 of issue "It holds": cancelled at every await of a request's life.

The whole chain, in this process, on real sockets. Each request is struck at its first suspension,
the next at its second, and so on until one ends by itself: once while it waits, once in the turn in
which what it waits for arrives. The client leaves, or the proxy stops (`Gateway.cut`: what our own
server and the drain do), or the task is cancelled (what uvicorn does to an ASGI application).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from src.proxy.exchange import Cause, Exchange
from src.proxy.server import ServerProtocol
from tests.conftest import Figure
from tests.faults.suspending import CONCURRENT, KEY, POOL, Probe, Program, running
from tests.support.bodies import chat_request
from tests.support.client import request_bytes
from tests.support.tap import Document
from tests.support.wire import LAST_CHUNK

CHAT = "/v1/chat/completions"
KINDS = ("call", "stream", "late", "large")  # late: the body comes after the head; large: 300 KB
POOLS = ("cold", "pooled", "full")
WHENS = ("waiting", "arriving")
HELPERS = frozenset({"Sending._run", "_Pump.run"})  # tasks of the httpx transport
WHOS = ("leave", "stop", "cancel")
Strike = Callable[["Run"], Callable[[asyncio.Task[Any]], None]]


def leave(run: Run) -> Callable[[asyncio.Task[Any]], None]:
    """What `ServerProtocol.connection_lost` does, in this very turn; the loss itself follows."""
    gateway = run.program.app.gateway

    def lose(task: asyncio.Task[Any]) -> None:
        gateway.client_left(run.exchange_of(task))
        run.protocol.transport.abort()

    return lose


def stop(run: Run) -> Callable[[asyncio.Task[Any]], None]:
    cut = run.program.app.gateway.cut
    return lambda task: cut(run.exchange_of(task), Cause.SHUTDOWN, "the proxy was stopped")


def cancel(run: Run) -> Callable[[asyncio.Task[Any]], None]:
    return lambda task: void(task.cancel())


def void(_: object) -> None: ...


STRIKES: dict[str, Strike] = {"leave": leave, "stop": stop, "cancel": cancel}


class Run:
    """One request struck at its `at`th suspension, and what is looked at afterwards."""

    def __init__(
        self, program: Program, kind: str, pool: str, who: str, when: str, at: int
    ) -> None:
        self.program = program
        self.kind = kind
        self.pool = pool
        self.who = who
        self.when = when
        self.name = f"{kind}-{pool}-{who}-{when}-{at}"
        self.probe = Probe("Gateway.handle", HELPERS, at, when, STRIKES[who](self))
        self.received = b""
        self.protocol: ServerProtocol  # the server's side of its connection

    async def go(self) -> bool:
        """True when it was struck; else it has ended by itself, and well."""
        held = await self._prepare()
        asyncio.get_running_loop().set_task_factory(self.probe.make_task)
        try:
            async with asyncio.timeout(5):
                await self._ask()
        finally:
            asyncio.get_running_loop().set_task_factory(None)
            self.program.upstream.let_go.set()
        for answered in await asyncio.gather(*held):
            assert answered.startswith(b"HTTP/1.1 200"), f"{self.name}: {answered!r}"
        whole = self.received.startswith(b"HTTP/1.1 200") and self.received.endswith(
            (LAST_CHUNK, b"}")
        )
        # A call of which all was sent before it was struck has not failed for its client.
        fits = whole != self.probe.struck or (whole and self.kind != "stream")
        assert fits, f"{self.name}: {self.received!r}"
        return self.probe.struck

    def exchange_of(self, task: asyncio.Task[Any]) -> Exchange:
        in_flight = self.program.app.gateway.in_flight
        return next(exchange for exchange, its in in_flight.items() if its is task)

    async def _prepare(self) -> list[asyncio.Task[bytes]]:
        """The upstream's connections: none, one that is idle, or all of them busy."""
        program = self.program
        program.upstream.let_go.clear()
        if self.pool == "cold":
            await close_idle(program)
            return []
        if self.pool == "pooled":
            await ask(program, "warm")
            return []
        holding = [asyncio.ensure_future(ask(program, f"hold-{n}")) for n in range(POOL)]
        await until(lambda: len(program.upstream.busy) == POOL, "no connection is busy")
        return holding

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.program.port)
        kind = "call" if self.kind in {"late", "large"} else self.kind
        raw = request(f"{kind}-{self.name}", large=self.kind == "large")
        at = raw.index(b"\r\n\r\n") + 10 if self.kind == "late" else len(raw)
        writer.write(raw[:at])
        await until(lambda: self.probe.task is not None, "no request")
        self.protocol = self.program.protocol
        loop = asyncio.get_running_loop()
        if raw[at:]:
            loop.call_later(0.003, lambda: writer.is_closing() or writer.write(raw[at:]))
        if self.pool == "full":
            loop.call_later(0.003, self.program.upstream.let_go.set)
        try:
            while not is_whole(self.received) and (piece := await reader.read(65536)):
                self.received += piece
        except ConnectionError:
            pass
        writer.close()
        await until(self.probe.ended, f"{self.name}: has not ended")

    async def check(self) -> None:
        """Nothing of it is left, and as many as may be served at once are."""
        program = self.program
        gateway, upstream = program.app.gateway, program.upstream
        await until(lambda: not gateway.in_flight, f"{self.name}: in flight")
        await until(lambda: not upstream.busy, f"{self.name}: open at the upstream")
        asking = [
            asyncio.ensure_future(ask(program, f"pair-{self.name}-{n}")) for n in range(CONCURRENT)
        ]
        await until(
            lambda: all(task.done() for task in asking), f"{self.name}: a pool slot is lost"
        )
        bad = [raw for task in asking if not (raw := task.result()).startswith(b"HTTP/1.1 200")]
        assert not bad, f"{self.name}: a slot of the limit is lost: {bad}"
        await until(lambda: upstream.open <= POOL, f"{self.name}: connections over the limit")
        await until(lambda: not others(), f"{self.name}: {others()} left")


def request(query: str, *, large: bool = False) -> bytes:
    body = chat_request("x" * 300_000 if large else "", stream=True)
    fields = [(b"Authorization", b"Bearer " + KEY.encode()), (b"Content-Type", b"application/json")]
    return request_bytes("POST", f"{CHAT}?{query}", fields, body)


def is_whole(raw: bytes) -> bool:
    head, end, body = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(LAST_CHUNK)
    if b"content-length: " not in head.lower():
        return False
    length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
    return bool(end) and len(body) >= int(length)


async def ask(program: Program, query: str) -> bytes:
    """A request that nobody disturbs; its answer as it came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
    writer.write(request(query))
    received = b""
    while not is_whole(received) and (piece := await reader.read(65536)):
        received += piece
    writer.close()
    return received


async def close_idle(program: Program) -> None:
    """As if all idle connections had been closed: the next request has to connect."""
    for transport in program.app._transports.values():
        await transport.stop()
        await transport.start()
    await until(lambda: not program.upstream.open, "not closed")


KEPT = {"trace journal"}


def others() -> list[str]:
    """Tasks that belong neither to a test nor to the program as long as it runs."""
    mine = asyncio.current_task()
    return [
        str(task)
        for task in asyncio.all_tasks()
        if task is not mine and task.get_name() not in KEPT
    ]


async def until(holds: Callable[[], bool], what: str) -> None:
    """Other callbacks of this loop bring it about: within a second, or the test fails."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 1
    while not holds():
        assert loop.time() < deadline, what
        await asyncio.sleep(0 if loop.time() < deadline - 0.9 else 0.005)


async def strike_everywhere(folder: Path, transport: str, whos: tuple[str, ...]) -> Counter[str]:
    counted: Counter[str] = Counter()
    async with running(folder, transport) as program:
        for kind, pool in [(k, p) for k in KINDS for p in POOLS]:
            for who, when in [(w, n) for w in whos for n in WHENS]:
                at = 1
                while await (run := Run(program, kind, pool, who, when, at)).go():
                    await run.check()
                    counted["cancels"] += 1
                    at += 1
                counted["awaits"] += at - 1 if (who, when) == (whos[0], WHENS[0]) else 0
        await asyncio.sleep(0)
    await until(lambda: program.upstream.open == 0, "connections are left")
    return counted


def judge_traces(folder: Path) -> int:
    """One trace each, which says what happened. Returns how many were looked at."""
    traces: dict[str, list[Document]] = {}
    for path in folder.glob("2*/*.json"):
        trace = json.loads(path.read_text())
        traces.setdefault(trace["request"]["query"], []).append(trace)
    struck = 0
    for query, found in traces.items():
        if query.startswith(("warm", "hold")):
            continue
        assert len(found) == 1, query
        end, status = found[0]["termination"], (found[0]["response"] or {}).get("status")
        said = f"{query}: {end}, status {status}"
        if query.startswith("pair") or end["cause"] == "ok":
            whole = status == 200 and end["phase"] == "done"
            stream = found[0]["stream"]
            assert whole, said
            assert stream is None or stream["terminal"], said
            continue
        struck += 1
        assert end["cause"] == ("client_disconnected" if "-leave-" in query else "shutdown"), said
        assert (end["phase"] == "body") == (status is not None), said
    return struck


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize(
    ("loop", "transport"), [("asyncio", "http1"), ("uvloop", "http1"), ("uvloop", "httpx")]
)
def test_cancelled_at_every_await(
    tmp_path: Path, figure: Figure, pytestconfig: pytest.Config, loop: str, transport: str
) -> None:
    """With httpx, which has four times the awaits, only clients leave, unless `--every-byte`."""
    few = transport == "httpx" and not pytestconfig.getoption("--every-byte")
    counted = in_loop(loop, strike_everywhere(tmp_path, transport, ("leave",) if few else WHOS))
    struck = judge_traces(tmp_path)
    figure(
        3,
        transport=transport,
        loop=loop,
        **counted,
        leaks=0,
        untruthful=0,
        ended_before=counted["cancels"] - struck,
    )
    assert counted["awaits"] > 2 * len(KINDS) * len(POOLS)
    assert struck > 0.8 * counted["cancels"], "most are struck before all was answered"


def in_loop(loop: str, work: Coroutine[Any, Any, Counter[str]]) -> Counter[str]:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(work)
