"""Under a server that binds by itself, what is not to be reached from beyond is not served there.

# reliability 105
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from src.app import build
from src.config.settings import MiddlewareSpec, Settings, UpstreamSettings
from src.keys import new_key


async def status(settings: Settings, server: tuple[str, int | None] | None, path: str) -> int:
    told: list[dict[str, object]] = []
    body = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, object]:
        for message in body:
            return message
        return await asyncio.get_running_loop().create_future()  # the client waits

    async def send(message: dict[str, object]) -> None:
        told.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"x")],
        "http_version": "1.1",
        "server": server,
        "client": ("192.0.2.1", 1),
    }
    await build(settings)(scope, receive, send)  # type: ignore[arg-type]  # ASGI's loose types
    return int(str(told[0]["status"]))


def settings(tmp_path: Path, *chain: MiddlewareSpec, allow_open: bool = False) -> Settings:
    # An upstream with a prefix: what is served and not below it is a 404.
    upstream = UpstreamSettings(type="openai", base_url="http://127.0.0.1:9", prefix="/up")
    return Settings(
        upstreams=(upstream,), middlewares=chain, trace_dir=tmp_path, allow_open=allow_open
    )


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (("192.0.2.7", 3000), 403),
        (("::ffff:192.0.2.7", 3000), 403),
        (("127.0.0.1", 3000), 404),
        (("::1", 3000), 404),
        (("/run/llmtap.sock", None), 404),
        (None, 404),
    ],
)
async def test_without_auth_only_this_machine_is_served(
    tmp_path: Path, server: tuple[str, int | None] | None, expected: int
) -> None:
    assert await status(settings(tmp_path), server, "/x") == expected


async def test_health_is_for_all(tmp_path: Path) -> None:
    assert await status(settings(tmp_path), ("192.0.2.7", 3000), "/health") == 200


async def test_with_auth_or_told_to_it_is_open(tmp_path: Path) -> None:
    keys = {"keys": [{"label": "a", "key": new_key()}]}
    beyond = ("192.0.2.7", 3000)
    gated = settings(tmp_path, MiddlewareSpec("auth", keys))
    assert await status(gated, beyond, "/x") == 401
    assert await status(settings(tmp_path, allow_open=True), beyond, "/x") == 404
