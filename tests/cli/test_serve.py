"""The program as a process: workers, reload, signals. The rest of starting and stopping is in
`tests/faults/test_operation.py`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StartTap
from tests.support import bodies, steps
from tests.support.client import Client, call
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Ended, Header

CHAT = "/v1/chat/completions"


def eventually(true: Callable[[], object], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def answers(tap: LLMTap) -> bool:
    try:
        return tap.call("GET", "/health", timeout=3).status == 200
    except (OSError, Ended):  # it is being started anew
        return False


def listens(tap: LLMTap) -> bool:
    try:
        socket.create_connection(tap.address, 1).close()
    except OSError:
        return False
    return True


def commands(tap: LLMTap) -> str:
    """The command lines of the program and all its children."""
    texts = (Path(f"/proc/{pid}/cmdline").read_bytes() for pid in tap.members())
    return b" ".join(texts).decode()


def test_port_0_is_announced_as_it_came_out(upstream: Upstream, start_tap: StartTap) -> None:
    tap = start_tap(base_url=upstream.url, args=["--port", "0"], wait=False)
    tap.launch()
    eventually(lambda: "chain" in tap.output)
    port = int(tap.output.split("http://127.0.0.1:")[1].split('"')[0])
    assert call(("127.0.0.1", port), "GET", "/health").status == 200
    assert f"OPENAI_BASE_URL=http://127.0.0.1:{port}/v1" in tap.output
    assert tap.stop() == 0


def test_a_signal_that_a_wrapper_sends_twice_counts_once(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    upstream.script(case, *steps.stream([b"data: 1\n\n", b"data: 2\n\n"], gap_s=0.4))
    with Client(tap.address) as client:
        client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
        client.answer_head()
        assert tap.process is not None
        tap.process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        tap.process.send_signal(signal.SIGINT)
        assert client.wire.chunk() == b"data: 1\n\n"
        assert client.wire.chunk() == b"data: 2\n\n"
        assert client.wire.chunk() == b""
    assert tap.wait(5) == 0


# --- several processes ---


def test_workers_get_the_flags_and_no_command_line_shows_the_key(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    env = {"LLMTAP_API_KEY": "sk-canary-in-environment"}
    tap = start_tap(base_url=upstream.url, kind="anthropic", args=["--workers", "2"], env=env)
    assert tap.call(headers=tagged, body=b"{}").status == 200
    assert upstream.request(case).head.one("x-api-key") == b"sk-canary-in-environment"
    assert "canary" not in commands(tap)
    assert "canary" not in tap.output
    assert tap.output.count("listening") == 1
    tap.trace(case)
    assert tap.stop() == 0
    assert "1 request, 1 trace written" in tap.output
    assert tap.members() == []


def test_a_key_by_flag_goes_to_the_workers_by_their_environment(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    args = ["--workers", "2", "--quiet", "--api-key", "sk-canary-flag"]
    tap = start_tap(base_url=upstream.url, args=args)
    assert tap.call(headers=tagged, body=b"{}").status == 200
    assert upstream.request(case).head.one("authorization") == b"Bearer sk-canary-flag"
    children = [pid for pid in tap.members() if pid != tap.pid]
    assert children
    for pid in children:
        assert b"canary" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_worker_that_dies_is_replaced(upstream: Upstream, start_tap: StartTap) -> None:
    tap = start_tap(base_url=upstream.url, args=["--workers", "2"])
    eventually(lambda: answers(tap))
    eventually(lambda: len(tap.recorders()) == 2)  # both are up
    workers, before = tap.workers(), len(tap.members())
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    eventually(lambda: f"worker {workers[0]} ended with code -9" in tap.output)
    eventually(lambda: len(tap.members()) == before)
    eventually(lambda: answers(tap))
    assert tap.stop() == 0


def test_workers_that_drain_leave_no_one_waiting_at_the_door(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(base_url=upstream.url, args=["--workers", "2", "--quiet"])
    upstream.script(case, *steps.stream([b"data: 1\n\n"], end=steps.pause(2)), steps.end_chunks())
    with Client(tap.address) as client:
        client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
        client.answer_head()
        assert client.wire.chunk() == b"data: 1\n\n"
        tap.terminate()
        eventually(lambda: not listens(tap), 1.5)
        assert client.wire.chunk() == b""
    assert tap.wait(5) == 0


# --- reload ---


@pytest.fixture
def reloading(upstream: Upstream, start_tap: StartTap) -> LLMTap:
    tap = start_tap(config=settings(upstream.url, reload=True))
    eventually(lambda: answers(tap))
    return tap


def write(tap: LLMTap, **sections: object) -> None:
    assert tap.config is not None
    (tap.folder / "config.yaml").write_text(json.dumps({**tap.config, **sections}))


def test_a_changed_config_is_taken_up(
    reloading: LLMTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    config = settings(upstream.url, upstream={"headers": {"X-New": "1"}}, reload=True)
    write(reloading, **config)
    eventually(lambda: "Reloading" in reloading.output)

    def taken_up() -> bool:
        if not answers(reloading):
            return False
        reloading.call(headers=tagged, body=b"{}")
        return upstream.requests(case)[-1].head.one("x-new") == b"1"

    eventually(taken_up)
    assert reloading.stop() == 0


def test_a_bad_new_config_is_told_and_the_old_one_stays(reloading: LLMTap) -> None:
    """# reliability 119"""
    children = reloading.members()
    write(reloading, prot=1)
    eventually(lambda: "the old settings stay" in reloading.output)
    assert "config.yaml:1 prot: unknown key; did you mean port?" in reloading.output
    assert answers(reloading)
    assert reloading.members() == children


def test_a_start_that_fails_in_the_workers_ends_with_3(
    upstream: Upstream, start_tap: StartTap, tmp_path: Path
) -> None:
    (tmp_path / "breaks.py").write_text(
        "class Breaks:\n"
        "    def __init__(self, options, services): ...\n"
        "    async def __call__(self, exchange, call_next): ...\n"
        "    async def start(self): raise RuntimeError('mine')\n"
    )
    config = settings(upstream.url, middlewares=["breaks:Breaks"], workers=2)
    env = {"PYTHONPATH": f"{Path(__file__).parents[2]}:{tmp_path}"}
    tap = start_tap(config=config, env=env, wait=False)
    tap.launch()
    assert tap.wait(30) == 3
    assert "RuntimeError: mine" in tap.output
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(tap.address, 1)
