"""The web process beside the real program: its life, its live feed, whose requests it tells."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartTap
from tests.support import steps
from tests.support.tap import ROOT, LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import free_port
from tests.web.kit import ADMIN, KEYS

ALICE, BOB = KEYS["alice"], KEYS["bob"]
EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
ASKED = b'{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hello"}]}'


def config(upstream: Upstream, **web: object) -> dict[str, object]:
    keys = [{"label": label, "key": KEYS[label]} for label in ("alice", "bob")]
    chain = ["trace", {"auth": {"keys": keys}}]
    return settings(
        upstream.url,
        web={"port": free_port(), "admin_key": ADMIN, **web},
        middlewares=chain,
        upstream={"api_key": "sk-upstream-0123456789"},
    )


def address(tap: LLMTap) -> str:
    assert tap.config is not None
    return f"http://127.0.0.1:{tap.config['web']['port']}"  # type: ignore[index]  # as made above


def get(tap: LLMTap, path: str, key: str = ADMIN) -> httpx.Response:
    return httpx.get(address(tap) + path, headers={"X-API-Key": key}, timeout=20)


def eventually(find: Callable[[], Any], timeout: float = 15) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := find()):
        assert time.monotonic() < deadline, f"{find} found nothing"
        time.sleep(0.02)
    return found


def rows(tap: LLMTap, key: str = ADMIN) -> list[dict[str, Any]]:
    answered = get(tap, "/api/requests", key)
    return answered.json()["requests"] if answered.status_code == 200 else []


def ask(tap: LLMTap, key: str, case: str, body: bytes = ASKED) -> Any:
    headers = [
        (b"Authorization", f"Bearer {key}".encode()),
        (b"X-Case", case.encode()),
        (b"Content-Type", b"application/json"),
    ]
    return tap.call(headers=headers, body=body, timeout=20)


def web_pid(tap: LLMTap) -> int:
    found = [pid for pid in tap.members() if _says(pid, "web.server")]
    return found[0] if found else 0


def _says(pid: int, text: str) -> bool:
    with contextlib.suppress(OSError):
        return text in Path(f"/proc/{pid}/cmdline").read_text()
    return False


class Listener:
    """Reads the live feed in a thread. `events`: (name, data)."""

    def __init__(self, tap: LLMTap, key: str, q: str = "") -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self._begun = threading.Event()
        url = httpx.URL(f"{address(tap)}/api/live", params={"q": q} if q else {})
        self._thread = threading.Thread(target=self._read, args=(url, key), daemon=True)
        self._thread.start()
        assert self._begun.wait(20)

    def _read(self, url: httpx.URL, key: str) -> None:
        name = ""
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.Client(timeout=30) as client,
            client.stream("GET", url, headers={"X-API-Key": key}) as response,
        ):
            assert response.status_code == 200
            for line in response.iter_lines():
                self._begun.set()
                self.text += line + "\n"
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    self.events.append((name, json.loads(line[6:])))

    def wait(self, name: str, **values: object) -> dict[str, Any]:
        def find() -> list[dict[str, Any]]:
            return [
                data
                for event, data in list(self.events)
                if event == name and values.items() <= data.items()
            ]

        return eventually(find)[0]

    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def ended(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()


@pytest.fixture
def tap(start_tap: StartTap, upstream: Upstream) -> Iterator[LLMTap]:
    started = start_tap(config=config(upstream))
    yield started
    started.stop()


Listen = Callable[..., Listener]


@pytest.fixture
def listen(tap: LLMTap) -> Iterator[Listen]:
    """Opens live feeds, which end with the program."""
    opened: list[Listener] = []

    def opening(key: str, q: str = "") -> Listener:
        opened.append(Listener(tap, key, q))
        return opened[-1]

    yield opening
    tap.stop()
    assert all(listener.ended(10) for listener in opened)


def test_requests_are_seen_with_the_key_that_made_them(
    tap: LLMTap, upstream: Upstream, case: str
) -> None:
    assert ask(tap, ALICE, case).status == 200
    assert ask(tap, BOB, case).status == 200
    eventually(lambda: len(rows(tap)) == 2)
    assert [row["key_label"] for row in rows(tap, ALICE)] == ["alice"]
    assert [row["key_label"] for row in rows(tap, BOB)] == ["bob"]
    (own,) = rows(tap, ALICE)
    (others,) = rows(tap, BOB)
    assert get(tap, f"/api/request/{own['id']}", ALICE).json()["id"] == own["id"]
    assert get(tap, f"/api/request/{others['id']}", ALICE).status_code == 404
    assert get(tap, "/api/requests", "wrong").status_code == 401


def test_a_stream_is_followed_while_it_runs_by_admin_and_owner_alone(
    tap: LLMTap, listen: Listen, upstream: Upstream, case: str
) -> None:
    go_on = threading.Event()
    script = list(steps.stream([EVENT, EVENT]))
    upstream.script(case, *script[:-1], steps.wait(go_on, 20), *[steps.chunk(DONE), script[-1]])
    admin, alice, bob = (listen(key) for key in (ADMIN, ALICE, BOB))
    filtered = listen(ADMIN, "model:claude*")
    asking = threading.Thread(target=ask, args=(tap, ALICE, case))
    asking.start()
    start = alice.wait("start")
    assert start["path"] == "/v1/chat/completions"
    assert admin.wait("start")["id"] == start["id"]
    progress = alice.wait("progress", events=2, status=200)
    assert progress["model"] == "gpt-4o-mini"
    late = listen(ALICE)  # is told of what runs already
    assert late.wait("start")["id"] == start["id"]
    go_on.set()
    asking.join()
    end = alice.wait("end")
    assert (end["id"], end["key_label"], end["cause"]) == (start["id"], "alice", "ok")
    admin.wait("end", id=start["id"])
    assert ask(tap, BOB, "another").status == 200  # after it, bob would have been told of the first
    bobs = bob.wait("end", key_label="bob")
    assert start["id"] not in bob.text
    assert "alice" not in bob.text
    admin.wait("end", id=bobs["id"])
    assert bobs["id"] not in alice.text + late.text
    assert "end" not in filtered.names()
    for key in (ALICE, BOB, ADMIN):
        assert key not in admin.text


def test_two_credentials_are_told_at_the_end_only(
    tap: LLMTap, listen: Listen, upstream: Upstream, case: str
) -> None:
    """Bob's request carries alice's key, too: she is told nothing, whatever auth goes by."""
    alice, bob = listen(ALICE), listen(BOB)
    headers = [
        (b"Authorization", f"Bearer {ALICE}".encode()),
        (b"X-Client-API-Key", BOB.encode()),
        (b"X-Case", case.encode()),
    ]
    assert tap.call(headers=headers, body=ASKED).status == 200
    bob.wait("end", key_label="bob")
    assert ask(tap, ALICE, "hers").status == 200
    alice.wait("end", key_label="alice")
    assert "bob" not in alice.text
    assert len({data["id"] for _, data in alice.events}) == 1


def test_the_web_process_dies_and_is_started_again_and_the_proxy_notices_nothing(
    tap: LLMTap, upstream: Upstream, case: str
) -> None:
    assert ask(tap, ALICE, case).status == 200
    eventually(lambda: rows(tap))
    first = web_pid(tap)
    os.kill(first, signal.SIGKILL)
    assert ask(tap, ALICE, case).status == 200
    # The port is still bound: who asks meanwhile waits and is served.
    eventually(lambda: len(rows(tap)) == 2)
    assert web_pid(tap) not in (0, first)
    assert "web process died" in tap.output


@pytest.mark.parametrize("stopped", [False, True], ids=["serving", "stopped by a signal"])
def test_the_main_process_is_killed_and_the_web_process_ends(tap: LLMTap, stopped: bool) -> None:
    eventually(lambda: get(tap, "/readiness").status_code == 200)
    pid = web_pid(tap)
    if stopped:  # as if its loop were stuck
        os.kill(pid, signal.SIGSTOP)
    tap.kill9()
    if stopped:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: not _says(pid, "web.server"))


def test_sigterm_ends_both_and_the_feeds(tap: LLMTap, listen: Listen) -> None:
    listener = listen(ADMIN)
    pid = web_pid(tap)
    assert tap.stop(timeout=15) == 0
    assert not _says(pid, "web.server")
    assert listener.ended(5)
    assert "Traceback" not in tap.output


def test_workers_share_one_web_process(start_tap: StartTap, upstream: Upstream, case: str) -> None:
    tap = start_tap(config=config(upstream), args=["--workers", "2"])
    for _ in range(4):
        assert ask(tap, ALICE, case).status == 200
    eventually(lambda: len(rows(tap, ALICE)) == 4)
    assert len([pid for pid in tap.members() if _says(pid, "web.server")]) == 1
    assert tap.stop(timeout=15) == 0


def test_a_port_that_is_taken_is_one_plain_line(
    start_tap: StartTap, upstream: Upstream, tap: LLMTap
) -> None:
    assert tap.config is not None
    second = start_tap(config=tap.config, wait=False)
    second.launch()
    assert second.wait() != 0
    assert "web.port: 127.0.0.1" in second.output
    assert "is in use" in second.output


def test_without_the_section_nothing_of_it_is_imported(tmp_path: Path) -> None:
    """Neither the API nor the store's libraries belong to a plain start."""
    code = (
        "import sys; from src.cli.root import build_cli; import src.cli.serve, src.app;"
        "print([m for m in sys.modules if m.split('.')[0] in ('fastapi','sqlalchemy','starlette')"
        " or m.startswith('src.web')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_two_hundred_feeds_that_nobody_reads_and_kill_9_leave_room_and_ports(
    tap: LLMTap, upstream: Upstream
) -> None:
    """Of the web process while they run, then of all there is; the same ports serve at once."""
    upstream.script("burst", *steps.reply(200, b"{}"))
    eventually(lambda: get(tap, "/readiness").status_code == 200)
    head = f"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {ADMIN}\r\n\r\n".encode()
    port = httpx.URL(address(tap)).port
    assert port is not None

    def feeds(count: int) -> list[socket.socket]:
        opened = []
        for _ in range(count):
            opened.append(sock := socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.connect(("127.0.0.1", port))
            sock.sendall(head)
        return opened

    held = feeds(200)
    with contextlib.ExitStack() as open_:
        for sock in held:
            open_.enter_context(sock)
            sock.settimeout(10)
        told = [sock.recv(12, socket.MSG_PEEK) for sock in held]
        assert {told.count(b"HTTP/1.1 200"), told.count(b"HTTP/1.1 429")} == {64, 136}
        assert {ask(tap, ALICE, "burst").status for _ in range(100)} == {200}
        eventually(lambda: len(rows(tap, ALICE)) == 50)
        first = web_pid(tap)
        os.kill(first, signal.SIGKILL)
        assert len(rows(tap)) == 50, "who connects meanwhile waits for the next"
        assert web_pid(tap) != first
        for sock in feeds(20):
            open_.enter_context(sock)
        tap.kill9(group=True)
        tap.restart()
        assert eventually(lambda: len(rows(tap)) == 50)
        assert ask(tap, ALICE, "burst").status == 200
    page, found = "/api/requests?limit=500", []
    eventually(lambda: found.append(len(get(tap, page).json()["requests"])) or found[-1] == 101)
