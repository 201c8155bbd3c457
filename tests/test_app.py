"""Where the parts meet: settings in, an application out; start and stop."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from src.app import Application, StartError, build
from src.config.errors import ConfigError
from src.config.settings import MiddlewareSpec, Settings
from src.proxy.exchange import CallNext, Exchange, Response
from src.proxy.forwarder import Forwarder, TimeLimit
from src.proxy.transport.httpx import HttpxTransport
from src.proxy.transport.native import NativeTransport
from tests.proxy.transport.kit import loopback, replies

HERE = f"{__name__}:"


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Starting tunes the garbage collector of the process."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Noting:
    """A middleware that notes its life. `log` is the test's."""

    log: list[str] = []
    fails_at = ""

    def __init__(self, options: object, services: object) -> None: ...

    def _note(self, what: str) -> None:
        name = f"{type(self).__name__} {what}"
        self.log.append(name)
        if name == Noting.fails_at:
            raise RuntimeError(name)

    async def start(self) -> None:
        self._note("start")

    async def stop(self) -> None:
        self._note("stop")

    def counters(self) -> dict[str, int]:
        return {"seen": 7}

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        return await call_next(exchange)


class First(Noting):
    pass


class Second(Noting):
    pass


@pytest.fixture
def life() -> Iterator[list[str]]:
    Noting.log = []
    yield Noting.log
    Noting.fails_at = ""


def settings(tmp_path: Path, **changes: Any) -> Settings:
    given: dict[str, Any] = {
        "trace_dir": tmp_path,
        "upstreams": ({"base_url": "http://127.0.0.1:1", "type": "openai"},),
        "middlewares": (),
        "quiet": True,
    }
    return Settings(**{**given, **changes})


def both(tmp_path: Path) -> Application:
    return build(
        settings(
            tmp_path,
            middlewares=(MiddlewareSpec(HERE + "First"), MiddlewareSpec(HERE + "Second")),
        )
    )


# --- building ---


def test_building_opens_nothing(tmp_path: Path, life: list[str]):
    app = both(tmp_path)
    assert life == []
    assert list(tmp_path.iterdir()) == []
    assert app.gateway._chain == (HERE + "First", HERE + "Second", "forward")


def test_upstream_is_made_ready(tmp_path: Path):
    given = {
        "name": "up",
        "type": "anthropic",
        "base_url": "https://example.com:8443/api/v1/",
        "prefix": "/a",
        "api_key": "sk-secret-key",
        "headers": {"X-A": "1"},
    }
    app = build(settings(tmp_path, upstreams=(given,)))
    (up,) = app.gateway._upstreams
    assert (up.scheme, up.host, up.port, up.base_path) == ("https", "example.com", 8443, b"/api/v1")
    assert (up.host_header, up.prefix) == (b"example.com:8443", b"/a")
    assert (up.api_key, up.key_label) == ("sk-secret-key", "config")
    assert up.extra_headers == ((b"X-A", b"1"),)
    assert up.provider.type == "anthropic"


def test_transport_is_chosen_per_upstream_and_the_native_one_is_shared(tmp_path: Path):
    ups = [
        {"name": "a", "base_url": "http://a"},
        {"name": "b", "base_url": "http://b", "prefix": "/b"},
        {"name": "c", "base_url": "http://c", "prefix": "/c", "http2": True},
        {"name": "d", "base_url": "http://d", "prefix": "/d", "proxy": "socks5://p:1"},
    ]
    app = build(settings(tmp_path, upstreams=tuple(ups)))
    found = app._transports
    assert isinstance(found["a"], NativeTransport)
    assert found["a"] is found["b"]
    assert isinstance(found["c"], HttpxTransport)
    assert isinstance(found["d"], HttpxTransport)
    assert found["c"] is not found["d"]


@pytest.mark.parametrize(("total_s", "kind"), [(None, Forwarder), (5.0, TimeLimit)])
def test_total_time_is_only_watched_where_there_is_one(
    tmp_path: Path, total_s: float | None, kind: type
):
    app = build(settings(tmp_path, timeouts={"total_s": total_s}))
    assert isinstance(app.gateway._call_next, kind)


def test_every_limit_of_the_settings_reaches_whoever_keeps_it(tmp_path: Path):
    times = {
        "connect_s": 1,
        "headers_s": 2,
        "idle_s": 3,
        "pool_s": 4,
        "client_write_s": 5,
        "request_head_s": 6,
        "request_body_s": 7,
        "keep_alive_s": 8,
    }
    limits = {
        "connections": 11,
        "in_flight": 12,
        "header_bytes": 13,
        "header_count": 14,
        "url_bytes": 15,
        "body_bytes": 16,
        "upstream_connections": 17,
        "upstream_idle": 18,
        "upstream_idle_s": 19,
        "replay_bytes": 20,
    }
    app = build(settings(tmp_path, timeouts=times, limits=limits, retries={"connect": 9}))
    server, transport = app.server_limits, app._transports["openai"]
    assert isinstance(transport, NativeTransport)
    up = transport._limits
    assert (up.connect_s, up.headers_s, up.idle_s, up.pool_s) == (1, 2, 3, 4)
    assert (server.client_write_s, server.head_s, server.body_s, server.keep_alive_s) == (
        5,
        6,
        7,
        8,
    )
    assert (server.connections, server.header_bytes, server.header_count) == (11, 13, 14)
    assert (server.url_bytes, server.body_bytes, server.replay_bytes) == (15, 16, 20)
    assert (up.connections, up.idle_connections, up.idle_reuse_s) == (17, 18, 19)
    assert app.gateway._max_in_flight == 12
    assert app.gateway._call_next._connect_retries == 9  # type: ignore[attr-defined]


