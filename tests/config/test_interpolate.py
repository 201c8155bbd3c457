from __future__ import annotations

import pytest

from src.config.interpolate import UnsetVariableError, interpolate, references

ENV = {"A": "alpha", "EMPTY": "", "ODD": "${A}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("${A}", "alpha"),
        ("x-${A}-${A}-y", "x-alpha-alpha-y"),
        ("${A:-beta}", "alpha"),
        ("${NO:-beta}", "beta"),
        ("${NO:-}", ""),
        ("${EMPTY:-beta}", "beta"),
        ("${NO:-http://x:1/y}", "http://x:1/y"),
        ("$${A}", "${A}"),
        ("$A $$ $", "$A $$ $"),
        ("${ODD}", "${A}"),  # what a variable holds is not read again
    ],
)
def test_references_are_replaced(text: str, result: str) -> None:
    assert interpolate(text, ENV) == result


@pytest.mark.parametrize("text", ["${NO}", "${EMPTY}", "${A", "${}", "${A B}", "${A:x}"])
def test_a_reference_that_leads_nowhere_is_an_error(text: str) -> None:
    with pytest.raises(UnsetVariableError, match=";"):
        interpolate(text, ENV)


def test_names_are_found_without_their_values() -> None:
    assert references("${A} $${B} ${C:-d}") == ["A", "C"]
