"""What is over is gone at once: nothing waits for the collector, whose rounds are rare here.

A connection that left a cycle (its parser holds it) kept 100 KB of an endless head for hours.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.app import build
from src.config.loading import load_settings
from src.proxy.server import ServerProtocol
from tests.support.client import Address
from tests.support.slow import endless_head
from tests.support.swarm import Line, SwarmUpstream, ask_for, loop_of_its_own
from tests.support.wire import free_port

KINDS = ("silent", "head", "call", "stream", "leave", "error", "cut")


def _ours() -> Counter[str]:
    """How many there are of each type of ours, and of the parsers'."""
    names = (f"{type(o).__module__}.{type(o).__qualname__}" for o in gc.get_objects())
    return Counter(name for name in names if name.startswith(("src.", "httptools.")))


async def _one(address: Address, kind: str) -> None:
    if kind == "head":
        await endless_head(address, 200_000)
        return
    line = await Line.open(address)
    if kind != "silent":
        do = "stream" if kind == "leave" else kind
        leave_after_s = 0.008 if kind == "leave" else None
        await line.ask(ask_for("m", do, events=4, gap_ms=5), cancel_after_s=leave_after_s)
    line.transport.close()


async def _left_behind(base_url: str, trace_dir: Path, kind: str) -> Counter[str]:
    flags = {"base_url": base_url, "type": "openai", "trace_dir": str(trace_dir), "quiet": True}
    app = build(load_settings(flags, {}).settings)
    await app.start()
    config, state = SimpleNamespace(loaded_app=app), SimpleNamespace(connections=set(), tasks=set())
    server = await asyncio.get_running_loop().create_server(
        lambda: ServerProtocol(config, state, {}), "127.0.0.1", 0
    )
    address = server.sockets[0].getsockname()
    before: Counter[str] = Counter()
    try:
        for count in (3, 20):  # the first few leave what is kept for all
            gc.collect()
            before = _ours()
            for _ in range(count):
                await _one(address, kind)
            while state.connections or app.gateway.in_flight:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        return _ours() - before
    finally:
        server.close()
        await app.stop()


@pytest.fixture
def no_collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.parametrize("kind", [*KINDS, "refused"])
def test_nothing_that_is_over_waits_for_the_collector(
    tmp_path: Path, no_collector: None, kind: str
) -> None:
    with loop_of_its_own() as runner:
        upstream = runner.run(SwarmUpstream().start())
        refused = f"http://127.0.0.1:{free_port()}"
        base_url = refused if kind == "refused" else upstream.url
        try:
            left = runner.run(
                _left_behind(base_url, tmp_path, "call" if refused is base_url else kind)
            )
        finally:
            runner.run(upstream.stop())
    assert max(left.values(), default=0) < 10, left
