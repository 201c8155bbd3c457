"""JSON laid out by hand comes back byte for byte, and its text gives nothing away."""

from __future__ import annotations

import gzip
import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.record.skeleton import skeleton
from src.tracing.bodies import Limits
from src.tracing.document import Documents
from src.tracing.rules import Masker, MaskRules
from src.utils.json_styles import RAW_BYTES, is_written, written
from src.views.wire import sent
from tests.tracing.building import build, recorded

FEW = settings(max_examples=50, deadline=None)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text("ab/é\x7f", max_size=3), x),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from(["model", "b", "é", "/"]), VALUES, max_size=4)


def by_hand(value: object, random: Random) -> str:
    """The value as JSON that nobody else writes so: spaces, escapes and numbers at random."""

    def gap() -> str:
        return "".join(random.choices(" \n\t\r", k=random.choice((0, 0, 1, 3))))

    def text(said: str) -> str:
        return '"' + "".join(map(letter, said)) + '"'

    def letter(char: str) -> str:
        units = char.encode("utf-16-be")
        if char in '"\\' or char < " " or random.random() < 0.2:
            return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
        return "\\/" if char == "/" and random.random() < 0.5 else char

    def number(known: float) -> str:
        if isinstance(known, int) or "e" in repr(known):
            return repr(known).replace("e", random.choice("eE"))
        return repr(known) + "0" * random.choice((0, 1, 2))

    def write(item: object) -> str:
        if isinstance(item, dict):
            pairs = [f"{gap()}{text(k)}{gap()}:{gap()}{write(v)}{gap()}" for k, v in item.items()]
            return "{" + (",".join(pairs) or gap()) + "}"
        if isinstance(item, list):
            return "[" + (",".join(f"{gap()}{write(v)}{gap()}" for v in item) or gap()) + "]"
        if isinstance(item, str):
            return text(item)
        if item is None or isinstance(item, bool):
            return json.dumps(item)
        return number(item)  # type: ignore[arg-type]  # nothing else is left

    return gap() + write(value) + gap()


@FEW
@given(OBJECTS, st.randoms(use_true_random=False))
def test_what_was_laid_out_by_hand_comes_back_byte_for_byte(value: object, random: Random) -> None:
    data = by_hand(value, random).encode()
    document = build(data, chunks=[data])
    for name in ("request", "response"):
        found = sent(document[name]["body"])
        assert (found.data, found.note) == (data, None)
    body = document["request"]["body"]
    assert body["kind"] == "text" or json.loads(data) == body["value"]


@FEW
@given(OBJECTS)
def test_the_usual_ways_need_no_text_beside_the_value(value: object) -> None:
    for data in set(written(value)):
        assert is_written(value, data)
    body = build(data)["request"]["body"]
    assert body["kind"] == "text" or body["raw"] is None
    assert sent(body).data == data


@pytest.mark.parametrize(
    "text",
    [
        '{"a" : 1}',
        '{"a":1, "b": [1,2]}',
        '{"a": 1.0e5}',
        '{"a":0.10}',
        '{"a":"\\u0041"}',
        '{"a":"\\/","b":"/"}',
        '{"a":1} \n',
        '\n\n{"a":1}',
        '{"a": 1}\n\n',
        '\ufeff{"a" :1}',
        '\ufeff{"a":1}\n',
        "[ ]",
    ],
)
def test_other_json_is_kept_as_it_was_sent(text: str) -> None:
    body = build(text.encode())["request"]["body"]
    assert (body["kind"], body["value"]) == ("json", json.loads(text.removeprefix("\ufeff")))
    assert body["raw"] == text


def test_over_a_mebibyte_the_value_must_do_and_the_export_says_so() -> None:
    odd = b'{"a" : "%b"}' % (b"x" * (RAW_BYTES - 9))
    assert len(odd) == RAW_BYTES + 1
    over, at_most = build(odd)["request"]["body"], build(odd.replace(b"x", b"", 1))
    assert (over["kind"], over["raw"]) == ("json", None)
    assert "not written the same way: laid out by hand, it is over 1 MiB" in (sent(over).note or "")
    assert at_most["request"]["body"]["raw"] is not None


