"""The table of defences is true: `python -m tests.faults.defences` shows that each is needed."""

from __future__ import annotations

import ast

import pytest

from tests.faults.defences import DEFENCES, ROOT, Defence, switched_off


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda d: d.name)
def test_defence_can_be_switched_off_and_has_its_test(defence: Defence) -> None:
    text = (ROOT / "src" / defence.file).read_text()
    ast.parse(switched_off(defence, text))
    file, _, name = defence.test.partition("::")
    assert f"def {name}" in (ROOT / file).read_text()


def test_names_tell_defences_apart() -> None:
    assert len({defence.name for defence in DEFENCES}) == len(DEFENCES)
