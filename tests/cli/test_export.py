"""`llmtap export`: what is chosen, and where it goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from src.cli.root import build_cli
from tests.support.session import write_session

Session = tuple[Path, list[str]]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("traces")
    return folder, write_session(folder, 4, 20_000)


def run(session: Session, *arguments: str) -> Result:
    folder = session[0]
    return CliRunner().invoke(build_cli(), ["export", *arguments, "--trace-dir", str(folder)])


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--format", "jsonl")])
def test_json_lines_of_all_the_oldest_first(session: Session, arguments: tuple[str, ...]) -> None:
    assert ids(run(session, *arguments).stdout) == session[1]


def test_the_newest_so_many_and_some_by_id(session: Session) -> None:
    assert ids(run(session, "--limit", "2").stdout) == session[1][2:]
    assert ids(run(session, session[1][3], session[1][1]).stdout) == [session[1][1], session[1][3]]


def test_ids_that_a_narrow_terminal_has_cut(session: Session) -> None:
    cut = f"…{session[1][1][-8:]}"
    assert ids(run(session, cut).stdout) == [session[1][1]]


def test_lines_hold_the_whole_trace(session: Session) -> None:
    line = run(session, session[1][0]).stdout
    (path,) = session[0].glob(f"*/*{session[1][0]}*")
    assert json.loads(line) == json.loads(path.read_bytes())


def test_into_a_file_that_only_its_owner_reads(session: Session, tmp_path: Path) -> None:
    out = tmp_path / "out.har"
    found = run(session, "--format", "har", "--output", str(out))
    assert found.stdout == ""
    assert len(json.loads(out.read_bytes())["log"]["entries"]) == 4
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_program_is_made_of_one(session: Session) -> None:
    found = run(session, "--format", "python")
    assert found.exit_code == 2
    assert "4 traces pass" in found.stderr
    assert run(session, "--format", "python", "--limit", "1").exit_code == 0


def test_nothing_to_export(session: Session) -> None:
    found = run(session, "model:nothing", "--format", "har")
    assert found.exit_code == 1
    assert "no trace passes" in found.stderr


def test_a_place_that_cannot_be_written_is_told_as_the_outputs(
    session: Session, tmp_path: Path
) -> None:
    result = run(session, "--output", str(tmp_path / "none" / "x.jsonl"))
    assert result.exit_code == 1
    assert result.stderr == (
        f"{tmp_path}/none/x.jsonl: no such file or directory; give another --output\n"
    )
