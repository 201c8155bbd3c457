"""Log lines: one per event, and never a secret in one."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from src.utils.logging import LogfmtFormatter, TerminalFormatter, has_color, set_up_logging

NAMES = ("llmtap", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers = list(root.handlers)
    loggers = [logging.getLogger(name) for name in NAMES]
    kept = [(lg, lg.level, lg.propagate, list(lg.handlers)) for lg in loggers]
    yield
    root.handlers[:] = handlers
    for logger, level, propagate, own in kept:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = own


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_elsewhere_than_on_a_terminal_a_record_is_one_logfmt_line() -> None:
    stream = io.StringIO()
    set_up_logging("info", stream=stream)
    logging.getLogger("llmtap.x").warning('a "b" %d', 3)
    (line,) = lines(stream)
    time, rest = line.split(" ", 1)
    assert time.startswith("time=20")
    assert time.endswith("Z")
    assert rest == 'level=warning log=llmtap.x msg="a \\"b\\" 3"'


def test_a_traceback_stays_on_that_line() -> None:
    stream = io.StringIO()
    set_up_logging("info", stream=stream)
    try:
        raise ValueError("what")
    except ValueError:
        logging.getLogger("llmtap.x").exception("failed")
    (line,) = lines(stream)
    assert 'msg=failed trace="Traceback (most recent call last):\\n' in line
    assert line.endswith('ValueError: what"')


def test_on_a_terminal_a_record_is_for_the_eye() -> None:
    stream = Terminal()
    set_up_logging("info", stream=stream)
    logging.getLogger("llmtap.x").info("plain")
    assert lines(stream)[0][8:] == " plain"


def test_a_terminal_shows_a_traceback_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    set_up_logging("info", stream=stream)
    try:
        raise ValueError("what")
    except ValueError:
        logging.getLogger("llmtap.x").exception("failed")
    assert lines(stream)[0][8:] == " error llmtap.x: failed"
    assert lines(stream)[-1] == "ValueError: what"


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_color(Terminal())
    assert not has_color(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not has_color(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_color(Terminal())


@pytest.mark.parametrize("style", [LogfmtFormatter, TerminalFormatter])
def test_no_secret_gets_out(style: type[LogfmtFormatter] | type[TerminalFormatter]) -> None:
    stream = io.StringIO()
    set_up_logging("debug", secrets=["canary-configured"], stream=stream)
    logging.getLogger().handlers[-1].setFormatter(style(["canary-configured"]))
    log = logging.getLogger("llmtap.x")
    log.info("GET /v1?key=%s&a=1", "canary-query")
    log.info("sent %s", {"Authorization": "Bearer canary-bearer-token"})
    log.info("key canary-configured and sk-canary0123456789")
    logging.getLogger("httpx").warning("HTTP Request: GET http://h/?api_key=canary-lib")
    try:
        raise RuntimeError("Bearer canary-in-traceback")
    except RuntimeError:
        log.exception("broke")
    assert "canary" not in stream.getvalue()
    assert stream.getvalue().count("[REDACTED]") >= 6


def test_control_characters_of_strangers_are_written_out() -> None:
    stream = io.StringIO()
    set_up_logging("info", stream=stream)
    logging.getLogger("llmtap.x").info("a\nlevel=error \x1b[31mred\r\x85b\u2028c")
    assert len(lines(stream)) == 1
    assert "\\nlevel=error \\x1b[31mred\\r\\x85b\\u2028c" in stream.getvalue()


def test_access_logs_of_the_server_are_off() -> None:
    set_up_logging("debug", stream=io.StringIO())
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_the_servers_own_words_are_warnings_only_unless_wanted() -> None:
    stream = io.StringIO()
    set_up_logging("info", stream=stream)
    server = logging.getLogger("uvicorn.error")
    server.info("Started server process")
    assert lines(stream) == []
    server.warning("odd")
    assert "log=uvicorn.error msg=odd" in stream.getvalue()
    set_up_logging("info", stream=stream, server_lines=True)
    server.info("again")
    assert lines(stream)[-1].endswith("msg=again")


def test_the_server_does_not_report_tasks_that_are_not_its_own() -> None:
    stream = io.StringIO()
    set_up_logging("info", stream=stream)
    logging.getLogger("uvicorn.error").error("Cancel %s running task(s), timeout …", 0)
    assert lines(stream) == []


def test_setting_up_again_replaces_what_was() -> None:
    stream = io.StringIO()
    set_up_logging("info", stream=stream)
    set_up_logging("error", stream=stream)
    logging.getLogger("llmtap.x").info("no")
    logging.getLogger("llmtap.x").error("yes")
    assert len(lines(stream)) == 1
