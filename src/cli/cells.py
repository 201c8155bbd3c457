"""How a row's values are written in tables."""

from __future__ import annotations

from datetime import UTC, datetime

from ..record.row import Row
from .screen import Cell

_MILD = frozenset(("client_disconnected", "rejected", "shutdown"))


def outcome_style(cause: str) -> str:
    """Green, yellow or red."""
    return "green" if cause == "ok" else "yellow" if cause in _MILD else "red"


def time_text(us: int) -> str:
    """`2026-11-21 10:11:12`, UTC as files and filters have it."""
    return f"{datetime.fromtimestamp(us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def iso(us: int) -> str:
    """RFC 3339 with microseconds."""
    seconds, part = divmod(us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{part:06d}Z"


def count_text(number: float | None) -> str:
    """`-`, `9999`, `12.3k`, `4.5M`"""
    if number is None:
        return "-"
    if number < 10_000:
        return f"{number:g}"
    return f"{number / 1000:.1f}k" if number < 1e6 else f"{number / 1e6:.1f}M"


def seconds_text(ms: float | None) -> str:
    """`-`, `4ms`, `0.31s`, `2m05s`"""
    if ms is None:
        return "-"
    if ms < 100:
        return f"{ms:.0f}ms"
    seconds = ms / 1000
    return f"{seconds:.2f}s" if seconds < 100 else f"{int(seconds // 60)}m{int(seconds % 60):02d}s"


def usd_text(usd: float | None) -> str:
    """`-`, `$0.0123`, `$12.34`; `<$0.0001` of what is too little to show: it was not free."""
    if usd is None:
        return "-"
    if 0 < usd < 0.0001:
        return "<$0.0001"
    return f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}"


def tokens_text(row: Row) -> str:
    """`1.2k → 345`, `~1.2k → 345` where they are estimated; `-` where nothing is known."""
    if row.input_tokens is None and row.output_tokens is None:
        return "-"
    about = "~" if row.usage_source == "estimated" else ""
    return f"{about}{count_text(row.input_tokens)} → {count_text(row.output_tokens)}"


def outcome_cells(row: Row) -> tuple[Cell, Cell]:
    """Status and cause."""
    style = outcome_style(row.cause)
    return (str(row.status or "ERR"), style), (row.cause, style)
