"""Somebody else's package, installed for real: named like a built-in, and broken in each way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import StartTap
from tests.support import steps
from tests.support.tap import ROOT, LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header

CHAT = "/v1/chat/completions"
PACKAGE = Path(__file__).parent / "acme_redact"
FAULTY = "acme_redact.faulty:Faulty"
BREAK = (b"X-Break", b"1")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the package is installed: pip into a folder of its own."""
    source = tmp_path_factory.mktemp("source")
    target = tmp_path_factory.mktemp("site")
    for path in PACKAGE.rglob("*"):
        if path.suffix in {".py", ".toml"}:
            copy = source / path.relative_to(PACKAGE)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--disable-pip-version-check", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"PYTHONPATH": os.pathsep.join((str(ROOT), str(target)))}


Member = str | dict[str, object]


@pytest.fixture
def with_member(start_tap: StartTap, upstream: Upstream, installed: dict[str, str]) -> StartTap:
    """The program with trace and one further member in its chain."""

    def start(member: Member, *, wait: bool = True) -> LLMTap:
        config = settings(upstream.url, middlewares=["trace", member])
        return start_tap(config=config, env=installed, wait=wait)

    return start


def refusal(tap: LLMTap) -> list[str]:
    """What a program that does not start has said."""
    tap.launch()
    assert tap.wait(15) != 0
    return [line for line in tap.output.splitlines() if line]


@pytest.mark.parametrize("name", ["acme_redact", "acme_redact:Redact"])
def test_works_by_name_and_by_path(
    with_member: StartTap, upstream: Upstream, case: str, tagged: list[Header], name: str
) -> None:
    tap = with_member({name: {"fields": ["ssn"]}})
    assert tap.call("POST", CHAT, tagged, b'{"model":"m","ssn":"1-2"}').status == 200
    assert json.loads(bytes(upstream.request(case).body)) == {"model": "m"}
    trace = tap.trace(case)
    assert trace["forwarded"]["body_changed"]
    assert trace["ext"] == {"acme_redact": {"one_package": True}}
    assert f"trace → {name} → forward" in tap.output


def test_works_by_use(with_member: StartTap, tagged: list[Header]) -> None:
    tap = with_member({"use": "acme_redact:Redact", "fields": ["ssn"]})
    assert tap.call("POST", CHAT, tagged, b"{}").status == 200


