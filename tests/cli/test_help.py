"""The examples in the help texts: they can be pasted, and do what they should."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from src.cli.root import COMMANDS, READERS, build_cli
from tests.record.traces import Written, answer, chat

ALL = ("", *COMMANDS, *READERS, "keys new")
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'


def help_of(command: str) -> str:
    return CliRunner().invoke(build_cli(), [*command.split(), "--help"]).stdout


EXAMPLES = [
    (command, line.strip())
    for command in ALL
    for line in help_of(command).splitlines()
    if line.startswith("  llmtap ")
]


def test_every_command_has_an_example() -> None:
    assert set(ALL) - {command for command, _ in EXAMPLES} == {"filters"}


@pytest.mark.parametrize(("command", "line"), EXAMPLES)
def test_an_example_can_be_pasted_into_any_shell(command: str, line: str) -> None:
    assert line.split()[1 : 1 + len(command.split())] == command.split()
    outside = re.sub("'[^']*'", "", line)
    assert not set(outside) & set("*?<>()|&;$")  # zsh, too, minds a `*` that finds no file


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder with a config and traces of all that the examples ask for; ids, the newest first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("upstreams: [{type: openai}]\n")
    traces = Written(tmp_path / "traces")
    kinds = [
        (EVENT, {"content_type": b"text/event-stream", "cause": "upstream_eof"}),
        (b'{"error": {"message": "rate limit"}}', {"status": 429, "cause": "upstream_error"}),
        (answer("no timeout, sorry"), {"cause": "client_disconnected", "key": "alice"}),
        (answer("sorry, a timeout"), {}),
    ]
    now = datetime.now(UTC)
    return [
        traces.add(
            chat("gpt-4o", "hello", *["again"] * number),
            (said,),
            at=now - timedelta(minutes=10 - number),
            session="run-1",
            **kind,
        )
        for number, (said, kind) in enumerate(kinds)
    ][::-1]


@pytest.mark.parametrize("line", [line for name, line in EXAMPLES if name not in ("", "tail")])
def test_an_example_does_something(line: str, ids: list[str]) -> None:
    left = iter(ids)
    words = [next(left) if word == "ID" else word for word in shlex.split(line)[1:]]
    ended = CliRunner().invoke(build_cli(), words)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout if "--output" not in words else Path("traces.har").stat().st_size
