"""What a filter asks for, as far as it decides how a page is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement

from ..query.fields import Kind
from ..query.folding import lower
from ..query.matching import glob
from ..query.tree import And, Node, Not, Op, Test
from .compiling import Compiler, match_of
from .tables import SEQ_STEP, records

_FEW = 30  # values looked up one by one
FIRST_SEQ, LAST_SEQ = -(1 << 62), 1 << 62


class Asked:
    """A filter taken apart: bounds of time that all rows must be within, and the rest."""

    def __init__(
        self, node: Node, names: Mapping[str, Sequence[str]], owned: tuple[ColumnElement[bool], ...]
    ) -> None:
        parts = node.parts if isinstance(node, And) else (node,)
        self._times = [part for part in parts if isinstance(part, Test) and _is_time(part)]
        others = tuple(part for part in parts if not _is_time(part))
        self.rest: Node = others[0] if len(others) == 1 else And(others)
        self.names = names
        self.owned = owned

    def times(self, sqlite: bool) -> list[ColumnElement[bool]]:
        """The bounds, as bounds of `seq`."""
        return [Compiler(sqlite).compile(part) for part in self._times]

    @property
    def is_unbounded(self) -> bool:
        """Is it asked for rows of all time?"""
        return not self._times

    def bounds(self) -> tuple[int, int]:
        """The bounds, roughly: no row outside is asked for."""
        first, last = FIRST_SEQ, LAST_SEQ
        for part in self._times:
            seq = int(str(part.value)) * SEQ_STEP
            if part.op in (Op.GE, Op.GT):
                first = max(first, seq)
            elif part.op in (Op.LE, Op.LT):
                last = min(last, seq + SEQ_STEP)
        return first, last


def _is_time(node: Node) -> bool:
    return isinstance(node, Test) and node.field.kind is Kind.TIME


def parts_of(node: Node) -> tuple[Node, ...]:
    """What all has to be so."""
    return node.parts if isinstance(node, And) else (node,)


def is_one_value(node: Node) -> bool:
    """Is it one value of one column, which its index has in order of time?"""
    if not isinstance(node, Test) or node.field.kind in (Kind.SEARCH, Kind.LIST, Kind.TIME):
        return False
    if node.op is Op.NONE:
        return True
    if node.op is not Op.MATCH or node.field.kind is Kind.ID:
        return False
    if node.field.column == "client_address":  # whose index leaves the port out
        return False
    return node.field.kind is not Kind.TEXT or "*" not in str(node.value)


def few_values(node: Node, names: Mapping[str, Sequence[str]]) -> list[str]:
    """Of a test of one column that comes down to a few values: these, in lower case."""
    if not isinstance(node, Test) or node.op is not Op.MATCH:
        return []
    kind, column, pattern = node.field.kind, node.field.column, lower(str(node.value))
    if kind is Kind.LIST and "*" not in pattern:
        return [pattern]
    if kind not in (Kind.TEXT, Kind.LIST) or column not in names:
        return []
    fits = sorted({known for known in map(lower, names[column]) if glob(pattern, known)})
    return fits if len(fits) <= _FEW else []


def split_said(node: Node) -> tuple[list[Test], Node]:
    """What has to be said, and what else is asked for."""
    parts = parts_of(node)
    said = [p for p in parts if isinstance(p, Test) and p.field.kind is Kind.SEARCH]
    return said, And(tuple(part for part in parts if part not in said))


def one_match(said: Sequence[Test]) -> str | None:
    """All of these as one query of SQLite's index of words; None where there is none."""
    queries = [query for test in said if (query := match_of(test)) is not None]
    if not queries or len(queries) < len(said):
        return None
    return " AND ".join(f"({query})" for query in queries)


def unsaid(node: Node) -> list[Test]:
    """What must not be said."""
    tests = [part.part for part in parts_of(node) if isinstance(part, Not)]
    return [t for t in tests if isinstance(t, Test) and t.field.kind is Kind.SEARCH]


def only_unsaid(node: Node) -> list[Test]:
    """The same, if nothing else is asked for."""
    found = unsaid(node)
    return found if len(found) == len(parts_of(node)) else []


def has_index(node: Node) -> bool:
    """Is there a part whose index finds fewer rows than there are?"""
    return any(isinstance(part, Test) and part.op is not Op.NONE for part in parts_of(node))


def moved(bound: Any, seq: ColumnElement[int]) -> ColumnElement[bool]:  # noqa: ANN401  has no type
    """A bound of time as one of another table, whose index knows how to begin there."""
    if getattr(bound, "left", None) is not records.c.seq:
        return bound  # type: ignore[no-any-return]  # not of time
    return bound.operator(seq, bound.right)  # type: ignore[no-any-return]  # as it was
