"""A filter over a request that still runs, of which little is known."""

from __future__ import annotations

from ..record.row import Row
from .fields import Kind
from .matching import Texts, matcher
from .tree import And, Node, Not, Or, Test


def foresee(node: Node, row: Row, known: frozenset[str]) -> bool | None:
    """Will it pass? `known`: the columns of `row` that will not change. None: it may or may not."""
    match node:
        case Test(field):
            if field.kind is Kind.SEARCH or field.column not in known:
                return None
            return matcher(node)(row, _nothing_said)
        case Not(part):
            inner = foresee(part, row, known)
            return None if inner is None else not inner
        case And(parts):
            found = [foresee(part, row, known) for part in parts]
            return False if False in found else None if None in found else True
        case Or(parts):
            found = [foresee(part, row, known) for part in parts]
            return True if True in found else None if None in found else False


def _nothing_said() -> Texts:
    raise AssertionError("only columns are asked")
