"""Log lines: one line per event on stderr, tidy on a terminal, logfmt otherwise, never a secret.

Everything goes through one handler on the root logger, uvicorn's and the libraries' lines too:
whatever is written by whom, it is redacted as text, tracebacks included. Access logs of others are
off, as they print `?key=` (the proxy has its own line per request).
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterable
from typing import TextIO

from .redaction import redact_text

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN = re.compile(r"[^\s\"=\\]+")
_COLORS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}
_QUIETER = {"uvicorn": logging.WARNING, "asyncio": logging.WARNING}


def set_up_logging(
    level: str,
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    server_lines: bool = False,
) -> None:
    """One handler for all: `llmtap.*` from `level` on, other libraries' warnings.

    `secrets` are texts to mask wherever they turn up, beside all that looks like one.
    `server_lines`: uvicorn's own information too. Calling it again replaces what was set up.
    """
    stream = stream or sys.stderr
    style = TerminalFormatter if stream.isatty() else LogfmtFormatter
    handler = logging.StreamHandler(stream)
    handler.setFormatter(style(secrets, color=has_color(stream)))
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h.formatter, RedactingFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger("llmtap").setLevel(threshold)
    for name, at_least in _QUIETER.items():
        logging.getLogger(name).setLevel(max(at_least, threshold))
    if server_lines or threshold == logging.DEBUG:
        logging.getLogger("uvicorn").setLevel(threshold)
    _take_over_uvicorn()


def has_color(stream: TextIO) -> bool:
    """Whether colours belong there: a terminal, and no NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _take_over_uvicorn() -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()  # uvicorn asks hasHandlers() and then does not even format a line
    access.propagate = False


def _is_news(record: logging.LogRecord) -> bool:
    """At the end of the drain time uvicorn cancels its tasks, of which our protocol has none: what
    is cut, and that it was, stands in the traces."""
    return not str(record.msg).startswith("Cancel %s running task(s)")


class RedactingFormatter(logging.Formatter):
    """The common part: a record as clean texts."""

    def __init__(self, secrets: Iterable[str] = (), *, color: bool = False) -> None:
        super().__init__()
        self._secrets = tuple(secrets)
        self._color = color

    def message(self, record: logging.LogRecord) -> str:
        """The message on one line, redacted; control characters (ANSI, CR, LF) are escaped."""
        return _CONTROL.sub(_escape, self._clean(record.getMessage()))

    def traceback(self, record: logging.LogRecord) -> str:
        """The traceback with its lines, redacted, or an empty text."""
        parts = []
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        lines = self._clean("\n".join(parts)).split("\n")
        return "\n".join(_CONTROL.sub(_escape, line) for line in lines)

    def _clean(self, text: str) -> str:
        return redact_text(text, self._secrets)


class TerminalFormatter(RedactingFormatter):
    """`12:31:05 warning llmtap.proxy: text`, a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record for the eye; time in UTC, as the lines of requests between."""
        clock = time.strftime("%H:%M:%S", time.gmtime(record.created))
        text = self.message(record)
        if record.levelno > logging.INFO:
            text = f"{record.levelname.lower()} {record.name}: {text}"
        if self._color and (code := _COLORS.get(record.levelno)):
            text = f"\x1b[{code}m{text}\x1b[0m"
        return "\n".join(part for part in (f"{clock} {text}", self.traceback(record)) if part)


class LogfmtFormatter(RedactingFormatter):
    """`time=… level=warning log=llmtap.proxy msg="…" trace="…"`, always one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record for a log collector; time in UTC with milliseconds."""
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "time": f"{clock}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "log": record.name,
            "msg": self.message(record),
        }
        trace = self.traceback(record)
        if trace:
            fields["trace"] = trace.replace("\n", "\\n")
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    return '"' + value.replace('"', '\\"') + '"'
