"""Mistakes in a configuration: each one line, `place key: problem; what to do`, never a value
that may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Loc = tuple[str | int, ...]
"""The way to a setting: `("upstreams", 0, "base_url")`, as pydantic's `loc`."""


class ConfigError(Exception):
    """A configuration that cannot be used. `lines`: every mistake found, one line each."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = [_printable(line) for line in lines]
        super().__init__("\n".join(self.lines))


@dataclass(slots=True, frozen=True)
class Problem:
    """One mistake: at which setting, and the text `problem; what to do`.

    `place` is set where the source knows it better than the setting's own place would tell.
    """

    loc: Loc
    text: str
    place: str | None = None


def _printable(line: str) -> str:
    """A key may hold line breaks and terminal codes: they are shown, not sent."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def dotted(loc: Loc) -> str:
    """`upstreams.0.base_url`: how a setting is named in messages."""
    return ".".join(str(part) for part in loc)
