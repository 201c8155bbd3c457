"""Tables and lines on standard output: rich on a terminal, plain text elsewhere, JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from ..utils.inert import inert_json, inert_line

_GAP = 2

Cell = tuple[str, str]
"""A text, and rich's style for it."""


@dataclass(slots=True, frozen=True)
class Column:
    """`right`: numbers. Where the terminal is narrow: `least`: so short it may become, 0: never;
    `keeps_end`: by its beginning; `goes`: it is left out, the highest first, 0: never."""

    title: str
    right: bool = False
    least: int = 0
    keeps_end: bool = False
    goes: int = 0


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """All rows below their titles."""
    clean = [[(inert_line(text), style) for text, style in row] for row in rows]
    widths = [
        max([len(column.title), *(len(row[index][0]) for row in clean)])
        for index, column in enumerate(columns)
    ]
    if sys.stdout.isatty():
        _print_rich(columns, clean, widths)
    else:
        _print_plain(columns, clean, widths)


def _print_rich(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], widths: list[int]
) -> None:
    from rich.console import Console  # noqa: PLC0415  50 ms, only for terminals
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    kept = _kept(columns, widths, console.width)
    columns = [columns[index] for index in kept]
    fitted = _fitted(columns, [widths[index] for index in kept], console.width)
    for column, width in zip(columns, fitted, strict=True):
        side: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.title, justify=side, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        shown = zip([row[index] for index in kept], columns, fitted, strict=True)
        table.add_row(*(Text(_ended(c[0], of, width), style=c[1]) for c, of, width in shown))
    console.print(table)


def _ended(text: str, column: Column, width: int) -> str:
    """The end of what is too long, where that tells more; else rich cuts it."""
    too_long = column.keeps_end and len(text) > width > 1
    return f"…{text[1 - width :]}" if too_long else text


def _kept(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """Which columns there is room for: half a number is worse than none."""
    kept = list(range(len(columns)))
    while _least_width(columns, widths, kept) > room:
        going = max(kept, key=lambda index: columns[index].goes)
        if not columns[going].goes:
            break
        kept.remove(going)
    return kept


def _least_width(columns: Sequence[Column], widths: list[int], kept: list[int]) -> int:
    least = [min(columns[index].least or widths[index], widths[index]) for index in kept]
    return sum(least) + _GAP * (len(kept) - 1)


def _fitted(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """What has most to spare becomes shorter first."""
    fitted = list(widths)
    for _ in range(max(sum(widths) + _GAP * (len(widths) - 1) - room, 0)):
        spare = [
            (width - column.least, index)
            for index, (column, width) in enumerate(zip(columns, fitted, strict=True))
            if column.least and width > column.least
        ]
        if not spare:
            break
        fitted[max(spare)[1]] -= 1
    return fitted


def _print_plain(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], widths: list[int]
) -> None:
    titles = [(column.title, "") for column in columns]
    for row in (titles, *rows):
        cells = [
            text.rjust(width) if column.right else text.ljust(width)
            for (text, _), width, column in zip(row, widths, columns, strict=True)
        ]
        say((" " * _GAP).join(cells).rstrip())


def say(text: str) -> None:
    """One line of the result."""
    data = f"{text}\n".encode("utf-8", "replace")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def say_json(value: Mapping[str, Any] | object) -> None:  # Any: what JSON has
    """One JSON object on a line."""
    say(inert_json(orjson.dumps(value).decode()))


def styled(spans: Sequence[Cell]) -> None:
    """One line of texts with their styles."""
    clean = [(inert_line(text), style) for text, style in spans]
    if not sys.stdout.isatty():
        say("".join(text for text, _ in clean))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    Console(highlight=False).print(Text.assemble(*clean), soft_wrap=True)
