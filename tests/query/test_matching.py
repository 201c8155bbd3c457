"""A filter applied to rows, against an evaluator that is slow and plain."""

from __future__ import annotations

import fnmatch
import re
import time
from dataclasses import asdict

from hypothesis import given, settings

from src.query.fields import Kind
from src.query.matching import glob, matcher
from src.query.parser import parse
from src.query.prefilter import may_fit, time_bounds
from src.query.tree import And, Node, Not, Op, Or, Test
from src.record.row import Row

from .trees import NOW_US, Said, nodes, rows, said

ROW_404 = Row(**dict.fromkeys(Row._fields) | {"status": 404})


def chooses(node: Node, row: Row, texts: Said) -> bool:
    """What the tree says, word by word."""
    if isinstance(node, Not):
        return not chooses(node.part, row, texts)
    if isinstance(node, And):
        return False not in [chooses(part, row, texts) for part in node.parts]
    if isinstance(node, Or):
        return True in [chooses(part, row, texts) for part in node.parts]
    if node.field.kind is Kind.SEARCH:
        column = node.field.column
        parts = asdict(texts).values() if column == "all" else [getattr(texts, column)]
        return any(holds(part, node) for part in parts)
    value = getattr(row, node.field.column)
    if node.op is Op.NONE:
        return value in (None, ())
    if value is None:
        return False
    if node.field.kind in (Kind.TEXT, Kind.ID, Kind.LIST):
        members = value if isinstance(value, tuple) else (value,)
        return any(alike(node, member) for member in members)
    return {
        Op.MATCH: value == node.value,
        Op.LT: value < node.value,
        Op.LE: value <= node.value,
        Op.GT: value > node.value,
        Op.GE: value >= node.value,
    }[node.op]


def ascii_lower(text: str) -> str:
    """As both databases have it: É is not é."""
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), text)


def alike(test: Test, text: str) -> bool:
    wanted, text = ascii_lower(str(test.value)), ascii_lower(text)
    if test.field.kind is Kind.ID and "*" not in wanted:
        return text.startswith(wanted)
    literal = re.sub(r"[\[?]", lambda found: f"[{found[0]}]", wanted)
    return fnmatch.fnmatchcase(text, literal)


def holds(text: str, test: Test) -> bool:
    tokens, wanted = split(text), split(str(test.value))
    for at in range(len(tokens) - len(wanted) + 1):
        run = tokens[at : at + len(wanted)]
        if str(test.value).endswith("*") and not test.phrase:
            if run[:-1] == wanted[:-1] and run[-1].startswith(wanted[-1]):
                return True
        elif run == wanted:
            return True
    return False


def split(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


@settings(max_examples=400)
@given(nodes, rows, said)
def test_as_a_plain_evaluator(node: Node, row: Row, texts: Said) -> None:
    assert matcher(node)(row, lambda: texts) == chooses(node, row, texts)


@settings(max_examples=200)
@given(nodes, rows, said)
def test_nothing_that_fits_is_passed_over(node: Node, row: Row, texts: Said) -> None:
    if not chooses(node, row, texts):
        return
    since, until = time_bounds(node)
    assert since is None or row.received_us >= since
    assert until is None or row.received_us < until
    look = may_fit(node)
    assert look is None or look("\n".join(asdict(texts).values()).lower().encode())


def test_texts_are_asked_for_only_where_the_row_does_not_decide() -> None:
    asked = []

    def texts() -> Said:
        asked.append(1)
        return Said(answer="foo")

    chosen = matcher(parse("foo status:200", NOW_US))
    assert not chosen(ROW_404, texts)
    assert not asked
    assert matcher(parse("foo OR status:404", NOW_US))(ROW_404, texts)
    assert not asked
    assert matcher(parse("foo status:404", NOW_US))(ROW_404, texts)
    assert asked


def test_stars_cost_no_more_than_the_texts_length() -> None:
    begin = time.perf_counter()
    assert not glob("a*" * 500 + "b", "a" * 50_000)
    assert time.perf_counter() - begin < 1


def test_letters_beyond_ascii_are_found_as_they_are_written() -> None:
    row = ROW_404._replace(model="Équipe-M", tags=("Équipe",))
    for text in ("model:Équipe-m", "model:É*", "tag:ÉQUIPE"):
        assert matcher(parse(text, NOW_US))(row, Said), text
    for text in ("model:équipe-m", "model:é*", "tag:équipe"):
        assert not matcher(parse(text, NOW_US))(row, Said), text
