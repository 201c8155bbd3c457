"""INSTRUCTIONS.md says of each number of the catalogue where it stands: held to be true here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)
_TEST = re.compile(r"`([a-z0-9_/]+\.py)::(\w+)`")
_STATES = ("holds", "does not apply because ", "falls short: ", "later: ")

Row = tuple[int, str, list[tuple[str, str]]]  # number, state, (file, test)


def rows() -> list[Row]:
    text = (ROOT / "INSTRUCTIONS.md").read_text()
    found = _ROW.findall(text[text.index("## Faults") :])
    return [(int(number), state, _TEST.findall(tests)) for number, _, state, tests in found]


def test_every_number_stands_there_once() -> None:
    assert [number for number, _, _ in rows()] == list(range(1, 121))


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row[0]))
def test_state_is_one_of_four_and_its_tests_exist(row: Row) -> None:
    _, state, tests = row
    assert state.startswith(_STATES)
    assert tests or not state.startswith("holds"), "what holds is shown by a test"
    for file, name in tests:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), name


def test_numbers_in_test_names_are_those_of_the_table() -> None:
    """A test that carries a number stands in that number's row, or one for the same number does."""
    shown = {number for number, _, tests in rows() if tests}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"def (test_r\d+\w*)\(", path.read_text()):
            for number in re.findall(r"_r(\d+)(?=_)", name.replace("test", "", 1)):
                assert int(number) in shown, f"{path.name}::{name}"
