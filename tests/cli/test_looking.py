"""How far a long look through a folder is, on a terminal."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.cli import looking
from src.query.parser import parse
from src.record.folder import Folder
from tests.record.traces import NOON, Written, answer, chat

DAYS = 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    written = Written(tmp_path)
    for ago in range(DAYS):
        written.add(chat("m", "hello"), (answer("x"),), at=NOON - timedelta(days=ago))
    return Folder(tmp_path)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Where all that is to be told is told at once."""
    monkeypatch.setattr(looking, "_AFTER_S", 0.0)
    monkeypatch.setattr(looking, "_EVERY_S", 0.0)
    terminal = Terminal()
    monkeypatch.setattr(looking, "sys", SimpleNamespace(stderr=terminal))
    return terminal


def test_a_terminal_is_told_how_far_it_is(folder: Folder, terminal: Terminal) -> None:
    assert list(looking.hits(folder, parse("model:other", 0))) == []
    told = terminal.getvalue().split("\r\x1b[K")
    assert told[1:] == [
        "1 traces looked at, back to 2026-11-21 12:00 …",
        "2 traces looked at, back to 2026-11-20 12:00 …",
        "3 traces looked at, back to 2026-11-19 12:00 …",
        "",
    ]


def test_it_is_gone_when_a_trace_is_printed(folder: Folder, terminal: Terminal) -> None:
    for _ in looking.hits(folder, parse("", 0), printed=True):
        assert terminal.getvalue().endswith("…\r\x1b[K")


def test_a_look_that_is_given_up_leaves_nothing(folder: Folder, terminal: Terminal) -> None:
    hits = looking.hits(folder, parse("", 0))
    next(hits)
    assert terminal.getvalue().endswith("…")
    hits.close()
    assert terminal.getvalue().endswith("…\r\x1b[K")


def test_elsewhere_and_of_a_short_look_nothing_is_told(
    folder: Folder, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_AFTER_S", 60.0)
    assert len(list(looking.hits(folder, parse("", 0)))) == DAYS
    assert terminal.getvalue() == ""
    monkeypatch.setattr(looking, "_AFTER_S", 0.0)
    monkeypatch.setattr(terminal, "isatty", lambda: False)
    assert len(list(looking.hits(folder, parse("", 0)))) == DAYS
    assert terminal.getvalue() == ""
