"""The filter language: what it reads, and what it answers to a mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import src.query
from src.proxy.exchange import Cause, Phase
from src.query.errors import FilterError
from src.query.fields import CAUSES, FIELDS, PHASES, Kind
from src.query.parser import parse
from src.query.tree import And, Node, Not, Op, Or, Test
from src.record.row import Row

from .trees import NOW_US, Said, nodes

DOCUMENT = (Path(src.query.__file__).parent / "filters.md").read_text("utf-8")
HOUR_US = 3_600_000_000


def read(text: str) -> Node:
    return parse(text, NOW_US)


def field(name: str, op: Op, value: object, **more: bool) -> Test:
    return Test(FIELDS[name], op, value, **more)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", And(())),
        ("model:claude*", field("model", Op.MATCH, "claude*")),
        ("MODEL:Claude", field("model", Op.MATCH, "Claude")),
        ("status:>=400", field("status", Op.GE, 400)),
        ("status:=400", field("status", Op.MATCH, 400)),
        (
            "status:4xx",
            And((field("status", Op.GE, 400), field("status", Op.LT, 500))),
        ),
        (
            "status:200,none",
            Or((field("status", Op.MATCH, 200), field("status", Op.NONE, None))),
        ),
        ('key:"none"', field("key", Op.MATCH, "none")),
        ("in:>1.5k", field("in", Op.GT, 1500)),
        ("out:2M", field("out", Op.MATCH, 2_000_000)),
        ("in:1.", field("in", Op.MATCH, 1)),
        ("in:<.5", field("in", Op.LT, 0.5)),
        ("ttft:>2s", field("ttft", Op.GT, 2000.0)),
        ("ttft:2µs", field("ttft", Op.MATCH, 0.002)),
        ("ttft:2\u03bcs", field("ttft", Op.MATCH, 0.002)),
        ("ttft:2\u017f", field("ttft", Op.MATCH, 2000.0)),
        ("duration:<=1m30s", field("duration", Op.LE, 90_000.0)),
        ("cost:>$0.05", field("cost", Op.GT, 0.05)),
        ("stream:no", field("stream", Op.MATCH, False)),
        ("since:2h", field("since", Op.GE, NOW_US - 2 * HOUR_US)),
        ("until:1970-01-01T01:00", field("until", Op.LT, HOUR_US)),
        ("until:1970-01-01T01:00+01:00", field("until", Op.LT, 0)),
        ("since:0001-01-01T00:00+23:59", field("since", Op.GE, 0)),
        ("until:9999-12-31T23:59-23:59", field("until", Op.LT, 1 << 52)),
        ("since:today", field("since", Op.GE, NOW_US - NOW_US % (24 * HOUR_US))),
        ("path:/models", field("path", Op.MATCH, "*/models")),
        ("path:/v1/*", field("path", Op.MATCH, "/v1/*")),
        ("foo", field("body", Op.MATCH, "foo")),
        ("10:30", field("body", Op.MATCH, "10:30")),
        ('"foo bar"', field("body", Op.MATCH, "foo bar", phrase=True)),
        (r'answer:"a \"b\""', field("answer", Op.MATCH, 'a "b"', phrase=True)),
        ("-a", Not(field("body", Op.MATCH, "a"))),
        ("NOT -a", Not(Not(field("body", Op.MATCH, "a")))),
        (
            "a b OR c AND d",
            Or(
                (
                    And((field("body", Op.MATCH, "a"), field("body", Op.MATCH, "b"))),
                    And((field("body", Op.MATCH, "c"), field("body", Op.MATCH, "d"))),
                )
            ),
        ),
        (
            "a (b OR c)",
            And(
                (
                    field("body", Op.MATCH, "a"),
                    Or((field("body", Op.MATCH, "b"), field("body", Op.MATCH, "c"))),
                )
            ),
        ),
        ("((a))", field("body", Op.MATCH, "a")),
    ],
)
def test_it_reads(text: str, tree: Node) -> None:
    assert read(text) == tree


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("a modle:x", 2, "there is no field 'modle'; did you mean model? In quotes"),
        ("status:!=200", 7, "status: not is a - before the field, like -status:>=400"),
        ("model:!gpt*", 6, "model: not is a - before the field, like -model:claude*"),
        ("status:429 or cause:timeout", 11, 'write OR; in quotes, "or", it is searched for'),
        ("sea and status:200", 4, "write AND; in quotes"),
        ("not tool:Bash", 0, "write NOT; in quotes"),
        ("status:>=abc", 7, "status: takes a number like 400, 12k or 1.5M"),
        ("status:>4xx", 7, "status: takes 400 here"),
        ("status:99999999999999999", 7, "status: takes a smaller number"),
        ("ttft:>2", 5, "ttft: takes a time with its unit, like 2s or 2ms"),
        ("ttft:soon", 5, "ttft: takes a time with its unit like 250ms"),
        ("ttft:1..2s", 5, "ttft: takes a time with its unit like 250ms"),
        ("duration:9999999w", 9, "duration: takes a time below a hundred years"),
        ("cost:cheap", 5, "cost: takes US dollars like 0.05"),
        ("cost:1e999", 5, "cost: takes US dollars like 0.05"),
        ("stream:maybe", 7, "stream: takes yes or no"),
        ("since:monday", 6, "since: takes a time ago like 2h or 7d, or a UTC date"),
        ("since:>2h", 6, "since: takes a time alone, like since:2h"),
        ("since:none", 6, "since: takes a time ago"),
        ("cause:timout", 6, "cause: has no value 'timout'; did you mean timeout?"),
        ("model:>a", 6, "model: cannot be compared by >; in quotes it is a text"),
        ("status:>none", 7, "status: none is not compared: write status:none"),
        ("status: 200", 7, "status: needs a value directly after it, like status:>=400"),
        ("status:200,", 11, "status: needs a value directly after it"),
        ("status>=400", 6, "a colon is missing: write status:>=400"),
        ('x "abc', 2, 'this " is never closed'),
        ('x"abc"', 1, 'a " stands before all that it quotes'),
        ('body:"a"b"c"', 9, 'a " stands before all that it quotes'),
        ("body:---", 5, "body: needs a letter or a digit to search for"),
        ("a - b", 2, "a - stands directly before what it excludes"),
        ("a (b", 2, "this ( is never closed"),
        ("a) b", 1, "no ( was opened for this )"),
        ("()", 1, "a condition is missing before )"),
        ("a OR", 4, "a condition is missing at the end"),
        ("OR a", 0, "a condition is missing before OR"),
        ("a\0", 1, "this character cannot be searched for"),
        ("a\ud800", 1, "this character cannot be searched for"),
        ("(" * 51 + "a" + ")" * 51, 50, "nested deeper than 50 levels"),
        ("-" * 60 + "a", 50, "nested deeper than 50 levels"),
        ("a " * 2001, 4000, "a filter has at most 4000 characters"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, at: int, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        read(text)
    assert (caught.value.position, caught.value.message[: len(message)]) == (at, message)


def test_all_fields_are_named_where_none_is_near() -> None:
    with pytest.raises(FilterError, match=r"; known are address, .*, upstream[.] In quotes it is"):
        read("latency:>2s")


def test_small_words_between_words_are_searched_for() -> None:
    words = [field("body", Op.MATCH, word) for word in ("to", "be", "or", "not")]
    assert read("to be or not") == And(tuple(words))
    assert read('status:200 "or"') == And(
        (field("status", Op.MATCH, 200), field("body", Op.MATCH, "or", phrase=True))
    )


def test_carets_stand_below_the_mistake_whatever_was_typed() -> None:
    text = "日本 \x1b[31m ttft:>2"
    with pytest.raises(FilterError) as caught:
        read(text)
    shown, carets, message = caught.value.shown(text).splitlines()
    assert shown == "日本 ?[31m ttft:>2"
    assert carets == " " * 16 + "^^"
    assert message == "ttft: takes a time with its unit, like 2s or 2ms"


@settings(max_examples=500)
@given(nodes)
def test_what_is_written_is_read_as_the_same(node: Node) -> None:
    assert read(str(node)) == node


@settings(max_examples=500)
@given(st.text('ab():"-<>=,*\\ \n0é', max_size=20) | st.text(max_size=20))
def test_whatever_is_typed_is_read_or_answered_with_a_place(text: str) -> None:
    error = None
    try:
        node = read(text)
    except FilterError as caught:
        error = caught
    if error is None:
        assert read(str(node)) == node
    else:
        assert 0 <= error.position <= len(text)
        assert error.shown(text).count("\n") == 2


# --- what is documented -------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_and_its_example_are_documented_and_parse(name: str) -> None:
    known = FIELDS[name]
    assert f"| `{name}` | {known.help} | `{known.example}` |" in DOCUMENT
    tree = read(known.example)
    assert isinstance(tree, Test)
    assert tree.field is known


def test_no_field_is_documented_that_is_none() -> None:
    table = DOCUMENT.partition("## Fields")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(FIELDS)


def test_every_example_of_the_document_parses() -> None:
    first = re.findall(r"^\| `(.+?)` \|", DOCUMENT.partition("## Fields")[0], re.MULTILINE)
    blocks = [" ".join(re.findall(r"^    (.+)$", DOCUMENT, re.MULTILINE))]
    assert len(first) > 10
    for text in [*first, *blocks]:
        assert read(text) is not None


def test_columns_exist() -> None:
    for known in FIELDS.values():
        names = (*Said.__slots__, "all") if known.kind is Kind.SEARCH else Row._fields
        assert known.column in names


def test_every_end_of_an_exchange_can_be_asked_for() -> None:
    """The recorder adds two that no exchange ends with by itself."""
    assert {*CAUSES} == {*Cause, "in_stream_error", "crash"}
    assert {*PHASES} == {*Phase}
