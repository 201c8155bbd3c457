"""A filter applied to rows, where there is no database to do it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from ..record.row import Row
from ..utils.addresses import without_port
from .fields import Kind
from .folding import lower
from .tree import And, Node, Not, Op, Or, Test
from .values import words

_COMPARE: dict[Op, Callable[[float, float], bool]] = {
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
    Op.MATCH: operator.eq,
}
PARTS = ("system", "messages", "tool_calls", "tool_results", "thinking", "answer")


class Texts(Protocol):
    """What was said, by parts."""

    @property
    def system(self) -> str: ...
    @property
    def messages(self) -> str: ...
    @property
    def tool_calls(self) -> str: ...
    @property
    def tool_results(self) -> str: ...
    @property
    def thinking(self) -> str: ...
    @property
    def answer(self) -> str: ...


GetTexts = Callable[[], Texts]
Matcher = Callable[[Row, GetTexts], bool]


def matcher(node: Node) -> Matcher:
    """Does a row pass? Its texts are asked for only where the row alone does not decide."""
    match node:
        case Test():
            return _test(node)
        case Not(part):
            return partial(_not, matcher(part))
        case And(parts):
            return partial(_all, [matcher(part) for part in sorted(parts, key=searches)])
        case Or(parts):
            return partial(_any, [matcher(part) for part in sorted(parts, key=searches)])


def searches(node: Node) -> bool:
    """Does it ask for what was said?"""
    match node:
        case Test(field):
            return field.kind is Kind.SEARCH
        case Not(part):
            return searches(part)
        case And(parts) | Or(parts):
            return any(map(searches, parts))


def pattern(test: Test) -> re.Pattern[str]:
    """What a SEARCH finds, in a text of any case."""
    found = r"[\W_]+".join(map(re.escape, words(str(test.value))))
    ending = "" if _takes_any_ending(test) else r"(?![^\W_])"
    return re.compile(rf"(?<![^\W_]){found}{ending}", re.IGNORECASE)


def places(
    found: re.Pattern[str], needles: Sequence[str], text: str, lowered: str
) -> Iterator[re.Match[str]]:
    """Where a SEARCH's pattern stands in a text. A plain search for its words passes over most of a
    text ten times as fast as the pattern does. `lowered`: the text in lower case."""
    if not all(needle in lowered for needle in needles):
        return
    if not needles or len(lowered) != len(text):
        yield from found.finditer(text)
        return
    at = lowered.find(needles[0])
    while at >= 0:
        place = found.match(text, at)
        if place is not None:
            yield place
        at = lowered.find(needles[0], place.end() if place is not None else at + 1)


def _takes_any_ending(test: Test) -> bool:
    return not test.phrase and str(test.value).endswith("*")


def _not(part: Matcher, row: Row, texts: GetTexts) -> bool:
    return not part(row, texts)


def _all(parts: Sequence[Matcher], row: Row, texts: GetTexts) -> bool:
    return all(part(row, texts) for part in parts)


def _any(parts: Sequence[Matcher], row: Row, texts: GetTexts) -> bool:
    return any(part(row, texts) for part in parts)


def _test(test: Test) -> Matcher:
    column, kind = test.field.column, test.field.kind
    if kind is Kind.SEARCH:
        return _search(test)
    value_of = operator.attrgetter(column)
    if test.op is Op.NONE:
        return lambda row, _: value_of(row) is None or value_of(row) == ()
    if kind in (Kind.TEXT, Kind.ID, Kind.LIST):
        return _text(test, value_of)
    compare, value = _COMPARE[test.op], test.value
    assert isinstance(value, (int, float))  # noqa: S101  the parser's

    def compared(row: Row, _: GetTexts) -> bool:
        known = value_of(row)
        return known is not None and compare(known, value)

    return compared


def _text(test: Test, value_of: Callable[[Row], object]) -> Matcher:
    wanted = lower(str(test.value))
    if test.field.kind is Kind.ID and "*" not in wanted:
        wanted += "*"
    fits = partial(glob, wanted)
    if test.field.kind is Kind.LIST:
        members = operator.attrgetter(test.field.column)
        return lambda row, _: any(fits(lower(member)) for member in members(row))

    def matches(row: Row, _: GetTexts) -> bool:
        value = value_of(row)
        return isinstance(value, str) and fits(lower(value))

    if test.field.column != "client_address":
        return matches

    def matches_address(row: Row, _: GetTexts) -> bool:
        value = (row.client_address or "").lower()
        return bool(value) and (fits(value) or fits(without_port(value)))

    return matches_address


def glob(wanted: str, text: str) -> bool:
    """Does all of `text` fit? `*` stands for anything. Linear, unlike a regular expression."""
    first, *rest = wanted.split("*")
    if not rest:
        return text == wanted
    *middle, last = rest
    at = len(first)
    if not text.startswith(first):
        return False
    for piece in middle:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(text) - len(last) >= at and text.endswith(last)


def _search(test: Test) -> Matcher:
    found, needles = pattern(test), words(str(test.value))
    parts = PARTS if test.field.column == "all" else (test.field.column,)

    def said(_: Row, texts: GetTexts) -> bool:
        known = texts()
        for part in parts:
            text: str = getattr(known, part)
            lowered = text.lower()
            if next(places(found, needles, lowered, lowered), None) is not None:
                return True
        return False

    return said