def test_middleware_that_cannot_be_loaded_is_a_config_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="nonsense"):
        build(settings(tmp_path, middlewares=(MiddlewareSpec("nonsense"),)))


# --- start and stop ---


async def test_parts_start_in_order_and_stop_in_the_opposite(tmp_path: Path, life: list[str]):
    app = both(tmp_path)
    await app.start()
    await app.stop()
    assert life == ["First start", "Second start", "Second stop", "First stop"]
    await app.stop()
    assert len(life) == 4, "once"


async def test_stop_after_half_a_start_stops_what_was_begun(tmp_path: Path, life: list[str]):
    app = both(tmp_path)
    Noting.fails_at = "Second start"
    with pytest.raises(StartError, match=r"Second cannot start: RuntimeError: Second start"):
        await app.start()
    await app.stop()
    assert life == ["First start", "Second start", "Second stop", "First stop"]


async def test_part_that_fails_to_stop_does_not_keep_the_others(
    tmp_path: Path, life: list[str], caplog: pytest.LogCaptureFixture
):
    app = both(tmp_path)
    await app.start()
    Noting.fails_at = "Second stop"
    await app.stop()
    assert life[-1] == "First stop"
    assert "Second" in caplog.text


async def test_stop_without_a_start_is_safe(tmp_path: Path, life: list[str]):
    await both(tmp_path).stop()
    assert life == []


class Lifespan:
    """A server's side of the lifespan protocol."""

    def __init__(self, app: Application) -> None:
        self._in: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._out: asyncio.Queue[Any] = asyncio.Queue()
        self._in.put_nowait({"type": "lifespan.startup"})
        self.task = asyncio.ensure_future(app({"type": "lifespan"}, self._in.get, self._out.put))

    async def told(self) -> Any:
        return await asyncio.wait_for(self._out.get(), 5)

    async def shutdown(self) -> Any:
        self._in.put_nowait({"type": "lifespan.shutdown"})
        told = await self.told()
        await self.task
        return told


async def test_lifespan_starts_and_stops(tmp_path: Path, life: list[str]):
    server = Lifespan(both(tmp_path))
    assert (await server.told())["type"] == "lifespan.startup.complete"
    assert life == ["First start", "Second start"]
    assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"
    assert life[2:] == ["Second stop", "First stop"]


async def test_start_that_fails_is_told_with_its_reason(
    tmp_path: Path, life: list[str], caplog: pytest.LogCaptureFixture
):
    Noting.fails_at = "Second start"
    server = Lifespan(both(tmp_path))
    told = await server.told()
    assert told["type"] == "lifespan.startup.failed"
    assert "Second cannot start" in caplog.text + told["message"]
    assert life[-1] == "First stop"
    await server.task


# --- requests, through ASGI ---


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with loopback(replies) as box:
        up = {"base_url": f"http://127.0.0.1:{box.port}", "type": "openai"}
        chain = (MiddlewareSpec(HERE + "First"),)
        app = build(settings(tmp_path, upstreams=(up,), middlewares=chain))
        await app.start()
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # narrower than ours
        async with httpx.AsyncClient(transport=transport, base_url="http://tap") as made:
            made.app = app  # type: ignore[attr-defined]  # for the tests that stop it
            yield made
        await app.stop()


async def test_request_passes_from_end_to_end(client: httpx.AsyncClient):
    answer = await client.post("/v1/chat/completions", content=b"{}")
    assert (answer.status_code, answer.content) == (200, b"ok")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/health", "/liveness", "/readiness"])
async def test_own_paths_answer_without_the_upstream(
    client: httpx.AsyncClient, method: str, path: str
):
    answer = await client.request(method, path)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-length"]
    if path == "/health" and method == "GET":
        told = json.loads(answer.content)
        held = {"in_flight": 0, "connections": 0, "upstream_connections": 0, "tasks": 1}
        counted = {"accepted": 0, "refused": 0, "slow": 0, f"{HERE}First.seen": 7}
        assert told == {"status": "ok", **held, **counted}


async def test_own_paths_are_the_upstreams_for_other_methods(client: httpx.AsyncClient):
    assert (await client.post("/health", content=b"{}")).content == b"ok"


async def test_not_ready_is_said_at_once(client: httpx.AsyncClient):
    """Reliability 120."""
    client.app.gateway.stop_accepting()  # type: ignore[attr-defined]
    assert (await client.get("/readiness")).status_code == 503
    assert (await client.get("/liveness")).status_code == 200
    assert json.loads((await client.get("/health")).content)["status"] == "not ready"


async def test_closing_line_counts(client: httpx.AsyncClient):
    await client.post("/v1/x", content=b"{}")
    app: Application = client.app  # type: ignore[attr-defined]
    assert app.closing_line().startswith("1 request")
