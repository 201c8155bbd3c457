"""`llmtap config` and `llmtap check`, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from src.cli.root import build_cli

CONFIG = """\
upstreams:
  - type: openai
    api_key: ${KEY}
    proxy: http://user:hunter2@proxy:1
    headers: {X-Team: a, Authorization: hunter2}
timeouts:
  idle_s: 7
middlewares:
  - trace: {redact_headers: [x-team]}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(CONFIG)
    monkeypatch.setenv("KEY", "hunter2-key")
    monkeypatch.setenv("LLMTAP_LOG_LEVEL", "debug")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build_cli(), arguments)


def test_every_setting_is_shown_with_its_origin() -> None:
    result = run("config", "--port", "5")
    assert result.exit_code == 0
    origins = {
        line.split(":")[0].strip(" -"): line.partition("#")[2].strip()
        for line in result.stdout.splitlines()
        if "#" in line
    }
    assert origins["port"] == "cli --port"
    assert origins["log_level"] == "env LLMTAP_LOG_LEVEL"
    assert origins["idle_s"] == "config.yaml:7"
    assert origins["connect_s"] == "default"
    assert origins["type"] == "config.yaml:2"
    assert origins["base_url"] == "default"
    assert result.stdout.endswith("# chain: trace → forward\n")


def test_secrets_in_options_are_masked() -> None:
    Path("config.yaml").write_text(
        "upstreams: [{type: openai}]\nmiddlewares:\n  - auth:\n      keys:\n"
        "        - {label: alice, key: hunter2-hunter2-hunter2}\n"
        f"        - {{label: bob, hash: 'sha256:{'ab' * 32}'}}\n"
    )
    result = run("config")
    assert "alice" in result.stdout
    assert "hunter2" not in result.stdout
    assert "abab" not in result.stdout


def test_secrets_are_masked() -> None:
    result = run("config")
    assert "hunter2" not in result.stdout
    assert "X-Team" in result.stdout


def test_what_is_shown_is_a_config_of_the_same_meaning() -> None:
    shown = yaml.safe_load(run("config").stdout)
    assert shown["timeouts"]["idle_s"] == 7
    assert shown["upstreams"][0]["base_url"] == "https://api.openai.com"
    assert shown["upstreams"][0]["api_key"] == "[REDACTED]"
    assert shown["middlewares"] == [{"trace": {"redact_headers": ["x-team"]}}]
    assert shown["timeouts"]["total_s"] is None


def test_check_says_what_is_good_and_makes_nothing(tmp_path: Path) -> None:
    result = run("check")
    assert result.exit_code == 0
    assert result.stdout.startswith("config.yaml: good\n  listening  http://127.0.0.1:3000\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]


def test_check_tells_every_mistake_and_ends_with_2(tmp_path: Path) -> None:
    Path("config.yaml").write_text(CONFIG + "prot: 3\nworkers: 0\n")
    result = run("check")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "config.yaml:10 prot: unknown key; did you mean port?",
        "config.yaml:11 workers: is 0; give at least 1",
    ]


@pytest.mark.parametrize(
    "arguments", [("-c", "other.yaml", "check"), ("check", "-c", "other.yaml")]
)
def test_flags_may_stand_before_or_after_the_command(arguments: tuple[str, ...]) -> None:
    Path("other.yaml").write_text("upstreams: [{type: gemini}]\n")
    assert run(*arguments).stdout.startswith("other.yaml: good\n")


def test_a_flag_after_the_command_goes_over_one_before() -> None:
    assert "http://127.0.0.1:6\n" in run("--port", "5", "check", "--port", "6").stdout
