from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from src.proxy.providers.sse import JSONArrayParser, NDJSONParser

from .streams import parsed, values

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=5)


def lines(*chunks: bytes) -> list[tuple[bytes, bool]]:
    events = parsed(NDJSONParser(), chunks)
    assert b"".join(event.raw for event in events) == b"".join(chunks)
    return [(event.data, event.complete) for event in events]


def elements(*chunks: bytes) -> list[tuple[bytes, bool]]:
    events = parsed(JSONArrayParser(), chunks)
    assert b"".join(event.raw for event in events) == b"".join(chunks)
    return [(event.data, event.complete) for event in events if event.data]


def split(stream: bytes, sizes: list[int]) -> list[bytes]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(stream[at : at + size])
        at += size
    return [*chunks, stream[at:]]


def test_each_line_is_an_event():
    assert lines(b'{"a":1}\n{"b"', b":2}\r\n") == [(b'{"a":1}', True), (b'{"b":2}', True)]


def test_empty_line_is_an_event_without_data():
    assert lines(b"\n{}\n") == [(b"", True), (b"{}", True)]


def test_whole_last_line_without_its_end_counts():
    assert lines(b'{"done":true}') == [(b'{"done":true}', True)]


def test_cut_last_line_is_not_complete():
    assert lines(b'{"a":1}\n{"do') == [(b'{"a":1}', True), (b'{"do', False)]


def test_line_over_the_cap_passes_on_unparsed():
    parser = NDJSONParser(max_event_bytes=50)
    stream = b"{}\n" + b"x" * 300 + b'\n{"a":1}\n'
    events = parsed(parser, [stream[i : i + 7] for i in range(0, len(stream), 7)])
    assert parser.overflowed
    assert b"".join(event.raw for event in events) == stream
    assert [event.data for event in events if event.complete] == [b"{}", b'{"a":1}']


def test_each_object_of_the_array_is_an_event():
    stream = b'[{"a": {"b": [1]}}\n,\r\n{"c": "}"}\n]\n'
    assert elements(stream) == [(b'{"a": {"b": [1]}}', True), (b'{"c": "}"}', True)]


def test_element_is_an_event_before_the_array_ends():
    parser = JSONArrayParser()
    assert [event.data for event in parser.feed(b'[{"a":1}')] == [b'{"a":1}']


def test_brackets_and_escapes_in_strings_do_not_count():
    element = json.dumps({"t": '}]{["\\" \\\\', "u": "\\"}).encode()
    assert elements(b"[" + element + b"," + element + b"]") == [(element, True)] * 2


def test_element_that_was_cut_off_is_not_complete():
    assert elements(b'[{"a":1},{"b"') == [(b'{"a":1}', True), (b'{"b"', False)]


def test_single_object_in_place_of_the_array_is_an_event():
    assert elements(b'{"error": {"code": 400}}') == [(b'{"error": {"code": 400}}', True)]


def test_empty_array_has_no_data():
    assert elements(b"[]\n") == []


def test_element_over_the_cap_passes_on_unparsed():
    parser = JSONArrayParser(max_event_bytes=50)
    stream = b'[{"a":"' + b"x}" * 200 + b'"},{"b":2}]'
    events = parsed(parser, [stream[i : i + 7] for i in range(0, len(stream), 7)])
    assert parser.overflowed
    assert b"".join(event.raw for event in events) == stream
    assert [event.data for event in events if event.complete and event.data] == [b'{"b":2}']


@given(OBJECTS, st.lists(st.integers(1, 9), max_size=30), st.booleans())
def test_array_elements_survive_any_cut(objects: list[object], sizes: list[int], pretty: bool):
    stream = json.dumps(objects, indent=2 if pretty else None).encode()
    found = [json.loads(data) for data, whole in elements(*split(stream, sizes)) if whole]
    assert found == objects


@given(OBJECTS, st.lists(st.integers(1, 9), max_size=30))
def test_lines_survive_any_cut(objects: list[object], sizes: list[int]):
    stream = b"".join(json.dumps(o).encode() + b"\n" for o in objects)
    assert [json.loads(data) for data, _ in lines(*split(stream, sizes))] == objects


@given(st.lists(st.sampled_from([b'"', b"\\", b"{", b"}", b"]", b"[", b"\n", b"x", b",\r\n"])))
def test_garbage_is_cut_the_same_way_and_kept_whole(pieces: list[bytes]):
    stream = b"".join(pieces)
    for make in (JSONArrayParser, NDJSONParser):
        whole = parsed(make(), [stream])
        assert b"".join(event.raw for event in whole) == stream
        assert values(parsed(make(), pieces)) == values(whole)
