"""Lines for people: each a text and what kind of line it is; colors are the printer's business."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..utils.inert import inert


class Style(Enum):
    """What a line is."""

    PLAIN = "plain"
    TITLE = "title"
    DIM = "dim"
    GOOD = "good"
    BAD = "bad"
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(slots=True, frozen=True)
class Line:
    """One line, harmless for a terminal."""

    text: str
    style: Style = Style.PLAIN


@dataclass(slots=True, frozen=True)
class Fold:
    """How much of a text is shown."""

    lines: int
    chars: int


def folded(text: str, fold: Fold | None, style: Style, indent: str = "  ") -> list[Line]:
    """A text's lines, indented; what is over the fold is counted instead. Without one, all."""
    if fold is None or (len(text) <= fold.chars and text.count("\n") < fold.lines):
        return _lines(text, style, indent)
    kept = "\n".join(text[: fold.chars].split("\n", fold.lines)[: fold.lines])
    rest = text[len(kept) :]
    more = f"… {len(rest):,} more characters"
    if breaks := rest.count("\n"):
        more += f", {breaks:,} lines"
    return [*_lines(kept, style, indent), Line(f"{indent}{more}", Style.DIM)]


def _lines(text: str, style: Style, indent: str) -> list[Line]:
    return [Line(indent + line, style) for line in inert(text).split("\n")]


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 message`, `1,200 messages`"""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
