"""A parsed filter: what is asked of a row, as a tree.

model:claude* (status:>=400 OR -tool:Bash)
And(Test(model, MATCH, "claude*"), Or(Test(status, GE, 400), Not(Test(tools, MATCH, "Bash"))))
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .fields import Field


class Op(Enum):
    """How a value is compared. A row that does not know the value fails every test but NONE."""

    MATCH = ":"  # equal; of texts a pattern, of SEARCH all its words, of a quoted one the phrase
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    NONE = "none"  # the value is unknown


@dataclass(slots=True, frozen=True)
class Test:
    """`value` in the column's own unit: text for texts, float or int for all others, bool for
    flags, None for NONE. `phrase`: it was quoted."""

    field: Field
    op: Op
    value: str | float | int | bool | None
    phrase: bool = False


@dataclass(slots=True, frozen=True)
class Not:
    """Rows that `part` does not choose."""

    part: Node


@dataclass(slots=True, frozen=True)
class And:
    """Rows that every part chooses; all rows where there is none."""

    parts: tuple[Node, ...]


@dataclass(slots=True, frozen=True)
class Or:
    """Rows that at least one part chooses."""

    parts: tuple[Node, ...]


Node = Test | Not | And | Or
