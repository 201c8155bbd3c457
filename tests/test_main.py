"""The program's door: what is imported when, the help, and `app`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import src.main
from src import __version__
from src.cli.root import COMMANDS, READERS, build_cli
from src.config import Settings

ROOT = Path(__file__).parents[1]
# Every setting that is one value has its flag.
PLAIN = [n for n, f in Settings.model_fields.items() if isinstance(f.default, int | str | Path)]
FLAGS = [name.replace("_", "-") for name in PLAIN]
FLAGS += ["config", "base-url", "type", "api-key", "version"]


def python(code: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_importing_it_does_nothing(tmp_path: Path) -> None:
    code = "import sys, src.main; print(*sorted(sys.modules))"
    loaded = set(python(code, tmp_path).stdout.split())
    assert not loaded & {"typer", "pydantic", "uvicorn", "yaml", "asyncio", "src.config", "src.app"}


def test_the_commands_libraries_are_imported_when_one_of_them_runs(tmp_path: Path) -> None:
    code = "import sys; from src.cli.root import build_cli; build_cli(); print(*sys.modules)"
    loaded = set(python(code, tmp_path).stdout.split())
    readers = {"src.cli.tail", "src.cli.show", "src.record", "src.query", "src.views"}
    libraries = {"rich", "uvicorn", "src.proxy.gateway", "sqlalchemy"}
    assert not loaded & (readers | libraries)


def test_help_mentions_every_flag_and_command() -> None:
    text = CliRunner().invoke(build_cli(), ["--help"]).stdout
    for flag in FLAGS:
        assert re.search(rf"--{flag}\b.*\S", text), flag
    assert re.search(r"^  -c, --config FILE", text, re.MULTILINE)
    for command in {**COMMANDS, **READERS}:
        assert re.search(rf"^  {command} +[A-Z].*[^.]\.$", text, re.MULTILINE), command


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_commands_about_settings_take_the_same_flags(command: str) -> None:
    text = CliRunner().invoke(build_cli(), [command, "--help"]).stdout
    assert all(f"--{flag}" in text for flag in FLAGS if flag != "version")


def test_version_is_printed() -> None:
    assert CliRunner().invoke(build_cli(), ["--version"]).stdout == f"llmtap {__version__}\n"


def test_an_unknown_flag_ends_with_2() -> None:
    result = CliRunner().invoke(build_cli(), ["--prot", "3"])
    assert result.exit_code == 2
    assert "No such option: --prot" in result.stderr


def test_no_upstream_is_a_mistake_that_says_what_to_do(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['llmtap']; from src.main import main; main()"
    ended = python(code, tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == (
        "upstreams: none given; pass --type openai or --base-url URL,"
        " or list upstreams in config.yaml\n"
    )


def test_app_is_made_from_the_environment_when_it_is_asked_for(tmp_path: Path) -> None:
    code = "from src.main import app; print(type(app).__name__, app.settings.upstreams[0].type)"
    assert python(code, tmp_path, LLMTAP_TYPE="gemini").stdout == "Application gemini\n"
    assert list(tmp_path.iterdir()) == []


def test_app_for_bad_settings_ends_with_a_line_and_2(tmp_path: Path) -> None:
    ended = python("from src.main import app", tmp_path, LLMTAP_TYPE="gemin")
    assert ended.returncode == 2
    assert ended.stderr == "env LLMTAP_TYPE: unknown provider 'gemin'; did you mean gemini?\n"


def test_it_has_nothing_else_to_give() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'application'"):
        _ = src.main.application
