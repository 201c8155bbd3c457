"""`llmtap show`: on a folder of traces alone."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from src.cli.root import build_cli
from tests.record.kit import example
from tests.support.session import ROOT, write_session, write_trace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    write_session(folder, 5, 20_000)
    write_trace(folder, example())
    return folder


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(build_cli(), ["show", *arguments, "--trace-dir", str(folder)])


def example_bytes(folder: Path) -> bytes:
    return next(folder.glob(f"*/*{example()['id']}*")).read_bytes()


def test_the_newest_where_none_is_named(folder: Path) -> None:
    assert run(folder).stdout.startswith(example()["id"])


def test_by_id_by_its_beginning_in_any_case_and_by_filter(folder: Path) -> None:
    for words in (["01M7YP3ZJM4CHZY65DPDCSG3Y9"], ["01m7yp3z"], ["model:claude*", "session:6f1c*"]):
        assert run(folder, *words).stdout.startswith(example()["id"]), words


def test_several(folder: Path) -> None:
    found = run(folder, "session:0b2e*", "--limit", "3")
    assert found.stdout.count("POST /v1/messages") == 3
    assert run(folder, "session:0b2e*").stdout.count("POST /v1/messages") == 1


def test_raw_is_what_was_on_the_wire(folder: Path) -> None:
    asked = run(folder, "01m7yp3z", "--raw", "request").stdout_bytes
    assert len(asked) == example()["request"]["body"]["wire_bytes"]
    answered = run(folder, "01m7yp3z", "--raw", "response").stdout
    assert answered == "".join(event["raw"] for event in example()["stream"]["events"])


def test_json_is_the_file(folder: Path) -> None:
    assert run(folder, "01m7yp3z", "--json").stdout_bytes == example_bytes(folder)


def test_json_of_several_is_a_line_each(folder: Path) -> None:
    found = run(folder, "session:0b2e*", "--limit", "3", "--json").stdout.splitlines()
    assert [json.loads(line)["session"]["source"] for line in found]
    assert len(found) == 3


def test_events_with_their_times(folder: Path) -> None:
    text = run(folder, "01m7yp3z", "--events").stdout
    assert "     333.372 ms  +20.167\n  event: content_block_start\n" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["01ZZZZZZZZZZZZZZZZZZZZZZZZ"], "no trace with this id"),
        (["model:nothing"], "no trace passes"),
        (["modle:x"], "modle:x\n^"),
        (["--nothing"], "No such option"),
    ],
)
def test_mistakes_are_told(folder: Path, words: list[str], told: str) -> None:
    found = run(folder, *words)
    assert found.exit_code != 0
    assert told in found.stderr
    assert found.stdout == ""


def test_an_id_that_begins_several_is_refused(tmp_path: Path) -> None:
    for number in range(5):
        write_trace(tmp_path, example() | {"id": example()["id"][:-1] + str(number)})
    found = run(tmp_path, "01M7YP3ZJM")
    assert found.exit_code == 2
    assert found.stderr.splitlines()[0] == "01M7YP3ZJM: 5 ids begin so; give more of it"
    listed = [line.split()[0] for line in found.stderr.splitlines()[1:]]
    assert sorted(listed) == [example()["id"][:-1] + str(number) for number in range(5)]
    assert run(tmp_path, "01M7YP3ZJM…").stderr.startswith("01M7YP3ZJM…: 5 ids begin so")
    assert run(tmp_path, "…" + example()["id"][-8:-1] + "3").exit_code == 0
    many = tmp_path / "many"
    for number in range(14):
        write_trace(many, example() | {"id": f"01M7YP3ZJM4CHZY65DPDC{number:02}3Y9"})
    told = run(many, "…3Y9").stderr.splitlines()
    assert (told[0], told[-1]) == ("…3Y9: 14 ids end so; give more of it", "  and 4 more")
    assert len(told) == 12


@pytest.mark.parametrize("cut", ["01M7YP3ZJM4C…", "01m7yp3z…", "…DPDCSG3Y9", "…g3y9"])
def test_an_id_that_a_narrow_terminal_has_cut_is_taken(folder: Path, cut: str) -> None:
    assert run(folder, cut).stdout.startswith(example()["id"])


def test_what_ls_shows_on_a_narrow_terminal_can_be_given_to_show(folder: Path) -> None:
    listed = on_terminal(folder, "ls", "model:claude*", "session:6f1c*", columns=60).decode()
    (cut,) = re.findall(r"01M7YP3Z\w*…", listed)
    assert run(folder, cut).stdout.startswith(example()["id"])


def test_a_cut_id_that_is_nobodys_is_no_search(folder: Path) -> None:
    for word in ("01M7YP3ZZZ…", "…ZZZZ", "Z…"):
        found = run(folder, word)
        assert (found.exit_code, found.stdout) == (1, "")
        assert found.stderr.startswith(f"{word}: no trace with this id")


def test_no_answer_no_stream(tmp_path: Path) -> None:
    write_trace(tmp_path, example() | {"response": None, "stream": None})
    assert "was no stream" in run(tmp_path, "--events").stderr
    assert "there was no answer" in run(tmp_path, "--raw", "response").stderr


def on_terminal(folder: Path, *arguments: str, columns: int = 100) -> bytes:
    """What a terminal is sent."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "src.main", *arguments, "--trace-dir", str(folder)]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "PYTHONPATH": str(ROOT)}
    env.pop("NO_COLOR", None)
    child = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=env, cwd=folder)
    os.close(theirs)
    sent = b""
    try:
        while data := os.read(ours, 65536):
            sent += data
    except OSError:  # EIO: the child's end is closed
        pass
    os.close(ours)
    assert child.wait(10) == 0, sent
    return sent


@pytest.mark.parametrize(
    "arguments", [(), ("--full",), ("--raw", "request"), ("--raw", "response"), ("--events",)]
)
def test_a_terminal_gets_color_and_nothing_of_the_trace_is_obeyed(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    bad = "\x1b]0;owned\x07\x1b[2J\x9b5m [red]x[/red] \r"
    trace = example()
    trace["request"]["body"]["value"]["messages"][0]["content"] = bad
    trace["response"]["message"]["content"] = [{"type": "text", "text": bad}]
    trace["stream"]["events"] = [{"t": 1.0, "raw": f"data: {bad}\n\n"}]
    write_trace(tmp_path, trace)
    sent = on_terminal(tmp_path, "show", *arguments).replace(b"\r\n", b"\n")
    assert b"\\x1b[2J" in sent or b"\\u001b[2J" in sent
    for obeyed in (b"\x1b]0", b"\x1b[2J", "\x9b".encode(), b"\x07", b"\r"):
        assert obeyed not in sent
    if not arguments:
        assert b"\x1b[1m" in sent
        assert b"[red]x[/red]" in sent


def test_a_word_that_could_begin_an_id_and_begins_none_is_searched_for(folder: Path) -> None:
    assert run(folder, "what").stdout.startswith(example()["id"])
