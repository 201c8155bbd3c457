"""The filter language, read: a text to a tree. What it means stands in `filters.md`.

filter  = all ("OR" all)*
all     = (["AND"] one)+
one     = ("-" | "NOT") one | "(" filter ")" | field ":" value ("," value)* | word | "words"
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import FilterError
from .fields import FIELDS, Field, Kind
from .lexer import Mark, Token, Value, tokens
from .tree import And, Node, Not, Op, Or, Test
from .values import read

_DEEPEST = 50
_CLASS = re.compile(r"([1-9])xx", re.IGNORECASE)
_OPS = {"": Op.MATCH, "=": Op.MATCH, "<": Op.LT, "<=": Op.LE, ">": Op.GT, ">=": Op.GE}
_ORDERED = (Kind.NUMBER, Kind.DURATION, Kind.MONEY)
_SMALL = frozenset(("or", "and", "not"))
_TIMES = {"since": Op.GE, "until": Op.LT}


def parse(text: str, now_us: int) -> Node:
    """The tree of a filter; of an empty one, an And without parts, which chooses every row.

    `now_us`: what `since:2h` counts from, microseconds since 1970. Raises FilterError.
    """
    return _Parser(text, now_us).whole()


def all_of(nodes: Iterable[Node]) -> Node:
    """Their And, flat; one alone is itself."""
    parts = tuple(p for node in nodes for p in (node.parts if isinstance(node, And) else (node,)))
    return parts[0] if len(parts) == 1 else And(parts)


def any_of(nodes: Iterable[Node]) -> Node:
    """Their Or, flat; one alone is itself."""
    parts = tuple(p for node in nodes for p in (node.parts if isinstance(node, Or) else (node,)))
    return parts[0] if len(parts) == 1 else Or(parts)


class _Parser:
    def __init__(self, text: str, now_us: int) -> None:
        self._now_us = now_us
        self._tokens = list(tokens(text))
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        if self._next.mark is Mark.END:
            return And(())
        node = self._any()
        if self._next.mark is Mark.CLOSE:
            raise FilterError(self._next.position, "no ( was opened for this )")
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at += 1
        return token

    def _any(self) -> Node:
        parts = [self._all()]
        while self._next.mark is Mark.OR:
            self._take()
            parts.append(self._all())
        return any_of(parts)

    def _all(self) -> Node:
        parts = [self._one()]
        while self._next.mark not in (Mark.END, Mark.CLOSE, Mark.OR):
            if self._next.mark is Mark.AND:
                self._take()
            parts.append(self._one())
        return all_of(parts)

    def _one(self) -> Node:
        token = self._take()
        if token.mark is Mark.TERM:
            self._refuse_small(token)
            return self._term(token)
        if token.mark not in (Mark.NOT, Mark.OPEN):
            raise FilterError(token.position, _missing(token), token.length)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise FilterError(token.position, f"nested deeper than {_DEEPEST} levels")
        node = Not(self._one()) if token.mark is Mark.NOT else self._group(token)
        self._depth -= 1
        return node

    def _refuse_small(self, token: Token) -> None:
        """`or` beside a field is meant as OR, and would choose nothing as a word."""
        word = token.values[0]
        if token.field or word.quoted or word.text not in _SMALL:
            return
        beside = self._tokens[max(self._at - 2, 0) : self._at + 1]
        if any(other.field for other in beside):
            big = word.text.upper()
            hint = f'write {big}; in quotes, "{word.text}", it is searched for'
            raise FilterError(token.position, hint, token.length)

    def _group(self, opened: Token) -> Node:
        node = self._any()
        if self._take().mark is not Mark.CLOSE:
            raise FilterError(opened.position, "this ( is never closed")
        return node

    def _term(self, token: Token) -> Node:
        field = FIELDS[token.field or "body"]
        return any_of([self._test(field, value) for value in token.values])

    def _test(self, field: Field, value: Value) -> Node:
        try:
            op = _op(field, value)
            if op is Op.NONE:
                return Test(field, op, None)
            if (found := _CLASS.fullmatch(value.text)) and field.name == "status":
                return _class(field, op, int(found[1]) * 100)
            typed = read(field, value.text, self._now_us)
        except ValueError as error:
            length = len(value.text) + 2 * value.quoted + len(value.operator)
            begin = value.position - len(value.operator)
            raise FilterError(begin, f"{field.name}: {error}", length) from None
        return Test(field, op, typed, phrase=value.quoted and field.kind is Kind.SEARCH)


def _op(field: Field, value: Value) -> Op:
    """Raises ValueError."""
    op = _OPS[value.operator]
    if field.kind is Kind.TIME:
        if value.operator:
            raise ValueError(f"takes a time alone, like {field.example}")
        return _TIMES[field.name]
    if op is not Op.MATCH and field.kind not in _ORDERED:
        raise ValueError(f"cannot be compared by {value.operator}; in quotes it is a text")
    if value.text.lower() == "none" and not value.quoted and field.kind is not Kind.SEARCH:
        if value.operator:
            raise ValueError(f"none is not compared: write {field.name}:none")
        return Op.NONE
    return op


def _class(field: Field, op: Op, hundreds: int) -> Node:
    """Raises ValueError."""
    if op is not Op.MATCH:
        raise ValueError(f"takes {hundreds} here, as 4xx is a range of its own")
    return And((Test(field, Op.GE, hundreds), Test(field, Op.LT, hundreds + 100)))


def _missing(token: Token) -> str:
    place = "at the end" if token.mark is Mark.END else f"before {token.mark.value}"
    return f"a condition is missing {place}, like status:>=400"
