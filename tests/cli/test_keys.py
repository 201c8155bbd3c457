"""`llmtap keys new`: a key, its hash, and an entry that auth takes as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from src.cli.root import build_cli
from src.keys.file import read_keys
from src.keys.hashing import hash_key
from src.keys.keyring import Keyring


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build_cli(), ["keys", *arguments])


def key_in(output: str) -> str:
    (line,) = (line for line in output.splitlines() if line.startswith("sk-llmtap-"))
    return line


def test_prints_a_key_its_hash_and_an_entry_to_paste(tmp_path: Path) -> None:
    result = run(
        *("new", "--label", "alice", "--expires", "2027-01-31", "--tier", "gold"),
        *("--model", "gpt-4o*", "--model", "claude-*"),
    )
    assert result.exit_code == 0
    key = key_in(result.stdout)
    assert hash_key(key) in result.stdout
    path = tmp_path / "keys.yaml"
    path.write_text(result.stdout[result.stdout.index("keys:") :])
    found = Keyring(read_keys(path, {})).find(key.encode())
    assert found is not None
    assert (found.label, found.tier, found.models) == ("alice", "gold", ("gpt-4o*", "claude-*"))
    assert key not in path.read_text()


def test_every_key_is_new() -> None:
    assert len({key_in(run("new").stdout) for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--label", "a b"), "--label: may hold letters"),
        (("--expires", "soon"), "--expires: is no date; write 2027-01-31"),
    ],
)
def test_values_that_no_entry_may_have_are_refused(arguments: tuple[str, ...], told: str) -> None:
    result = run("new", *arguments)
    assert result.exit_code == 2
    assert told in result.output
    assert "sk-llmtap-" not in result.output


def test_help_names_the_command() -> None:
    assert "keys" in CliRunner().invoke(build_cli(), ["--help"]).output
    assert "new" in run("--help").output
