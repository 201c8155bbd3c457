"""A file's values with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.config.document import Document, read_document


@pytest.fixture
def read(tmp_path: Path):
    def read_text(text: str | bytes, **env: str) -> Document:
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_document(path, "c.yaml", env)

    return read_text


def test_values_have_yaml_types(read) -> None:
    document = read("a: 1\nb: [x, 2.5, true, null, '3']\nc: {d: ''}\n")
    assert document.values == {"a": 1, "b": ["x", 2.5, True, None, "3"], "c": {"d": ""}}
    assert document.problems == []


def test_every_key_and_item_knows_its_line(read) -> None:
    document = read("a:\n  b: 1\n\n  c:\n    - x\n    - y: 2\n")
    assert document.place(("a", "b")) == "c.yaml:2"
    assert document.place(("a", "c", 1)) == "c.yaml:6"
    assert document.place(("a", "c", 1, "y")) == "c.yaml:6"


def test_the_place_of_what_is_not_there_is_that_of_what_holds_it(read) -> None:
    document = read("a: 1\nb:\n  c: 2\n")
    assert document.place(("b", "x", "y")) == "c.yaml:2"
    assert document.place(("z",)) == "c.yaml:1"


def test_a_variable_that_may_be_empty_leaves_its_key_out(read) -> None:
    document = read("a: ${X:-}\nb: 1\n")
    assert document.values == {"b": 1}
    assert document.problems == []


def test_variables_are_text_in_comments(read) -> None:
    assert read("# ${NO}\na: 1 # ${NO}\n").values == {"a": 1}


def test_anchors_and_merges_work_and_what_is_written_wins(read) -> None:
    document = read("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n")
    assert document.values["use"] == {"x": 1, "y": 3}
    assert document.problems == []
    assert document.place(("use", "y")) == "c.yaml:4"


def test_a_byte_order_mark_is_no_part_of_the_first_key(read) -> None:
    assert read(b"\xef\xbb\xbfa: 1\n").values == {"a": 1}


def test_json_is_read_too(read) -> None:
    assert read('{\n "a": {"b": [1, "x"]}\n}').values == {"a": {"b": [1, "x"]}}


def test_windows_line_ends_are_line_ends(read) -> None:
    document = read(b"a: 1\r\nb: 2\r\n")
    assert document.values == {"a": 1, "b": 2}
    assert document.place(("b",)) == "c.yaml:2"
