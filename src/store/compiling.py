"""A filter as SQL, for SQLite and Postgres, as `query.matching` would judge each row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy import text as sql
from sqlalchemy import true
from sqlalchemy.sql.expression import FromClause, bindparam, column, literal_column, table

from ..query.fields import Kind
from ..query.folding import lower
from ..query.matching import glob
from ..query.tree import And, Node, Not, Op, Or, Test
from ..query.values import words
from .binning import bin_of
from .hosts import LAST, host_key, host_like, is_host, without_port
from .tables import (
    BINNED_COLUMNS,
    LIST_COLUMNS,
    PARTS,
    SEQ_STEP,
    TEXT_COLUMNS,
    bin_name,
    labels,
    records,
    tsvector_texts,
)

_COMPARE: dict[Op, Callable[[Any, Any], ColumnElement[bool]]] = {  # columns' own operators
    Op.MATCH: lambda a, b: a == b,
    Op.LT: lambda a, b: a < b,
    Op.LE: lambda a, b: a <= b,
    Op.GT: lambda a, b: a > b,
    Op.GE: lambda a, b: a >= b,
}
_ROUGHLY = {**_COMPARE, Op.LT: _COMPARE[Op.LE], Op.GT: _COMPARE[Op.GE]}
Names = Mapping[str, Sequence[str]]
"""The distinct values of columns, where they are few: a pattern becomes a list of these."""


@dataclass(slots=True, frozen=True)
class Compiler:
    """`compile(node)` for one dialect. `rows`: `records`, or a selection of it. `by_row`: what
    lies in other tables is asked for each row; else all of it is found first, by its index: all
    that is `within` the first and the last seq of interest."""

    sqlite: bool
    names: Names = field(default_factory=dict)
    rows: FromClause = records
    by_row: bool = False
    within: tuple[int, int] | None = None

    def compile(self, node: Node) -> ColumnElement[bool]:
        """True for the rows that `node` chooses; true or false, never unknown, under a Not."""
        match node:
            case Test():
                return self._test(node)
            case Not(Test() as part) if part.field.kind in (Kind.SEARCH, Kind.LIST):
                return not_(self.compile(part))  # never unknown, and a join for Postgres
            case Not(part):
                return not_(func.coalesce(self.compile(part), false()))
            case And(parts):
                return and_(true(), *map(self.compile, parts))
            case Or(parts):
                return or_(false(), *map(self.compile, parts))

    def _test(self, test: Test) -> ColumnElement[bool]:
        kind = test.field.kind
        if kind is Kind.SEARCH:
            return self._search(test)
        if kind is Kind.LIST:
            return self._list(test)
        if kind is Kind.TIME:
            return _COMPARE[test.op](self.rows.c.seq, literal(_seq_of(test.value)))
        if test.op is Op.NONE:
            return self._key(test).is_(None)
        if kind in (Kind.TEXT, Kind.ID):
            return self._column(test.field.column, _pattern(test))
        return self._number(test)

    def _column(self, name: str, pattern: str) -> ColumnElement[bool]:
        """An address with its port or without."""
        whole = self.rows.c[name]
        if name != "client_address":
            return self.text(whole, pattern, name)
        low = func.lower(whole)
        some = "*" in pattern
        host = self.text(without_port(low), pattern, "") if some else is_host(low, pattern)
        chosen = or_(self.text(whole, pattern, ""), host)
        return chosen if self.by_row else and_(host_like(pattern), chosen)

    def _number(self, test: Test) -> ColumnElement[bool]:
        """By the bins' index first, then to the letter."""
        name = test.field.column
        exact = _COMPARE[test.op](self.rows.c[name], literal(test.value))
        if name not in BINNED_COLUMNS:
            return exact
        bins, edge = self.rows.c[bin_name(name)], literal(bin_of(test.value))  # type: ignore[arg-type]  # a number
        return and_(_ROUGHLY[test.op](bins, edge), exact)

    def one_value(self, test: Test) -> tuple[ColumnElement[Any], ColumnElement[bool]]:
        """Of a test of one value of one column: what its index has, and the condition.

        Written as a range, so that Postgres, asked for the order of the index, takes the index: of
        an equality it knows that the order is that of time, and reads all rows in that order where
        the value ought to come soon but has been gone for weeks.
        """
        key = self._key(test)
        if test.op is Op.NONE:
            return key, key.is_(None)
        if test.field.kind is Kind.TEXT:
            return key, self.same(key, _pattern(test))
        if test.field.column in BINNED_COLUMNS:
            bins = bin_of(test.value)  # type: ignore[arg-type]  # a number
            return key, and_(self.same(key, bins), self.compile(test))
        return key, self.same(key, test.value)

    def _key(self, test: Test) -> ColumnElement[Any]:
        """What the index of a column has."""
        name = test.field.column
        if name == "client_address" and not self.by_row:
            return host_key
        if name in TEXT_COLUMNS:
            return self.folded(self.rows.c[name])
        return self.rows.c[bin_name(name) if name in BINNED_COLUMNS else name]

    def same(self, key: ColumnElement[Any], value: object) -> ColumnElement[bool]:
        """See `one_value`."""
        return key == value if self.sqlite else key.between(value, value)

    # --- texts ---

    def folded(self, value: ColumnElement[Any]) -> ColumnElement[Any]:
        """A text column as its index has it."""
        return value if self.sqlite else func.lower(value)

    def text(self, value: ColumnElement[Any], pattern: str, name: str) -> ColumnElement[bool]:
        """`pattern` in lower case, `*` for anything."""
        folded = self.folded(value)
        if "*" not in pattern:
            return folded == pattern
        if name in self.names:
            fits = [known for known in map(lower, self.names[name]) if glob(pattern, known)]
            return folded == fits[0] if len(fits) == 1 else folded.in_(fits)
        start = pattern.partition("*")[0]
        parts = [folded >= start, folded < start + LAST] if start else []
        if start + "*" != pattern:
            parts.append(folded.like(_like(pattern), escape="\\"))
        return and_(value.is_not(None), *parts)

    def _list(self, test: Test) -> ColumnElement[bool]:
        kind = labels.c.kind == literal(LIST_COLUMNS[test.field.column])
        if test.op is Op.NONE:
            return not_(exists().where(kind, labels.c.seq == self.rows.c.seq))
        value = self.text(labels.c.value, _pattern(test), test.field.column)
        if self.by_row:
            return self._exists(select(labels.c.seq).where(kind, value), labels.c.seq)
        return self._among(select(labels.c.seq).where(kind, value), labels.c.seq)

    def _among(self, query: Select[Any], seq: ColumnElement[int]) -> ColumnElement[bool]:
        """Found first. Postgres makes a join of an EXISTS, but may ask an IN anew for each row."""
        query = query.where(*self._near(seq))
        if self.sqlite:
            return self.rows.c.seq.in_(query)
        return exists(query.where(seq == self.rows.c.seq).correlate(self.rows))

    def _near(self, seq: ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
        return () if self.within is None else (seq.between(*self.within),)

    def _exists(self, query: Select[Any], seq: ColumnElement[int]) -> ColumnElement[bool]:
        """Looked up row by row: Postgres would make a join of it, over all there is, were it not
        for the offset."""
        query = query.where(seq == self.rows.c.seq).correlate(self.rows)
        return exists(query if self.sqlite else query.offset(literal_column("0")))

    # --- what was said ---

    def _search(self, test: Test) -> ColumnElement[bool]:
        return self._said_sqlite(test) if self.sqlite else self._said_postgres(test)

    def _said_sqlite(self, test: Test) -> ColumnElement[bool]:
        query = match_of(test)
        if query is None:
            return false()
        found = sql("said MATCH :said").bindparams(bindparam("said", query, unique=True))
        rowid: ColumnElement[int] = literal_column("said.rowid")
        if self.by_row:
            inner = select(literal(1)).select_from(SAID).where(found, rowid == self.rows.c.seq)
            return exists(inner.correlate(self.rows))
        inner = select(rowid).select_from(SAID).where(found, *self._near(rowid))
        return self.rows.c.seq.in_(inner.correlate(None))

    def _said_postgres(self, test: Test) -> ColumnElement[bool]:
        if tsquery_of(test) is None:
            return false()
        texts = tsvector_texts
        found = select(texts.c.seq).where(says(test))
        if self.by_row:
            return self._exists(found, texts.c.seq)
        return self._among(found, texts.c.seq)


SAID = table("said", column("rowid"))
"""SQLite's index of what was said."""


def match_of(test: Test) -> str | None:
    """An FTS5 query; None for one without words."""
    wanted = words_of(test)
    if not wanted:
        return None
    found = '"' + " ".join(wanted) + '"' + (" *" if takes_any_ending(test) else "")
    return found if test.field.column == "all" else f"{{{test.field.column}}} : {found}"


def tsquery_of(test: Test) -> str | None:
    """The same for Postgres."""
    wanted = words_of(test)
    if not wanted:
        return None
    return " <-> ".join(f"'{word}'" for word in wanted) + (":*" if takes_any_ending(test) else "")


_LIKELY_FIRST = sorted(PARTS, key=lambda part: part != "messages")


def says(test: Test) -> ColumnElement[bool]:
    """Of a row of Postgres's texts."""
    query = tsquery_of(test)
    if query is None:
        return false()
    parts = _LIKELY_FIRST if test.field.column == "all" else [test.field.column]
    asked = func.to_tsquery("simple", query)
    texts = tsvector_texts.c
    return or_(*(texts[part].op("@@", is_comparison=True)(asked) for part in parts))


def words_of(test: Test) -> list[str]:
    """The words one after the other."""
    return words(str(test.value))


def takes_any_ending(test: Test) -> bool:
    """Only of what was not quoted."""
    return not test.phrase and str(test.value).endswith("*")


def _seq_of(received_us: object) -> int:
    return int(str(received_us)) * SEQ_STEP


def _pattern(test: Test) -> str:
    pattern = lower(str(test.value))
    if test.field.kind is Kind.ID and "*" not in pattern:
        pattern += "*"
    return pattern


def _like(pattern: str) -> str:
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern)
    return escaped.replace("*", "%")


def tests_in(node: Node) -> list[Test]:
    """Every test of a filter."""
    match node:
        case Test():
            return [node]
        case Not(part):
            return tests_in(part)
        case And(parts) | Or(parts):
            return [test for part in parts for test in tests_in(part)]
