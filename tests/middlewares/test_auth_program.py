"""auth in the running program: each place, nothing of a key in traces, logs or upstream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.keys import hash_key, new_key
from tests.conftest import StartTap
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header

CHAT = "/v1/chat/completions"
KEY, EXPIRED, STRANGER = new_key(), new_key(), new_key()
UPSTREAM_KEY = "sk-upstream-0123456789abcdef"


@pytest.fixture(scope="module", params=["", UPSTREAM_KEY], ids=["passing", "managed"])
def gate(
    request: pytest.FixtureRequest, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LLMTap]:
    keys = [
        {"label": "alice", "key": KEY, "tier": "gold"},
        {"label": "bob", "hash": hash_key(EXPIRED), "expires": "2020-01-01"},
    ]
    managed = {"upstream": {"api_key": request.param}} if request.param else {}
    config = settings(upstream.url, middlewares=["trace", {"auth": {"keys": keys}}], **managed)
    folder = tmp_path_factory.mktemp("gate")
    tap = LLMTap(folder, config=config, args=["--log-level", "debug"])
    try:
        yield tap.start()
    finally:
        tap.stop()


def written(tap: LLMTap) -> bytes:
    """All that is on disk beside the config, and all that was printed."""
    files = [path for path in tap.trace_dir.rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in files) + tap.output.encode()


PLACES: list[tuple[Header | None, str]] = [
    ((b"Authorization", b"Bearer %b"), ""),
    ((b"x-api-key", b"%b"), ""),
    ((b"x-goog-api-key", b"%b"), ""),
    ((b"api-key", b"%b"), ""),
    ((b"X-Client-API-Key", b"%b"), ""),
    (None, "?key=%s&alt=sse"),
]


@pytest.mark.parametrize(("header", "query"), PLACES)
@pytest.mark.parametrize("key", [KEY, EXPIRED, STRANGER], ids=["known", "expired", "stranger"])
def test_each_place(
    gate: LLMTap,
    upstream: Upstream,
    case: str,
    tagged: list[Header],
    header: Header | None,
    query: str,
    key: str,
) -> None:
    headers = [*tagged, (header[0], header[1] % key.encode())] if header else tagged
    answer = gate.call("POST", CHAT + (query % key if query else ""), headers, b"{}")
    trace = gate.trace(case)
    assert trace["client"]["key_label"] == {KEY: "alice", EXPIRED: "bob"}.get(key)
    if key != KEY:
        assert answer.status == 401
        assert json.loads(answer.body)["error"]["code"] == "invalid_api_key"
        assert upstream.hits(case) == 0
        assert trace["termination"]["cause"] == "rejected"
        assert "auth" in trace["termination"]["detail"]
    else:
        assert answer.status == 200
        seen = upstream.request(case).head
        assert key.encode() not in seen.raw
        managed = b"Bearer " + UPSTREAM_KEY.encode() in seen.all("authorization")
        assert managed == ("api_key" in str(gate.config))
        assert trace["forwarded"]["changed"]
        if query:
            assert trace["forwarded"]["url"].endswith("?alt=sse")
        elif header is not None:
            assert header[0].decode().lower() in str(trace["forwarded"]["header_changes"]).lower()
    held = written(gate)
    assert all(secret.encode() not in held for secret in (KEY, EXPIRED, STRANGER, UPSTREAM_KEY))
    assert hash_key(EXPIRED).encode() not in held


def test_health_needs_no_key(gate: LLMTap) -> None:
    assert gate.call("GET", "/health").status == 200


def test_nothing_else_does_without(gate: LLMTap, case: str, tagged: list[Header]) -> None:
    assert gate.call("GET", "/v1/models", tagged).status == 401
    assert gate.call("GET", "/nowhere", [*tagged, (b"X-Api-Key", STRANGER.encode())]).status == 401


def test_key_in_a_trailer_lets_nobody_in(gate: LLMTap, upstream: Upstream, case: str) -> None:
    """# reliability 5"""
    with gate.client() as client:
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Case: " + case.encode() + b"\r\n"
            b"Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n2\r\n{}\r\n0\r\n"
            b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n"
        )
        assert client.answer("POST").status == 401
    assert upstream.hits(case) == 0


def test_keys_file_changes_without_a_restart(
    start_tap: StartTap, upstream: Upstream, tmp_path: Path, tagged: list[Header]
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"keys:\n  - label: alice\n    hash: {hash_key(KEY)}\n")
    auth = {"auth": {"keys_file": str(path), "reload_s": 0.1}}
    tap = start_tap(config=settings(upstream.url, middlewares=["trace", auth]))

    def status(key: str) -> int:
        return tap.call("POST", CHAT, [*tagged, (b"x-api-key", key.encode())], b"{}").status

    assert (status(KEY), status(STRANGER)) == (200, 401)
    path.write_text(f"keys:\n  - label: carol\n    hash: {hash_key(STRANGER)}\n")
    deadline = time.monotonic() + 15
    while status(STRANGER) != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (status(KEY), status(STRANGER)) == (401, 200)
    path.write_text("keys: [oops\n")
    while "stays as it was" not in tap.output and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (status(KEY), status(STRANGER)) == (401, 200)
    assert "keys.yaml:" in tap.output
