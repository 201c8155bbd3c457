"""As `test_cancelled_everywhere`, behind another ASGI server: it cancels the application's task
(uvicorn when it stops), or says that the client has left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Figure
from tests.faults.suspending import POOL, Probe, Program, running
from tests.faults.test_cancelled_everywhere import (
    WHENS,
    ask,
    close_idle,
    in_loop,
    judge_traces,
    others,
    request,
    until,
)

HELPERS = frozenset({"Gateway.handle", "Sending._run", "_Pump.run"})


class Served:
    """One request as an ASGI server hands it to the application."""

    def __init__(self, program: Program, name: str) -> None:
        raw = request(name)
        lines, _, self._body = raw.partition(b"\r\n\r\n")
        pairs = [line.split(b": ", 1) for line in lines.split(b"\r\n")[1:]]
        self._app = program.app
        self._scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "query_string": name.encode(),
            "http_version": "1.1",
            "headers": [(key.lower(), value) for key, value in pairs],
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 3000),
        }
        self.left = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self.sent.append(message)


async def struck(program: Program, name: str, who: str, when: str, at: int) -> bool:
    served = Served(program, name)
    strikes: dict[str, Callable[[asyncio.Task[Any]], object]] = {
        "stop": lambda task: task.cancel(),
        "leave": lambda _: served.left.set(),
    }
    probe = Probe("Served.run", HELPERS, at, when, lambda task: void(strikes[who](task)))
    loop = asyncio.get_running_loop()
    loop.set_task_factory(probe.make_task)
    try:
        task = loop.create_task(served.run())
        await asyncio.wait({task}, timeout=5)
    finally:
        loop.set_task_factory(None)
    assert task.done(), f"{name}: hangs"
    whole = bool(served.sent) and not served.sent[-1].get("more_body", True)
    failed = task.cancelled() or task.exception() is not None
    assert probe.struck or (whole and not failed), name
    assert not (whole and failed and who == "leave"), name
    return probe.struck


def void(_: object) -> None: ...


async def strike_everywhere(folder: Path, transport: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    async with running(folder, transport) as program:
        gateway, upstream = program.app.gateway, program.upstream
        ways = [(k, w, n) for k in ("call", "stream") for w in ("leave", "stop") for n in WHENS]
        for kind, who, when in ways:
            for at in range(1, 200):
                await close_idle(program)
                name = f"{kind}-asgi-{who}-{when}-{at}"
                if not await struck(program, name, who, when, at):
                    break
                counted["cancels"] += 1
                await until(lambda: not gateway.in_flight, "in flight")
                await until(lambda: not upstream.busy, "open at the upstream")
                await until(lambda: not others(), "a task is left")
                pair = [ask(program, f"pair-{name}-{number}") for number in range(POOL)]
                answers = await asyncio.wait_for(asyncio.gather(*pair), 3)
                assert all(a.startswith(b"HTTP/1.1 200") for a in answers), name
                await until(lambda: upstream.open <= POOL, "connections over the limit")
    await until(lambda: upstream.open == 0, "connections are left")
    return counted


@pytest.mark.parametrize("transport", ["http1", "httpx"])
def test_cancelled_at_every_await_behind_another_server(
    tmp_path: Path, figure: Figure, transport: str
) -> None:
    counted = in_loop("asyncio", strike_everywhere(tmp_path, transport))
    struck_in_time = judge_traces(tmp_path)
    before = counted["cancels"] - struck_in_time
    figure(3, transport=transport, server="ASGI", **counted, leaks=0, ended_before=before)
    assert struck_in_time > 20
