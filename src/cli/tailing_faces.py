"""How `tail` is shown: lines, JSON lines, or on a terminal with what runs below."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live as LiveScreen
from rich.table import Table
from rich.text import Text

from ..live.tail import Face, Running
from ..query.scanning import Hit
from ..record.row import Row
from ..utils.inert import inert_line
from .cells import (
    count_text,
    iso,
    outcome_cells,
    seconds_text,
    time_text,
    tokens_text,
    usd_text,
)
from .screen import Cell, say, say_json

_MOST_SHOWN = 20
_NAME_WIDTH = 32
_BESIDE_NAME = 88
"""Columns of a finished request's line without its name and its id, with the longest cause."""


@contextmanager
def face(*, as_json: bool) -> Iterator[Face]:
    """The one that suits standard output."""
    if as_json:
        yield _JSON()
    elif not sys.stdout.isatty():
        yield _Lines()
    else:
        console = Console(highlight=False)
        with LiveScreen(console=console, auto_refresh=False, transient=True) as screen:
            yield _Terminal(console, screen)


def end_spans(row: Row, name_width: int = _NAME_WIDTH) -> list[Cell]:
    """A finished request on one line."""
    status, cause = outcome_cells(row)
    return [
        (time_text(row.received_us)[11:], "dim"),
        (f"  {_name(row)[:name_width]:<{name_width}} ", ""),
        (f"{status[0]:>3}", status[1]),
        (f" {tokens_text(row):>15}", ""),
        (f" {seconds_text(row.ttft_ms):>7} {seconds_text(row.duration_ms):>7}", ""),
        (f" {usd_text(row.cost_usd):>8}  ", ""),
        cause,
        (f"  {row.id}", "dim"),
    ]


def progress_text(running: Running) -> str:
    """`streams  1,234 events  56.7k bytes  12.30s`"""
    live = running.live
    if live.finished is not None:
        state = "ends"
    elif live.answered is None:
        state = "waits"
    else:
        state = "streams" if live.events else "answers"
    events = f"{live.events} events" if live.events else ""
    size = f"{count_text(live.response_bytes)} bytes"
    return f"{state:<8} {events:>12} {size:>12} {seconds_text(running.elapsed_s() * 1000):>8}"


def _name(row: Row) -> str:
    return inert_line(row.model or f"{row.method} {row.path}")


class _Lines:
    """Plain, for pipes and files."""

    def started(self, running: Running) -> None:
        self._say("start", running, f"{inert_line(running.row.method)} {_path(running.row)}")

    def progressed(self, running: Running) -> None:
        self._say("run", running, progress_text(running))

    def lost(self, running: Running) -> None:
        self._say("end", running, "over, and no trace was written")

    def ended(self, hit: Hit) -> None:
        self._line(f"end    {''.join(text for text, _ in end_spans(hit.row))}")

    def running(self, all_running: list[Running]) -> None:
        pass

    def _say(self, what: str, running: Running, text: str) -> None:
        row = running.row
        at = time_text(row.received_us)[11:]
        self._line(f"{what:<6} {at}  {_name(row)[:_NAME_WIDTH]:<{_NAME_WIDTH}} {text}  {row.id}")

    def _line(self, text: str) -> None:
        say(text)
        sys.stdout.flush()


class _JSON:
    """One object an event."""

    def started(self, running: Running) -> None:
        self._say("start", running)

    def progressed(self, running: Running) -> None:
        self._say("progress", running)

    def lost(self, running: Running) -> None:
        self._say("lost", running)

    def ended(self, hit: Hit) -> None:
        row = hit.row
        say_json({"event": "end", "received_at": iso(row.received_us), **row._asdict()})
        sys.stdout.flush()

    def running(self, all_running: list[Running]) -> None:
        pass

    def _say(self, event: str, running: Running) -> None:
        live, row = running.live, running.row
        say_json(
            {
                "event": event,
                "received_at": iso(row.received_us),
                "id": row.id,
                "model": live.model,
                "method": row.method,
                "path": row.path,
                "upstream": row.upstream,
                "status": live.answered.status if live.answered is not None else None,
                "events": live.events,
                "response_bytes": live.response_bytes,
                "elapsed_ms": round(running.elapsed_s() * 1000, 3),
            }
        )
        sys.stdout.flush()


class _Terminal:
    """What is over goes up, what runs stands below and is kept up to date."""

    def __init__(self, console: Console, screen: LiveScreen) -> None:
        self._console = console
        self._screen = screen

    def started(self, running: Running) -> None:
        pass  # it stands below

    def progressed(self, running: Running) -> None:
        pass

    def lost(self, running: Running) -> None:
        text = f"{_name(running.row)}  over, and no trace was written  {running.row.id}"
        self._console.print(Text(text, style="red"))

    def ended(self, hit: Hit) -> None:
        width = min(max(self._console.width - _BESIDE_NAME, 10), _NAME_WIDTH)
        clean = [(inert_line(text), style) for text, style in end_spans(hit.row, width)]
        self._console.print(Text.assemble(*clean), no_wrap=True, overflow="ellipsis")

    def running(self, all_running: list[Running]) -> None:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for running in all_running[-_MOST_SHOWN:]:
            at = time_text(running.row.received_us)[11:]
            table.add_row(
                Text(at, style="dim"),
                Text(_name(running.row), no_wrap=True, overflow="ellipsis"),
                Text(progress_text(running), style="cyan"),
                Text(running.row.id, style="dim"),
            )
        if len(all_running) > _MOST_SHOWN:
            table.add_row("", Text(f"and {len(all_running) - _MOST_SHOWN} more", style="dim"))
        self._screen.update(table, refresh=True)


def _path(row: Row) -> str:
    return inert_line(row.path)
