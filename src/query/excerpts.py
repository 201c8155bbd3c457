"""Where a filter's words stand in what was said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from .fields import Kind
from .matching import PARTS, Texts, pattern, places
from .tree import And, Node, Not, Or, Test
from .values import words

_AROUND = 60  # characters on either side
_NEAR = 4096
_SPACES = re.compile(r"\s+")


@dataclass(slots=True, frozen=True)
class Excerpt:
    """A place: the part of the conversation, the found text, what stands around it."""

    part: str
    before: str
    found: str
    after: str


def searched(node: Node) -> tuple[Test, ...]:
    """The searches that a row can pass by, from left to right; not those that exclude."""
    match node:
        case Test(field):
            return (node,) if field.kind is Kind.SEARCH else ()
        case Not():
            return ()
        case And(parts) | Or(parts):
            return tuple(test for part in parts for test in searched(part))


def excerpts(tests: tuple[Test, ...], texts: Texts, each: int) -> Iterator[Excerpt]:
    """For every search its first places, at most `each`. Answers first: what was asked stands in
    all later requests of a session, too."""
    for test in tests:
        left, found, needles = each, pattern(test), words(str(test.value))
        names = reversed(PARTS) if test.field.column == "all" else (test.field.column,)
        for name in names:
            text: str = getattr(texts, name)
            if not left:
                break
            for place in _first(found, needles, text, left):
                left -= 1
                yield _excerpt(name, text, *place.span())


def _first(
    found: re.Pattern[str], needles: Sequence[str], text: str, most: int
) -> list[re.Match[str]]:
    """Common words stand near the beginning: of most texts all is not looked through."""
    near = [place for place in islice(found.finditer(text, 0, _NEAR), most) if place.end() < _NEAR]
    if len(near) == most or len(text) < _NEAR:
        return near
    return list(islice(places(found, needles, text, text.lower()), most))


def _excerpt(part: str, text: str, begin: int, end: int) -> Excerpt:
    before = text[max(begin - _AROUND, 0) : begin]
    after = text[end : end + _AROUND]
    if begin > _AROUND:
        before = "…" + before.partition(" ")[2] if " " in before[:20] else "…" + before
    if end + _AROUND < len(text):
        after = after.rpartition(" ")[0] + "…" if " " in after[-20:] else after + "…"
    return Excerpt(part, *(_SPACES.sub(" ", piece) for piece in (before, text[begin:end], after)))
