"""Filters and rows made by hypothesis."""

from __future__ import annotations

import string
from dataclasses import dataclass, fields

from hypothesis import strategies as st

from src.query.fields import FIELDS, Field, Kind
from src.query.parser import all_of, any_of
from src.query.tree import Node, Not, Op, Test
from src.query.values import words
from src.record.row import Row

NOW_US = 1_795_000_000_123_456
ORDERED = (Op.MATCH, Op.LT, Op.LE, Op.GT, Op.GE)
MOST = 2**53

# Few letters, so that rows and filters meet; and whatever else may be typed.
short = st.text("abAB*_-éÉ ß", min_size=1, max_size=4)
texts = st.one_of(
    short,
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
    ),
    st.sampled_from(["none", "None", "OR", "-a", ">1", 'a"b', "a,b", "(", "\\", "a\\", "a:b"]),
)
numbers = st.integers(0, 3) | st.integers(0, MOST)
times = st.integers(NOW_US - 10, NOW_US + 10) | st.integers(0, 4 * 10**15)
floats = st.sampled_from([0.0, 1.0, 2.5]) | st.floats(0, 1e12, allow_nan=False)


@dataclass(slots=True, frozen=True)
class Said:
    system: str = ""
    messages: str = ""
    tool_calls: str = ""
    tool_results: str = ""
    thinking: str = ""
    answer: str = ""


phrases = st.lists(
    st.text("abA1", min_size=1, max_size=2) | st.sampled_from(["é", "_", "-", " "]), max_size=6
).map(" ".join)
said = st.builds(Said, *[phrases for _ in fields(Said)])


@st.composite
def tests(draw: st.DrawFn) -> Test:
    field = draw(st.sampled_from(list(FIELDS.values())))
    kind = field.kind
    if kind is Kind.TIME:
        return Test(field, Op.GE if field.name == "since" else Op.LT, draw(times))
    if kind is Kind.SEARCH:
        return draw(searches(field))
    if draw(st.integers(0, 5)) == 0:
        return Test(field, Op.NONE, None)
    if kind is Kind.FLAG:
        return Test(field, Op.MATCH, draw(st.booleans()))
    if kind is Kind.NUMBER:
        return Test(field, draw(st.sampled_from(ORDERED)), draw(numbers))
    if kind in (Kind.DURATION, Kind.MONEY):
        return Test(field, draw(st.sampled_from(ORDERED)), draw(floats))
    return Test(field, Op.MATCH, draw(patterns(field)))


@st.composite
def patterns(draw: st.DrawFn, field: Field) -> str:
    if field.values:
        return draw(st.sampled_from([*field.values, "t*", "*"]))
    text = draw(texts)
    return f"*{text}" if field.ends and "*" not in text else text


@st.composite
def searches(draw: st.DrawFn, field: Field) -> Test:
    if draw(st.booleans()):
        return Test(field, Op.MATCH, draw((phrases | texts).filter(words)), phrase=True)
    word = draw(st.text(string.ascii_letters + "12é*-.:/", min_size=1, max_size=4).filter(words))
    return Test(field, Op.MATCH, word)


nodes: st.SearchStrategy[Node] = st.recursive(
    tests(),
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=1, max_size=4).map(all_of)
        | st.lists(inner, min_size=1, max_size=4).map(any_of)
    ),
    max_leaves=8,
)


def unknown_or(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


rows = st.builds(
    Row,
    id=short,
    received_us=times,
    file=st.just("x"),
    state=st.sampled_from(["complete", "recovered"]),
    provider=short,
    model=unknown_or(short),
    operation=short,
    upstream=unknown_or(short),
    method=short,
    path=short,
    status=unknown_or(st.sampled_from([0, 1, 2, 200, 404, 499, 500])),
    cause=st.sampled_from(["ok", "timeout"]),
    phase=st.sampled_from(["body", "done"]),
    error_type=unknown_or(short),
    error_message=unknown_or(short),
    duration_ms=unknown_or(floats),
    ttft_ms=unknown_or(floats),
    overhead_ms=unknown_or(floats),
    input_tokens=unknown_or(numbers),
    output_tokens=unknown_or(numbers),
    cache_read_tokens=unknown_or(numbers),
    cache_write_tokens=unknown_or(numbers),
    reasoning_tokens=unknown_or(numbers),
    usage_source=st.just("none"),
    cost_usd=unknown_or(floats),
    cost_source=st.none(),
    session_id=unknown_or(short),
    parent_id=unknown_or(short),
    key_label=unknown_or(short),
    key_fingerprint=st.none(),
    client_address=unknown_or(short),
    user_agent=unknown_or(short),
    streamed=st.booleans(),
    attempts=numbers,
    request_bytes=numbers,
    response_bytes=numbers,
    tags=st.lists(short, max_size=3).map(tuple),
    tools=st.lists(short, max_size=3).map(tuple),
)
