"""`llmtap diff`: on a folder of traces alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from src.cli.root import build_cli
from tests.record.kit import example
from tests.support.session import write_session, write_trace

Session = tuple[Path, list[str]]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("traces")
    return folder, write_session(folder, 4, 20_000)


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(build_cli(), ["diff", *arguments, "--trace-dir", str(folder)])


def compared(result: Result) -> tuple[str, str]:
    found = json.loads(result.stdout)
    return found["before"], found["after"]


def test_against_the_request_it_continues(session: Session) -> None:
    folder, ids = session
    assert compared(run(folder, ids[2], "--json")) == (ids[1], ids[2])
    text = run(folder, ids[2]).stdout
    assert text.startswith(f"- {ids[1]}")
    assert "3 messages the same, 2 added, the former answer first" in text


def test_two_ids_the_former_first(session: Session) -> None:
    folder, ids = session
    assert compared(run(folder, ids[3], ids[0], "--json")) == (ids[3], ids[0])


def test_ids_that_a_narrow_terminal_has_cut(session: Session) -> None:
    folder, ids = session
    cut = f"{ids[3][:20]}…" if ids[3][:20] != ids[0][:20] else f"…{ids[3][-8:]}"
    assert compared(run(folder, cut, f"…{ids[0][-8:]}", "--json")) == (ids[3], ids[0])
    assert compared(run(folder, f"…{ids[2][-8:]}", "--json")) == (ids[1], ids[2])


def test_of_a_filter_the_newest(session: Session) -> None:
    folder, ids = session
    assert compared(run(folder, "model:claude*", "--json")) == (ids[2], ids[3])
    assert compared(run(folder, "--json")) == (ids[2], ids[3])


def test_without_a_parent_the_one_before_it_in_its_session(tmp_path: Path) -> None:
    def put(last: str, session: str, second: int, operation: str = "messages") -> str:
        trace = example()
        trace["id"] = trace["id"][:-1] + last
        trace["session"] = {"id": session, "source": "x-session-id", "parent_id": None}
        trace["timing"]["received_at"] = f"2026-11-21T09:13:{second}.000000Z"
        trace["summary"]["operation"] = operation
        write_trace(tmp_path, trace)
        return str(trace["id"])

    first = put("1", "s", 10)
    put("2", "s", 20, "count_tokens")
    put("3", "other", 30)
    second = put("4", "s", 40)
    put("5", "s", 50)
    assert compared(run(tmp_path, second, "--json")) == (first, second)


def test_the_first_of_a_session_has_none(session: Session) -> None:
    folder, ids = session
    found = run(folder, ids[0])
    assert found.exit_code == 1
    assert "is the first of its session; name another one to compare with" in found.stderr


def test_of_no_session(tmp_path: Path) -> None:
    write_trace(tmp_path, example() | {"session": {"id": None, "source": None, "parent_id": None}})
    assert "is of no session" in run(tmp_path).stderr


def test_three_are_too_many(session: Session) -> None:
    folder, ids = session
    assert run(folder, *ids[:3]).exit_code == 2
