"""Section 11 of the catalogue: settings that are wrong, a port in use, stopping and starting."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import StartTap
from tests.support import bodies, steps
from tests.support.client import Client
from tests.support.load import Load
from tests.support.tap import ROOT, LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Ended, Header

CHAT = "/v1/chat/completions"


def run(
    folder: Path, *args: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "src.main", *args],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )


UPSTREAM = "upstreams:\n  - type: openai\n"
BAD_CONFIGS = {
    "unknown_key": ("prot: 3000\n", 1, ["prot", "port"]),
    "unknown_nested_key": (
        UPSTREAM + "    base_ulr: https://a.test\n",
        3,
        ["base_ulr", "base_url"],
    ),
    "bad_url": (UPSTREAM + "    base_url: nonsense\n", 3, ["base_url"]),
    "other_scheme": (UPSTREAM + "    base_url: ftp://a.test\n", 3, ["base_url"]),
    "unset_variable": (UPSTREAM + "    api_key: ${NO_SUCH_VARIABLE}\n", 3, ["NO_SUCH_VARIABLE"]),
    "negative_limit": ("limits:\n  in_flight: -1\n", 2, ["in_flight"]),
    "negative_time": ("timeouts:\n  idle_s: -0.5\n", 2, ["idle_s"]),
    "word_for_number": ("port: many\n", 1, ["port"]),
    "port_too_large": ("port: 70000\n", 1, ["port"]),
    "unknown_type": ("upstreams:\n  - type: opnai\n", 2, ["opnai", "openai"]),
    "unknown_middleware": ("middlewares:\n  - trase\n", 2, ["trase", "trace"]),
    "unknown_option": ("middlewares:\n  - trace: {dri: x}\n", 2, ["dri", "dir"]),
    "unknown_level": ("log_level: loud\n", 1, ["loud"]),
    "not_yaml": ("a: [1\n", None, []),
    "not_a_mapping": ("- a\n", None, []),
    "no_address": ("upstreams:\n  - type: azure\n", 2, ["base_url"]),
    "no_ca_file": (UPSTREAM + "    ca_file: /no/such/file.pem\n", 3, ["ca_file"]),
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """name → (exit code, output) of `check` for each bad config, two at a time."""

    def check(name: str) -> tuple[int, str]:
        text = BAD_CONFIGS[name][0]
        if "upstreams" not in text and name not in ("not_yaml", "not_a_mapping"):
            text += UPSTREAM
        folder = tmp_path_factory.mktemp(name)
        (folder / "config.yaml").write_text(text)
        done = run(folder, "check", "-c", "config.yaml")
        return done.returncode, done.stdout + done.stderr

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(BAD_CONFIGS, pool.map(check, BAD_CONFIGS), strict=True))


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_r118_each_mistake_is_one_line_with_its_place(
    checked: dict[str, tuple[int, str]], name: str
) -> None:
    _, line, words = BAD_CONFIGS[name]
    code, out = checked[name]
    assert code == 2, out
    assert "Traceback" not in out
    lines = [text for text in out.splitlines() if "config.yaml" in text]
    assert len(lines) == 1, out
    if line is not None:
        assert f"config.yaml:{line}" in lines[0]
    assert all(word in lines[0] for word in words), out


def test_r118_serving_says_the_same_as_check(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("prot: 3000\nlimits:\n  in_flight: -1\n" + UPSTREAM)
    checked = run(tmp_path, "check", "-c", "config.yaml")
    served = run(tmp_path, "-c", "config.yaml")
    assert served.returncode == checked.returncode == 2
    for line in (checked.stdout + checked.stderr).splitlines():
        if "config.yaml:" in line:
            assert line in served.stdout + served.stderr


def test_r118_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("prot: 1\nlog_level: loud\n" + UPSTREAM)
    out = run(tmp_path, "check", "-c", "config.yaml")
    assert "config.yaml:1" in out.stdout + out.stderr
    assert "config.yaml:2" in out.stdout + out.stderr


def test_r118_trace_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(tmp_path, "--type", "openai", "--trace-dir", "file/traces", "--port", "0")
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert "file/traces" in done.stdout + done.stderr


def test_r118_check_of_a_good_config_binds_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / "config.yaml").write_text(UPSTREAM + f"port: {taken.getsockname()[1]}\n")
        done = run(tmp_path, "check", "-c", "config.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_r119_port_in_use_is_one_plain_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(tmp_path, "--type", "openai", "--port", port)
    out = (done.stdout + done.stderr).strip()
    assert done.returncode not in (0, None)
    assert port in out
    assert "Traceback" not in out
    assert len(out.splitlines()) == 1, out


def test_command_without_type_or_address_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert "--type" in done.stdout + done.stderr or "--base-url" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_start_takes_under_a_second_to_the_first_answer(
    upstream: Upstream, start_tap: StartTap
) -> None:
    took = []
    for _ in range(3):
        began = time.monotonic()
        tap = start_tap(base_url=upstream.url, args=["--quiet"])
        assert tap.call("GET", "/v1/models").status == 200
        took.append(time.monotonic() - began)
        tap.stop()
    assert min(took) < 1, took


def test_start_prints_what_one_needs(upstream: Upstream, start_tap: StartTap) -> None:
    tap = start_tap(base_url=upstream.url, kind="anthropic")
    tap.call("GET", "/v1/models")
    for wanted in (tap.url, upstream.url, tap.trace_dir.name, "ANTHROPIC_BASE_URL"):
        assert wanted in tap.output
    assert "trace" in tap.output


def test_quiet_prints_nothing_when_all_is_well(upstream: Upstream, start_tap: StartTap) -> None:
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    assert tap.call("GET", "/v1/models").status == 200
    tap.traces(1)
    assert tap.output == ""


def test_stop_says_how_many_were_written(upstream: Upstream, start_tap: StartTap) -> None:
    tap = start_tap(base_url=upstream.url)
    for _ in range(7):
        tap.call("GET", "/v1/models")
    assert tap.stop() == 0
    assert "7" in tap.output.splitlines()[-1], tap.output
    tap.traces(7)


# --- stopping (86, 120) ---


def test_r86_sigterm_under_load_every_accepted_request_has_its_trace(
    start_tap: StartTap,
) -> None:
    slow = [steps.read_body(), steps.pause(0.02), *steps.reply(200, bodies.chat_answer())]
    with Upstream(default=tuple(slow)) as upstream:
        tap = start_tap(config=settings(upstream.url, drain={"streams_s": 3}, quiet=True))
        load = Load(tap.address, seed=5).start()
        time.sleep(0.4)
        tap.terminate()
        code = tap.wait(8)
        ledger = load.stop()
        seen = {
            word
            for connection in upstream.connections
            for word in re.split(r"[\s\"?]", connection.received.decode("latin-1"))
            if word.startswith("mark-")
        }
    assert code == 0
    texts = [path.read_text() for path in tap.files()]
    for marker in ledger.answered | seen:
        assert sum(marker in text for text in texts) == 1
    assert ledger.answered - ledger.whole == set(), "an answer was cut within the drain time"
    assert {d["termination"]["cause"] for _, d in tap.documents()} == {"ok"}
    assert {d["state"] for _, d in tap.documents()} == {"complete"}


def test_r120_sigterm_refuses_new_connections_at_once(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(config=settings(upstream.url, drain={"streams_s": 5}, quiet=True))
    go = threading.Event()
    upstream.script(case, *steps.stream([b"data: 1\n\n"], end=steps.wait(go)), steps.end_chunks())
    with Client(tap.address) as client:
        client.request("POST", CHAT, tagged, b"{}")
        client.answer_head()
        tap.terminate()
        deadline = time.monotonic() + 1
        refused = False
        while not refused and time.monotonic() < deadline:
            time.sleep(0.02)
            try:
                Client(tap.address, timeout=0.2).close()
            except OSError:
                refused = True
        assert refused
        go.set()
        assert client.wire.chunk() == b"data: 1\n\n"
        assert client.wire.chunk() == b""
    assert tap.wait(3) == 0


def test_r120_idle_connections_do_not_hold_up_the_stop(
    upstream: Upstream, start_tap: StartTap
) -> None:
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    with Client(tap.address) as idle, Client(tap.address):
        idle.request("GET", "/v1/models")
        idle.answer()
        began = time.monotonic()
        tap.terminate()
        assert tap.wait(5) == 0
        assert time.monotonic() - began < 1.5


# Puts the socket where sd_listen_fds(3) wants it, then becomes the program.
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def test_r120_a_restart_under_load_refuses_nothing_where_the_socket_is_handed_over(
    upstream: Upstream, tmp_path: Path
) -> None:
    tap = LLMTap(tmp_path / "tap", base_url=upstream.url, args=["--quiet"])
    tap.folder.mkdir(parents=True)
    failed: list[str] = []
    served = 0
    over = threading.Event()

    def ask() -> None:
        nonlocal served
        while not over.is_set():
            try:
                assert tap.call("GET", "/v1/models", timeout=10).status == 200
                served += 1
            except (OSError, AssertionError, Ended) as error:
                failed.append(repr(error))

    with socket.create_server(("127.0.0.1", tap.port), backlog=1024) as listening:
        fd = listening.fileno()

        def start() -> subprocess.Popen[bytes]:
            interpreter, *arguments = tap.command()
            return subprocess.Popen(
                [interpreter, "-c", HAND_OVER, str(fd), *arguments],
                cwd=tap.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                pass_fds=[fd],
            )

        process = start()
        clients = [threading.Thread(target=ask) for _ in range(4)]
        try:
            for client in clients:
                client.start()
            for _ in range(3):
                before = served
                wait_until(lambda before=before: served > before + 50)
                process.terminate()
                assert process.wait(10) == 0
                process = start()
        finally:
            over.set()
            for client in clients:
                client.join(10)
            process.terminate()
            process.wait(10)
    assert not failed, (len(failed), served, failed[:3])


def wait_until(holds: Callable[[], bool], timeout: float = 15) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_r120_second_signal_cuts(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header], sig: signal.Signals
) -> None:
    tap = start_tap(config=settings(upstream.url, drain={"streams_s": 20}, quiet=True))
    upstream.script(case, *steps.stream([b"data: 1\n\n"], end=steps.until_closed()))
    with Client(tap.address) as client:
        client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
        client.answer_head()
        client.wire.chunk()
        assert tap.process is not None
        tap.process.send_signal(sig)
        time.sleep(0.3)
        assert tap.process.poll() is None
        tap.process.send_signal(sig)
        tap.wait(5)
    assert tap.trace(case)["termination"]["cause"] == "shutdown"


def test_r120_sigterm_the_moment_it_listens_is_an_orderly_stop(
    upstream: Upstream, start_tap: StartTap
) -> None:
    codes = [start_tap(base_url=upstream.url, args=["--quiet"]).stop() for _ in range(4)]
    assert codes == [0] * 4


def test_no_process_is_left_after_the_stop(upstream: Upstream, start_tap: StartTap) -> None:
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    tap.call("GET", "/v1/models")
    tap.terminate()
    assert tap.wait(5) == 0
    deadline = time.monotonic() + 1
    while tap.members() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert tap.members() == []


def test_children_end_when_the_proxy_is_killed(upstream: Upstream, start_tap: StartTap) -> None:
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    tap.call("GET", "/v1/models")
    tap.kill9()
    deadline = time.monotonic() + 3
    while tap.members() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert tap.members() == []


def test_killed_recorder_is_replaced_and_nothing_is_lost(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    import os  # noqa: PLC0415

    tap: LLMTap = start_tap(base_url=upstream.url, args=["--quiet"])
    for number in range(20):
        if number == 10:
            for pid in tap.members():
                if pid != tap.pid:
                    os.kill(pid, signal.SIGKILL)
        assert tap.call("GET", f"/v1/x?{case}").status == 200
    tap.stop()
    found = len(tap.documents(case))
    if found < 20:
        tap.restart()
        tap.traces(20, having=case)


def test_r91_processes_side_by_side_lose_no_trace(
    upstream: Upstream, start_tap: StartTap, case: str, request: pytest.FixtureRequest
) -> None:
    """`--trace-requests 80000` for the whole of it."""
    count = request.config.getoption("--trace-requests")
    tap = start_tap(config=settings(upstream.url, workers=4, quiet=True))

    def some(connection: int) -> None:
        with tap.client() as client:
            for number in range(connection, count, 16):
                client.request("POST", f"/v1/x?{case}-{number}", None, b"{}")
                assert client.answer().status == 200

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(some, range(16)))
    assert tap.stop() == 0
    found = {doc["request"]["query"] for doc in tap.traces(count, having=case, timeout=60)}
    assert len(found) == count
