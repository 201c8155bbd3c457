"""A parsed filter: what is asked of a row, as a tree. `str` writes it so that `parse` reads it.

model:claude* (status:>=400 OR -tool:Bash)
And(Test(model, MATCH, "claude*"), Or(Test(status, GE, 400), Not(Test(tools, MATCH, "Bash"))))
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .fields import Field, Kind
from .values import written


class Op(Enum):
    """How a value is compared. A row that does not know the value fails every test but NONE."""

    MATCH = ":"  # equal; of texts a pattern, of SEARCH its words, see `Test`
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    NONE = "none"  # the value is unknown; of lists: there are none


@dataclass(slots=True, frozen=True)
class Test:
    """`value` in the column's own unit: text for texts, float or int for all others, bool for
    flags, None for NONE.

    `phrase`: a SEARCH that was quoted. Of every SEARCH the words (runs of letters and digits, case
    ignored) stand one after the other, `foo-bar` as `"foo bar"`; a value that is no phrase and ends
    with `*` takes any ending of its last word.
    """

    __test__ = False  # pytest: no class of tests

    field: Field
    op: Op
    value: str | float | int | bool | None
    phrase: bool = False

    def __str__(self) -> str:
        kind = self.field.kind
        if self.op is Op.NONE:
            return f"{self.field.name}:none"
        value = written(kind, self.value, phrase=self.phrase)
        if kind is Kind.SEARCH and value[0] == '"' and not self.phrase:
            return str(self.value)  # a word with a comma, which only stands without a field
        op = "" if self.op is Op.MATCH or kind is Kind.TIME else self.op.value
        return f"{self.field.name}:{op}{value}"


@dataclass(slots=True, frozen=True)
class Not:
    """Rows that `part` does not choose."""

    part: Node

    def __str__(self) -> str:
        return f"-{_grouped(self.part)}"


@dataclass(slots=True, frozen=True)
class And:
    """Rows that every part chooses; all rows where there is none. No part is an And."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(
            str(part) if isinstance(part, Not) else _grouped(part) for part in self.parts
        )


@dataclass(slots=True, frozen=True)
class Or:
    """Rows that at least one part chooses. No part is an Or."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " OR ".join(map(str, self.parts))


Node = Test | Not | And | Or


def _grouped(node: Node) -> str:
    return str(node) if isinstance(node, Test | Not) else f"({node})"
