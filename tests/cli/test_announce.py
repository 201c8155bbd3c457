from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest

from src.cli.announce import announce, facts, is_loopback, url_of
from src.config import Settings
from src.config.loading import load_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(
        "upstreams:\n  - type: openai\n  - {type: anthropic, prefix: /claude}\n"
    )
    return load_settings({}, {}).settings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_says_where_from_and_where_to_and_what_to_set(settings: Settings) -> None:
    assert facts(settings, "http://127.0.0.1:3000") == [
        ("listening", "http://127.0.0.1:3000"),
        ("forwarding", "/ → https://api.openai.com (openai)"),
        ("client", "export OPENAI_BASE_URL=http://127.0.0.1:3000/v1"),
        ("forwarding", "/claude → https://api.anthropic.com (anthropic)"),
        ("client", "export ANTHROPIC_BASE_URL=http://127.0.0.1:3000/claude"),
        ("traces", "./traces/"),
        ("chain", "trace → forward"),
    ]


def test_no_client_is_sent_to_the_address_that_means_all(settings: Settings) -> None:
    clients = [text for label, text in facts(settings, "http://0.0.0.0:1") if label == "client"]
    assert clients[0] == "export OPENAI_BASE_URL=http://127.0.0.1:1/v1"
    clients = [text for label, text in facts(settings, url_of("::", 1)) if label == "client"]
    assert clients[0] == "export OPENAI_BASE_URL=http://[::1]:1/v1"


def test_a_chain_without_trace_names_no_folder() -> None:
    assert facts(Settings(middlewares=()), "http://x:1") == [
        ("listening", "http://x:1"),
        ("chain", "forward"),
    ]


def test_a_terminal_gets_a_block_in_colour(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    announce(settings, "http://127.0.0.1:3000")
    assert "\x1b[1mhttp://127.0.0.1:3000" in sys.stderr.getvalue()


def test_no_color_is_respected(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())
    announce(settings, "http://127.0.0.1:3000")
    assert "\x1b" not in sys.stderr.getvalue()
    assert "  listening  http://127.0.0.1:3000\n" in sys.stderr.getvalue()


def test_elsewhere_it_is_log_lines(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "llmtap"):
        announce(settings, "http://127.0.0.1:3000")
    assert caplog.messages[0] == "listening http://127.0.0.1:3000"
    assert caplog.messages[-1] == "chain trace → forward"


def test_quiet_says_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "llmtap"):
        announce(settings.model_copy(update={"quiet": True}), "http://127.0.0.1:3000")
    assert caplog.messages == []


def test_a_bind_beyond_this_machine_is_a_warning_even_when_quiet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "llmtap"):
        announce(Settings(host="0.0.0.0", allow_open=True, quiet=True), "http://0.0.0.0:3000")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.com")),
    ],
)
def test_what_is_this_machine_only(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("{}", "./traces/.store/ (SQLite)"),
        (
            "{database_url: 'postgresql://me:canary@db:5432/taps?application_name=canary'}",
            "postgresql://db:5432/taps",
        ),
    ],
)
def test_it_says_where_the_store_is_and_not_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(f"upstreams: [{{type: openai}}]\nstore: {store}\n")
    lines = facts(load_settings({}, {}).settings, "http://127.0.0.1:3000")
    assert ("store", said) in lines
    assert "canary" not in str(lines)
