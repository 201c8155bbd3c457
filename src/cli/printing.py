"""Lines of a view on standard output: in color on a terminal, plain elsewhere; bytes as they are
where nobody's screen obeys them."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from ..utils.inert import inert
from ..views.lines import Line, Style
from .screen import say

_RICH = {
    Style.PLAIN: "",
    Style.TITLE: "bold",
    Style.DIM: "dim",
    Style.GOOD: "green",
    Style.BAD: "red",
    Style.ADDED: "green",
    Style.REMOVED: "red",
    Style.CHANGED: "yellow",
    Style.USER: "bold cyan",
    Style.ASSISTANT: "bold magenta",
    Style.TOOL: "blue",
}


def print_lines(lines: Iterable[Line]) -> None:
    """All of them; they are inert already."""
    if not sys.stdout.isatty():
        say("\n".join(line.text for line in lines))
        return
    from rich.console import Console  # noqa: PLC0415  50 ms, only for terminals
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, markup=False, emoji=False)
    for line in lines:
        console.print(Text(line.text, style=_RICH[line.style]), soft_wrap=True)


def print_bytes(data: bytes) -> None:
    """What was on the wire: exactly, or on a terminal so that it does nothing."""
    if sys.stdout.isatty():
        say(inert(data.decode("utf-8", "backslashreplace")))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
