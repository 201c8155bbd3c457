"""The program's door: what is imported when, the help, and `app`."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

import src.main
from src import __version__
from src.cli.root import COMMANDS, READERS, build_cli
from src.config import Settings
from tests.record.traces import Written, answer, chat

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


@pytest.mark.parametrize("command", ["check", "config"])
def test_commands_about_settings_take_the_same_flags(command: str) -> None:
    text = help_of(command)
    assert all(f"--{flag}" in text for flag in FLAGS if flag != "version")


def test_index_shows_the_flags_it_uses_and_no_others() -> None:
    flags = re.findall(r"^ .* --([a-z-]+)", help_of("index").partition("Options:")[2], re.MULTILINE)
    assert flags == ["config", "trace-dir", "remove-most", "help"]


def help_of(*command: str) -> str:
    return CliRunner().invoke(build_cli(), [*command, "--help"]).stdout


def test_mistakes_of_settings_that_index_does_not_need_do_not_stop_it(tmp_path: Path) -> None:
    Written(tmp_path / "traces").add(chat("gpt-4o", "hi"), (answer("ho"),), at=datetime.now(UTC))
    code = "import sys; sys.argv = ['llmtap', 'index']; from src.main import main; main()"
    config = tmp_path / "config.yaml"
    config.write_text("upstreams: [{api_key: '${NOWHERE}'}]\nport: many\nstore: {}\n")
    assert python(code, tmp_path).stdout.startswith("1 traces: 1 rows written")
    config.unlink()
    assert python(code, tmp_path).stdout.startswith("1 traces: 0 rows written, 1 as they were")
    config.write_text("port: many\nstore: {databse_url: x}\n")
    ended = python(code, tmp_path)
    assert (ended.returncode, ended.stderr) == (
        2,
        "config.yaml:2 store.databse_url: unknown key; did you mean database_url?\n",
    )


@pytest.mark.parametrize("command", ["ls", "stats", "index"])
def test_flags_before_a_command_count_for_it(command: str, tmp_path: Path) -> None:
    Written(tmp_path / "there").add(chat("gpt-4o", "hi"), (answer("ho"),), at=datetime.now(UTC))
    outer = ["--trace-dir", str(tmp_path / "there"), command]
    ended = CliRunner().invoke(build_cli(), outer)
    assert ended.exit_code == 0
    assert "gpt-4o" in ended.stdout or "all" in ended.stdout or "1 traces" in ended.stdout
    own = CliRunner().invoke(build_cli(), [*outer, "--trace-dir", str(tmp_path / "nowhere")])
    assert "gpt-4o" not in own.stdout
    assert "1 traces" not in own.stdout


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