@pytest.mark.parametrize(
    "text",
    [b'{"a":1,"b":[]}', b'{\n  "a": 1,\n  "b": []\n}', b'{"a": 1, "b": []}', b'{"a":1,"b" : []}\n'],
)
def test_compressed_it_comes_back_as_it_was_before(text: bytes) -> None:
    header = (b"Content-Encoding", b"gzip")
    found = sent(build(gzip.compress(text), request_headers=[header])["request"]["body"])
    assert (found.data, found.note) == (text, "the body is sent as it is, not as gzip")


def test_a_body_that_is_cut_or_left_out_has_no_text() -> None:
    odd = b'{"a" : 1}'
    cut = build(odd, wire_bytes=(100, 0))["request"]["body"]
    assert cut["raw"] is None
    big = gzip.compress(b'{"a" : "%b"}' % (b"x" * 5000))
    headers = [(b"Content-Encoding", b"gzip")]
    limited = build(big, request_headers=headers, limits=Limits(decoded_bytes=100))
    assert limited["request"]["body"]["raw"] is None
    left_out = Documents().build(recorded(odd, chunks=[odd]), "the queue was full")
    document = json.loads(left_out.data)
    assert (document["request"]["body"]["raw"], document["response"]["body"]["raw"]) == (None, None)


# --- secrets -------------------------------------------------------------------------------------

SECRET = "sk-canary-0123456789/é"
WAYS = ("value", "key", "inside", "field")


def holding(way: str) -> dict[str, object]:
    return {
        "value": {"a": SECRET, "b": 1},
        "key": {"a": {SECRET: 1}},
        "inside": {"a": json.dumps({"key": f"Bearer {SECRET}"}, ensure_ascii=False)},
        "field": {"a": [{"password": SECRET}]},
    }[way]


@FEW
@given(st.sampled_from(WAYS), st.randoms(use_true_random=False))
def test_a_secret_spelled_in_any_way_is_not_in_the_text(way: str, random: Random) -> None:
    """What is known of it: its value, or the telling name it stands under."""
    data = by_hand(holding(way), random).encode()
    known = [] if way == "field" else [SECRET.encode()]
    document = build(data, chunks=[] if way == "field" else [data], secrets=known)
    for name in ("request", "response"):
        assert document[name]["body"]["raw"] is None
    assert "canary" not in json.dumps(document)
    assert not [pointer for pointer in document["redactions"] if pointer.endswith("/raw")]


@FEW
@given(
    st.sampled_from([MaskRules(patterns=("sk-canary-[0-9]+",)), MaskRules(paths=("$..*",))]),
    st.sampled_from(WAYS),
    st.randoms(use_true_random=False),
)
def test_what_the_configuration_masks_is_not_in_the_text(
    rules: MaskRules, way: str, random: Random
) -> None:
    data = by_hand(holding(way), random).encode()
    exchange = recorded(data, chunks=[data])
    exchange.masker = Masker(rules)
    document = json.loads(Documents().build(exchange).data)
    for name in ("request", "response"):
        assert document[name]["body"]["raw"] is None


def test_secrets_elsewhere_and_rules_that_find_nothing_leave_it() -> None:
    odd = b'{"a" : 1}'
    exchange = recorded(odd, chunks=[b'{"b" :"sk-canary-1"}'], secrets=[b"sk-canary-1"])
    exchange.masker = Masker(MaskRules(patterns=("jane@example",)))
    document = json.loads(Documents().build(exchange).data)
    assert document["request"]["body"]["raw"] == odd.decode()
    assert document["response"]["body"]["raw"] is None


def test_a_body_that_was_masked_for_good_has_no_text() -> None:
    """After a crash: what is in the journal is not what was sent."""
    exchange = recorded(b'{"a" : "[REDACTED]"}', searchable=False)
    exchange.altered = True
    assert json.loads(Documents().build(exchange).data)["request"]["body"]["raw"] is None


# --- readers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4000])
def test_rows_and_traces_without_bodies_are_read_without_it(size: int) -> None:
    odd = b'{"a" : "%b"}' % (b"said " * size)
    part = skeleton(Documents().build(recorded(odd, chunks=[odd])).data)
    assert part["request"]["body"].get("raw") is None
    assert part["response"]["body"]["raw"] is None
