from __future__ import annotations

import json
import os

import pytest

from src.tracing.lines import Lines

SUMMARY = {
    "provider": "openai",
    "model": "gpt-4o",
    "operation": "chat",
    "status": 200,
    "duration_ms": 4200.0,
    "ttft_ms": 310.0,
    "input_tokens": 12345,
    "output_tokens": 345,
    "cost_usd": None,
    "cause": "ok",
}
NS = 1_795_000_000_123_456_789


def written(style: str, summary: dict[str, object] = SUMMARY) -> str:
    reads, writes = os.pipe()
    lines = Lines(style, writes)
    lines.add(summary, "name.json", NS)
    lines.flush()
    os.close(writes)
    with os.fdopen(reads, "rb") as file:
        return file.read().decode()


def test_on_a_terminal_it_is_one_tidy_line() -> None:
    line = written("terminal")
    assert line.count("\n") == 1
    for part in ("gpt-4o", "200", "12.3k → 345", "0.31s", "4.20s", "ok", "name.json"):
        assert part in line


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (None, " - "),
        (0.0, " $0.00 "),
        (12.345, " $12.35 "),
        (0.0183, " $0.0183 "),
        (2.22e-05, " $0.000022 "),
    ],
)
def test_on_a_terminal_it_tells_the_cost(usd: float | None, shown: str) -> None:
    assert shown in written("terminal", {**SUMMARY, "cost_usd": usd})


def test_elsewhere_it_is_fields() -> None:
    line = written("logfmt")
    assert line.startswith("time=2026-11-18T")
    assert " model=gpt-4o " in line
    assert "cost_usd" not in line
    assert line.endswith("trace=name.json\n")


def test_as_json_it_parses() -> None:
    assert json.loads(written("json"))["input_tokens"] == 12345


def test_quiet_is_quiet() -> None:
    assert written("off") == ""


@pytest.mark.parametrize("style", ["terminal", "logfmt", "json"])
def test_a_models_name_cannot_forge_a_line_or_colour(style: str) -> None:
    line = written(style, {**SUMMARY, "model": "a\nfake line\x1b[31m\u202e \ud800"})
    assert line.count("\n") == 1
    assert "\x1b[31m\u202e" not in line
    if style != "terminal":
        assert "\x1b" not in line


def test_a_request_without_model_and_answer() -> None:
    line = written("terminal", {**SUMMARY, "model": None, "status": None, "cause": "timeout"})
    assert "ERR" in line
    assert "chat" in line


def test_a_reader_that_stalls_loses_lines_and_holds_up_nothing() -> None:
    reads, writes = os.pipe()
    lines = Lines("logfmt", writes)
    for _ in range(2000):
        lines.add(SUMMARY, "name.json", NS)
    lines.flush()
    assert lines.lost > 0
    os.close(reads)
    lines.add(SUMMARY, "name.json", NS)
    lines.flush()
    os.close(writes)


def test_a_note_is_written_in_any_style_but_not_a_thousand_times() -> None:
    reads, writes = os.pipe()
    lines = Lines("off", writes)
    for _ in range(1000):
        lines.note("error", "traces cannot be written", "No space left")
    lines.flush()
    os.close(writes)
    with os.fdopen(reads, "rb") as file:
        assert 1 <= file.read().count(b"\n") <= 2
