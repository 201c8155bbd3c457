"""`llmtap tail` beside the real program: start, progress and end, while a stream runs."""

from __future__ import annotations

import json
import os
import pty
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import bodies, steps
from tests.support.tap import LLMTap
from tests.support.upstream import Upstream
from tests.support.wire import Header

ROOT = Path(__file__).parents[2]
CHAT = "/v1/chat/completions"
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "sea"}}]}\n\n'


@pytest.fixture(autouse=True, scope="module")
def heed_ctrl_c() -> Iterator[None]:
    """What runs in the background inherits that SIGINT is ignored; our children must not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Tailing:
    """A running `tail --json` or plain one, its lines as they come."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "src.main", "tail", "--trace-dir", str(folder)]
        self.process = subprocess.Popen(
            [*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.decode())

    def until(self, fits: Callable[[dict], bool], timeout: float = 15) -> dict:
        deadline = time.monotonic() + timeout
        while True:
            line = json.loads(self.lines.get(timeout=max(deadline - time.monotonic(), 0.01)))
            if fits(line):
                return line

    def stop(self) -> tuple[int, bytes]:
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=30)  # it is nice to all others
        return self.process.returncode, errors


@pytest.fixture
def tailing() -> Iterator[Callable[..., Tailing]]:
    started: list[Tailing] = []

    def start(folder: Path, *arguments: str) -> Tailing:
        started.append(Tailing(folder, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def streaming(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> tuple[threading.Event, threading.Thread]:
    """A stream that has brought two events and waits; set the event to let it end."""
    go_on = threading.Event()
    head = steps.stream([EVENT, EVENT])[:-1]
    rest = (steps.wait(go_on, 30), steps.chunk(EVENT), steps.chunk(b"data: [DONE]\n\n"))
    upstream.script(case, *head, *rest, steps.end_chunks())
    body = bodies.chat_request(case, stream=True)
    client = threading.Thread(target=lambda: tap.call("POST", CHAT, tagged, body, timeout=40))
    client.start()
    return go_on, client


def test_a_stream_is_shown_from_its_start_to_its_end(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], tailing
) -> None:
    tail = tailing(tap.trace_dir, "--json", "--last", "0", "--every", "0.2")
    go_on, client = streaming(upstream, tap, case, tagged)
    started = tail.until(lambda line: line["event"] == "start")
    identity = started["id"]
    assert (started["model"], started["path"]) == ("gpt-4o", CHAT)
    progress = tail.until(lambda line: line["event"] == "progress" and line["events"] == 2)
    assert (progress["id"], progress["status"]) == (identity, 200)
    assert progress["response_bytes"] == 2 * len(EVENT)
    again = tail.until(lambda line: line["event"] == "progress")
    assert again["elapsed_ms"] > progress["elapsed_ms"] > 0
    go_on.set()
    end = tail.until(lambda line: line["event"] == "end")
    client.join()
    trace = tap.trace(case)
    assert (
        (end["id"], end["cause"])
        == (identity, "ok")
        == (trace["id"], trace["termination"]["cause"])
    )
    assert end["duration_ms"] == trace["summary"]["duration_ms"]
    assert tail.stop() == (130, b"")


def test_what_ran_before_is_found_and_others_are_left_out(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], tailing
) -> None:
    go_on, client = streaming(upstream, tap, case, tagged)
    other = tailing(tap.trace_dir, "--json", "--last", "0", "-model:gpt*")
    tail = tailing(tap.trace_dir, "--json", "--last", "0", "model:gpt*", "cause:ok")
    started = tail.until(lambda line: line["event"] == "start")
    upstream.script(case.replace("case", "kase"), *steps.reply(500, b"{}"))
    more = [(b"X-Case", case.replace("case", "kase").encode()), tagged[1]]
    deadline = time.monotonic() + 15
    while other.lines.empty() and time.monotonic() < deadline:  # until it is up and looks
        assert tap.call("GET", "/v1/models", more).status == 500
        time.sleep(0.1)
    assert other.until(lambda _: True)["path"] == "/v1/models"
    go_on.set()
    client.join()
    assert tail.until(lambda line: line["event"] == "end")["id"] == started["id"]
    while not other.lines.empty():
        assert started["id"] not in other.lines.get()


def test_a_status_that_has_come_chooses_while_the_stream_runs(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], tailing
) -> None:
    go_on, client = streaming(upstream, tap, case, tagged)
    good = tailing(tap.trace_dir, "--json", "--last", "0", "--every", "0.1", "status:200")
    bad = tailing(tap.trace_dir, "--json", "--last", "0", "--every", "0.1", "status:>=400")
    identity = good.until(lambda line: line["event"] == "progress" and line["events"] == 2)["id"]
    upstream.script(case.replace("case", "kase"), *steps.reply(500, b"{}"))
    more = [(b"X-Case", case.replace("case", "kase").encode()), tagged[1]]
    deadline = time.monotonic() + 15
    while bad.lines.empty() and time.monotonic() < deadline:  # until it is up and looks
        assert tap.call("GET", "/v1/models", more).status == 500
        time.sleep(0.1)
    assert bad.until(lambda line: line["event"] == "end")["status"] == 500
    go_on.set()
    client.join()
    good.until(lambda line: line["event"] == "end" and line["id"] == identity)
    while not bad.lines.empty():
        assert identity not in bad.lines.get()


def test_plain_lines_are_one_an_event(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], tailing
) -> None:
    tail = tailing(tap.trace_dir, "--last", "0", "--every", "0.2")
    go_on, client = streaming(upstream, tap, case, tagged)
    told = [tail.lines.get(timeout=15) for _ in range(2)]
    go_on.set()
    client.join()
    while not told[-1].startswith("end"):
        told.append(tail.lines.get(timeout=15))
    assert told[0].startswith("start ")
    assert CHAT in told[0]
    assert told[1].startswith("run ")
    assert " 200 " in told[-1]
    assert not any("\x1b" in line for line in told)


def test_on_a_terminal_what_runs_stands_below(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    go_on, client = streaming(upstream, tap, case, tagged)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "src.main",
            "tail",
            "--trace-dir",
            str(tap.trace_dir),
            "--last",
            "0",
        ],
        cwd=ROOT,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "140", "TERM": "xterm"},
    )
    os.close(theirs)
    seen = b""
    while b"2 events" not in seen:
        seen += os.read(ours, 65536)
    assert b"streams" in seen
    go_on.set()
    client.join()
    identity = tap.trace(case)["id"].encode()
    seen = b""
    while not (b"ok" in seen and identity in seen):
        seen += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    reader = threading.Thread(target=lambda: _drain(ours))
    reader.start()
    _, errors = process.communicate(timeout=30)  # it is nice to all others
    os.close(ours)
    reader.join()
    assert (process.returncode, errors) == (130, b"")


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        pass


def test_a_request_of_a_killed_proxy_does_not_run_for_ever(
    upstream: Upstream, start_tap, case: str, tagged: list[Header], tailing
) -> None:
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    tail = tailing(tap.trace_dir, "--json", "--last", "0", "--every", "0.2")
    head = steps.stream([EVENT])[:-1]
    upstream.script(case, *head, steps.until_closed(20))
    with tap.client() as client:
        client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
        started = tail.until(lambda line: line["event"] == "start")
        tap.kill9()
        end = tail.until(lambda line: line["event"] == "end", timeout=20)
    assert (end["id"], end["state"], end["cause"]) == (started["id"], "recovered", "crash")
