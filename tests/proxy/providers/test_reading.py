from __future__ import annotations

import pytest

from src.proxy.providers import reading


def test_what_orjson_refuses_is_read_by_the_standard_library():
    assert reading.loads(b'{"a": NaN}')
    assert reading.loads(b'{"a": "\\ud83d"}') == {"a": "\ud83d"}
    assert reading.loads(b'{"a": "\xff"}') == {"a": "\ufffd"}


@pytest.mark.parametrize("data", [b"", b"x", b"{", b"[DONE]", b'{"a":', b"[" * 5000, b"\xff"])
def test_what_is_no_json_is_none(data: bytes):
    assert reading.loads(data) is None


def test_surrogate_halves_from_two_pieces_become_one_character():
    assert reading.joined(["a\ud83d", "\ude00b"]) == "a😀b"


def test_lone_surrogate_becomes_the_replacement_character():
    assert reading.joined(["é\ud83d"]) == "é\ufffd"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (0, 0), (3.0, 3), (3.5, None), (-1, None), (True, None), ("3", None), (None, None)],
)
def test_counts_are_whole_and_not_negative(value: object, expected: int | None):
    assert reading.count(value) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, True, "1", 10**400])
def test_amounts_are_finite_and_not_negative(value: object):
    assert reading.amount(value) is None
    assert reading.amount(0.25) == 0.25


def test_total_of_unknowns_is_unknown():
    assert reading.total(None, None) is None
    assert reading.total(None, 0, 2) == 2
