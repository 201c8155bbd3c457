"""HTTP archives, as the validator from npm judges them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from src.cli.root import build_cli
from src.views.har import entry
from tests.clients.npm import InstallError, install
from tests.record.kit import example
from tests.support.steps import fin, reply
from tests.support.tap import LLMTap
from tests.support.upstream import Upstream

_JUDGE = """
const har = JSON.parse(require("fs").readFileSync(0));
require("har-validator").har(har).then(() => process.exit(0),
  error => { console.log(JSON.stringify(error.errors)); process.exit(1) });
"""


@pytest.fixture(scope="module")
def validator(request: pytest.FixtureRequest) -> Path:
    """A folder with har-validator in it, kept from run to run."""
    folder = Path(request.config.cache.mkdir("npm-har"))
    try:
        install(folder, {"har-validator": "5.1.5"})
    except InstallError as error:
        pytest.skip(str(error))
    return folder


def judge(validator: Path, archive: bytes) -> str:
    """What is wrong with it; "" if nothing is."""
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run(
        [node, "-e", _JUDGE],
        input=archive,
        cwd=validator,
        check=False,
        capture_output=True,
        timeout=20,
    )
    return (done.stdout + done.stderr).decode() if done.returncode else ""


def test_validator_tells_a_bad_archive(validator: Path) -> None:
    assert judge(validator, b'{"log": {"version": "1.2"}}')


def test_archive_of_all_kinds_of_traces_is_valid(
    validator: Path, tap: LLMTap, upstream: Upstream, case: str
) -> None:
    upstream.script(f"{case}-gone", fin())
    upstream.script(f"{case}-moved", *reply(302, b"", (b"Location", b"/elsewhere")))
    targets = [
        ("POST", "/v1/chat/completions", b'{"model": "m", "messages": []}'),
        ("POST", "/v1/files", bytes(range(256))),
        ("GET", "/v1/models?key=sk-canary-of-the-har&a=[1]", None),
        ("GET", f"/v1/models?{case}-gone", None),
        ("GET", f"/v1/models?{case}-moved", None),
    ]
    for method, target, body in targets:
        tap.call(method, target, [(b"X-Case", case.encode())], body)
    tap.traces(len(targets), having=case)
    found = CliRunner().invoke(
        build_cli(), ["export", "--format", "har", "--trace-dir", str(tap.trace_dir)]
    )
    assert found.exit_code == 0, found.output
    assert not judge(validator, found.stdout_bytes)
    entries = json.loads(found.stdout)["log"]["entries"]
    assert len(entries) >= len(targets)
    starts = [each["startedDateTime"] for each in entries]
    assert starts == sorted(starts)
    assert "canary" not in found.stdout


def test_empty_and_streamed_ones_are_valid(validator: Path) -> None:
    assert not judge(validator, json.dumps({"log": _log([entry(example())])}).encode())


def _log(entries: list[dict[str, Any]]) -> dict[str, Any]:
    creator = {"name": "llmtap", "version": "0"}
    return {"version": "1.2", "creator": creator, "entries": entries}


def test_timed_events_and_the_joined_stream() -> None:
    found, trace = entry(example()), example()
    assert found["_events"] == trace["stream"]["events"]
    raws = "".join(event["raw"] for event in trace["stream"]["events"])
    assert found["response"]["content"]["text"] == raws


def test_timings_add_up_to_the_whole_time() -> None:
    found = entry(example())
    spent = sum(ms for name, ms in found["timings"].items() if ms > 0 and name != "ssl")
    assert spent == pytest.approx(found["time"], abs=0.01)


def test_unanswered_request_has_status_0() -> None:
    trace = example() | {"response": None, "stream": None}
    assert entry(trace)["response"]["status"] == 0
