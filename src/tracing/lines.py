"""The line that tells of a finished request: for eyes on a terminal, as fields elsewhere.

10:11:12  gpt-4o-mini            200   1.2k → 345   0.31s   4.20s  ok  101112.123456Z_….json

The time is UTC, as in the file's name and wherever else a request is shown.
"""

from __future__ import annotations

import json
import os
import re
import select
import time
from collections.abc import Callable
from functools import lru_cache

STYLES = ("terminal", "logfmt", "json", "off")
_PIPE_BYTES = 4096  # written at one go or not at all (PIPE_BUF)
_QUOTED = re.compile(r'[\s"=\x00-\x1f\x7f-\x9f\\]')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_GREEN, _YELLOW, _RED, _DIM, _RESET = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


class Lines:
    """Formats request lines and writes them in batches; a reader that stalls loses lines, it does
    not hold up traces."""

    def __init__(self, style: str, fd: int = 2) -> None:
        self._format: Callable[[dict[str, object], str, int], str] | None = {
            "terminal": self._terminal,
            "logfmt": _logfmt,
            "json": _json,
        }.get(style)
        self._fd = fd
        self._waiting: list[str] = []
        self._second = -1
        self._clock_text = ""
        self._noted: dict[str, int] = {}  # event -> second
        self.lost = 0

    def add(self, summary: dict[str, object], name: str, received_ns: int) -> None:
        """A finished request; `name` is the trace file's."""
        if self._format is not None:
            self._waiting.append(self._format(summary, name, received_ns))

    def note(self, level: str, event: str, detail: str) -> None:
        """Something the operator must know, whatever the style; the same text at most once a
        second."""
        now = int(time.time())
        if self._noted.get(event) == now:
            return
        self._noted[event] = now
        fields = {"time": _stamp(now * 1_000_000_000), "level": level, "event": event}
        text = {**fields, "detail": detail}
        self._waiting.append(" ".join([f"{k}={_value(v)}" for k, v in text.items()]))

    def flush(self) -> None:
        """Write what has come together."""
        if not self._waiting:
            return
        lines, self._waiting = self._waiting, []
        batch = b""
        for line in lines:
            encoded = line.encode("utf-8", "replace") + b"\n"
            if batch and len(batch) + len(encoded) > _PIPE_BYTES:
                self._write(batch)
                batch = b""
            batch += encoded
        self._write(batch)

    def _write(self, data: bytes) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        try:
            ready = poll.poll(0)
            if ready and ready[0][1] & select.POLLOUT:
                os.write(self._fd, data)
            else:
                self.lost += data.count(b"\n")
        except OSError:
            self.lost += data.count(b"\n")

    def _terminal(self, summary: dict[str, object], name: str, received_ns: int) -> str:
        second = received_ns // 1_000_000_000
        if second != self._second:
            self._second = second
            self._clock_text = time.strftime("%H:%M:%S", time.gmtime(second))
        status, cause = summary["status"], str(summary["cause"])
        colour = _GREEN if cause == "ok" else _YELLOW if cause in _MILD else _RED
        model = _CONTROL.sub("?", str(summary["model"] or summary["operation"]))
        tokens = f"{_count(summary['input_tokens'])} → {_count(summary['output_tokens'])}"
        cost = _dollars(summary["cost_usd"])
        times = f"{_seconds(summary['ttft_ms']):>7} {_seconds(summary['duration_ms']):>7}"
        outcome = f"{colour}{status or 'ERR':>3}{_RESET}"
        return (
            f"{_DIM}{self._clock_text}{_RESET}  {model[:28]:<28} {outcome} {tokens:>15} "
            f"{cost:>9} {times}  {colour}{cause}{_RESET}  {_DIM}{name}{_RESET}"
        )


_MILD = frozenset(("client_disconnected", "rejected", "shutdown"))


def _count(tokens: object) -> str:
    if not isinstance(tokens, int):
        return "-"
    return str(tokens) if tokens < 10_000 else f"{tokens / 1000:.1f}k"


def _dollars(usd: object) -> str:
    """Three digits that say something: $1.23, $0.0123, $0.00012; above a dollar, cents."""
    if not isinstance(usd, (int, float)):
        return "-"
    if usd >= 1 or usd == 0:
        return f"${usd:.2f}"
    return f"${usd:.4f}" if usd >= 0.001 else f"${usd:.6f}"


def _seconds(ms: object) -> str:
    if not isinstance(ms, (int, float)):
        return "-"
    return f"{ms:.0f}ms" if ms < 100 else f"{ms / 1000:.2f}s"


def _stamp(unix_ns: int) -> str:
    return f"{_second(unix_ns // 1_000_000_000)}.{unix_ns // 1_000_000 % 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(unix_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))


def _fields(summary: dict[str, object], name: str, received_ns: int) -> dict[str, object]:
    return {
        "time": _stamp(received_ns),
        "level": "info",
        "event": "request",
        **summary,
        "trace": name,
    }


def _logfmt(summary: dict[str, object], name: str, received_ns: int) -> str:
    fields = _fields(summary, name, received_ns)
    del fields["trace"], fields["time"]
    told = " ".join(
        [
            f"{key}={value if type(value) in _BARE else _value(value)}"
            for key, value in fields.items()
            if value is not None
        ]
    )
    # These two need no quotes and never come again.
    return f"time={_stamp(received_ns)} {told} trace={name}"


_BARE = (int, float)


@lru_cache(maxsize=512)
def _value(value: object) -> str:
    """Quoted where it must be. Words come again: providers, models, causes."""
    text = str(value)
    return json.dumps(text) if not text or _QUOTED.search(text) else text


def _json(summary: dict[str, object], name: str, received_ns: int) -> str:
    return json.dumps(_fields(summary, name, received_ns))
