"""What can be asked: the parameters of each endpoint, bounded, unknown ones refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..query.errors import FilterError
from ..query.fields import Kind
from ..query.groups import Group
from ..query.parser import parse
from ..query.tree import And, Node, Not, Or, Test
from ..query.values import words

_CONDITIONS = 100
_PATTERNS = 30  # each may stand for a thousand names, and a statement has room for 32,767 values
_DEEPEST = 20  # And, Or and Not within each other: at 24 SQLite's parser has no room on its stack
_WORDS = 100  # that are searched for: a phrase of n words is looked for n words deep at each place
_NO_NUL = r"^[^\x00]*$"

Filter = Annotated[str, StringConstraints(max_length=4000, pattern=_NO_NUL)]
Cursor = Annotated[str, StringConstraints(max_length=500, pattern=r"^[A-Za-z0-9_-]*$")]
TraceId = Annotated[str, StringConstraints(pattern=r"^[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}$")]

BUCKETS_US = {
    "1m": 60_000_000,
    "5m": 300_000_000,
    "15m": 900_000_000,
    "1h": 3_600_000_000,
    "6h": 21_600_000_000,
    "1d": 86_400_000_000,
}


class Asking(BaseModel):
    """Unknown parameters are refused: a misspelt filter must not show everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Filtered(Asking):
    """With a filter."""

    q: Filter = Field(default="", description="a filter, as `llmtap filters` explains it")

    def node(self) -> Node:
        """Raises FilterError."""
        node = parse(self.q, time.time_ns() // 1000)
        tests = list(_tests(node))
        searches = [str(test.value) for test in tests if test.field.kind is Kind.SEARCH]
        patterns = sum("*" in str(test.value) for test in tests) - sum("*" in s for s in searches)
        for found, most, what in (
            (len(tests), _CONDITIONS, "conditions"),
            (patterns, _PATTERNS, "values with *"),
            (_depth(node), _DEEPEST, "levels within each other"),
            (sum(len(words(text)) for text in searches), _WORDS, "words to search for"),
        ):
            if found > most:
                raise FilterError(0, f"has more than {most} {what}", len(self.q))
        return node


class PageAsked(Filtered):
    """A page of requests."""

    sort: Literal[
        "-received",
        "received",
        "-duration",
        "duration",
        "-ttft",
        "ttft",
        "-overhead",
        "overhead",
        "-in",
        "in",
        "-out",
        "out",
        "-cached",
        "cached",
        "-reasoning",
        "reasoning",
        "-cost",
        "cost",
        "-status",
        "status",
    ] = Field(default="-received", description="`-` for the greatest first")
    cursor: Cursor | None = Field(default=None, description="where the page before has ended")
    limit: int = Field(default=50, ge=1, le=500)


class SearchAsked(Filtered):
    """Where something was said."""

    cursor: Cursor | None = None
    limit: int = Field(default=20, ge=1, le=50)
    each: int = Field(default=2, ge=1, le=10, description="places of each word and request")


class SessionsAsked(Asking):
    """A page of sessions."""

    cursor: Cursor | None = None
    limit: int = Field(default=50, ge=1, le=500)


class StatsAsked(Filtered):
    """Sums."""

    bucket: Literal["1m", "5m", "15m", "1h", "6h", "1d"] | None = Field(
        default=None, description="one sum for each so long, from 00:00 UTC; none: one for all time"
    )
    by: Group | None = Field(default=None, description="one sum for each value")


class DocumentAsked(Asking):
    """One trace."""

    bodies: Literal["0", "1"] = Field(default="1", description="0: without them")


class NothingAsked(Asking):
    """No parameters."""


def _tests(node: Node) -> Iterator[Test]:
    match node:
        case Test():
            yield node
        case Not(part):
            yield from _tests(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from _tests(part)


def _depth(node: Node) -> int:
    match node:
        case Test():
            return 0
        case Not(part):
            return 1 + _depth(part)
        case And(parts) | Or(parts):
            return 1 + max(map(_depth, parts), default=0)