WRONG: dict[str, tuple[Member, str]] = {
    "misspelt option": (
        {"acme_redact": {"feilds": []}},
        "feilds: unknown key; did you mean fields?",
    ),
    "missing option": ({"acme_redact": {}}, "acme_redact.fields: is missing; it has no default"),
    "wrong option": (
        {"acme_redact": {"fields": 5}},
        "acme_redact.fields: is a number; give a list",
    ),
    "unknown name": ("acme_redcat", "unknown middleware 'acme_redcat'; did you mean acme_redact?"),
    "name of nothing": ("acme_gone", "acme_redact has no Gone; check its spelling"),
    "path to nothing": ("acme_redact:Redcat", "acme_redact has no Redcat; did you mean Redact?"),
    "path to no module": ("acme_redcat:Redact", "there is no module acme_redcat; install it"),
    "no class": ("acme_redact:json", "acme_redact:json is no class; name the middleware's class"),
    "broken import": (
        "acme_broken",
        "ModuleNotFoundError: No module named 'acme_is_not_installed' (broken.py:3); mend it there",
    ),
    "constructor": (
        {FAULTY: {"at": "constructor"}},
        f"{FAULTY} cannot be made: RuntimeError: acme broke at constructor (faulty.py:",
    ),
    "start": (
        {FAULTY: {"at": "start"}},
        f"{FAULTY} cannot start: RuntimeError: acme broke at start (faulty.py:",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_keeps_it_from_starting_is_one_clear_line(with_member: StartTap, case: str) -> None:
    member, expected = WRONG[case]
    lines = refusal(with_member(member, wait=False))
    if case == "start":  # uvicorn adds that it ends
        lines = [line for line in lines if "Application startup failed. Exiting." not in line]
    else:
        assert re.search(r"config\.yaml:\d+[: ]", lines[0]), lines
    assert len(lines) == 1, lines
    assert expected in lines[0]


def logged(tap: LLMTap, *texts: str) -> str:
    """The one line of the log that holds these."""
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        lines = [x for x in tap.output.splitlines() if all(text in x for text in texts)]
        if lines:
            assert len(lines) == 1, lines
            return lines[0]
        time.sleep(0.02)
    raise AssertionError(f"no line with {texts}:\n{tap.output}")


@pytest.mark.parametrize("at", ["before", "after"])
def test_exception_costs_that_request_a_500_and_nothing_else(
    with_member: StartTap, upstream: Upstream, case: str, tagged: list[Header], at: str
) -> None:
    tap = with_member({FAULTY: {"at": at}})
    upstream.script(case, *steps.stream([b"data: {}\n\n"], end=steps.until_closed(30)))
    answer = tap.call("POST", CHAT, [*tagged, BREAK], b"{}")
    assert answer.status == 500
    identity = (answer.one("x-llmtap-id") or b"").decode()
    error = json.loads(answer.body)
    assert identity
    assert identity in error["error"]["message"]
    assert b"acme" not in answer.body
    line = logged(tap, identity, "RuntimeError")
    assert FAULTY in line
    assert f"acme broke at {at}" in line
    trace = tap.trace(case)
    assert trace["termination"]["cause"] == "rejected"
    assert FAULTY in trace["termination"]["detail"]
    assert upstream.hits(case) == (at == "after")
    if at == "after":  # the answer that nobody reads is let go: its connection is closed
        wanted = upstream.request(case).connection
        upstream.wait(lambda: wanted.ended is not None, 3, "the upstream's connection is kept open")
    assert tap.call("POST", CHAT, [(b"X-Case", b"next")], b"{}").status == 200


def test_answer_in_place_of_the_upstreams_lets_that_go(
    with_member: StartTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    tap = with_member({FAULTY: {"at": "instead"}})
    upstream.script(case, *steps.stream([b"data: {}\n\n"], end=steps.until_closed(30)))
    assert tap.call("POST", CHAT, [*tagged, BREAK], b"{}").status == 403
    wanted = upstream.request(case).connection
    upstream.wait(lambda: wanted.ended is not None, 3, "the upstream's connection is kept open")


@pytest.mark.parametrize("at", ["request_chunk", "chunk", "finish"])
def test_observer_that_raises_costs_the_request_nothing(
    with_member: StartTap, upstream: Upstream, case: str, tagged: list[Header], at: str
) -> None:
    tap = with_member({FAULTY: {"at": at}})
    upstream.script(case, *steps.stream([b"data: {}\n\n"] * 3, gap_s=0.05))
    answer = tap.call("POST", CHAT, [*tagged, BREAK], b"{}")
    assert (answer.status, answer.complete, answer.body) == (200, True, b"data: {}\n\n" * 3)
    assert bytes(upstream.request(case).body) == b"{}"
    assert "observer failed" in logged(tap, f"acme broke at {at}")
    trace = tap.trace(case)
    assert trace["response"]["status"] == 200
    assert len(trace["stream"]["events"]) == 3
    assert trace["request"]["body"]["value"] == {}


def test_observer_that_raises_on_a_body_that_comes_later_costs_the_request_nothing(
    with_member: StartTap, upstream: Upstream, case: str
) -> None:
    tap = with_member({FAULTY: {"at": "request_chunk"}})
    with tap.client() as client:
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Break: 1\r\nX-Case: "
            + case.encode()
            + b"\r\nContent-Length: 4\r\n\r\n"
        )
        for piece in (b"{", b"  ", b"}"):
            time.sleep(0.1)
            client.send(piece)
        assert client.answer("POST").status == 200
    assert bytes(upstream.request(case).body) == b"{  }"
    logged(tap, "acme broke at request_chunk")  # once: it is dropped
    assert tap.trace(case)["request"]["body"]["wire_bytes"] == 4


def test_transform_that_raises_cuts_the_answer(
    with_member: StartTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    tap = with_member({FAULTY: {"at": "transform"}})
    upstream.script(case, *steps.stream([b"data: {}\n\n"] * 3, gap_s=0.05))
    answer = tap.call("POST", CHAT, [*tagged, BREAK], b"{}")
    assert answer.end == "cut" or answer.status == 500
    logged(tap, "acme broke at transform")
    assert tap.call("POST", CHAT, [(b"X-Case", b"next")], b"{}").status == 200


def test_exception_at_the_stop_is_told_and_the_rest_is_closed(
    with_member: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = with_member({FAULTY: {"at": "stop"}})
    assert tap.call("POST", CHAT, tagged, b"{}").status == 200
    assert tap.stop() == 0
    assert "Faulty" in logged(tap, "acme broke at stop")
    assert tap.trace(case)["response"]["status"] == 200
