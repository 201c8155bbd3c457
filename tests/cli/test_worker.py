"""What `--workers` and `--reload` children get to know of the flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.cli.worker import hand_down, secrets_of
from src.config import Settings
from src.config.loading import load_settings


@pytest.mark.parametrize(
    "flags",
    [
        {"type": "openai"},
        {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-1", "port": "7", "quiet": True},
        {"log_level": "debug", "trace_dir": "t", "host": "::1", "workers": "2"},
        {"api_key": "sk-2"},
    ],
)
def test_children_come_to_the_same_settings(
    flags: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("some.yaml")
    file.write_text("upstreams: [{type: gemini}]\nport: 5\n")
    env = {"LLMTAP_PORT": "6", "LLMTAP_TYPE": "anthropic"}
    ours = load_settings(flags, env, file).settings
    hand_down(flags, file, env)
    assert load_settings({}, env).settings == ours


def test_configured_keys_are_known_to_the_log_whatever_they_look_like() -> None:
    upstream = {
        "type": "openai",
        "api_key": "no-known-shape",
        "headers": {"X-Team": "public-text", "X-Secret": "hidden-text"},
    }
    assert secrets_of(Settings(upstreams=(upstream,))) == ["no-known-shape", "hidden-text"]
