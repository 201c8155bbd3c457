"""How values are written in tables."""

from __future__ import annotations

import pytest

from src.cli.cells import tokens_text, usd_text
from tests.store.making import make_row


@pytest.mark.parametrize(
    ("usd", "text"),
    [(None, "-"), (0.0, "$0.0000"), (2e-5, "<$0.0001"), (0.0001, "$0.0001"), (1234.5, "$1,234.50")],
)
def test_what_cost_little_does_not_look_free(usd: float | None, text: str) -> None:
    assert usd_text(usd) == text


def test_estimated_tokens_are_marked() -> None:
    told = make_row(input_tokens=12, output_tokens=3)
    assert tokens_text(told) == "12 → 3"
    assert tokens_text(told._replace(usage_source="estimated")) == "~12 → 3"
