"""What a table leaves out where there is no room for it."""

from __future__ import annotations

import pytest

from src.cli import ls, stats
from src.cli.screen import Column, _fitted, _kept, _least_width

WIDTHS = {"time (UTC)": 19, "model": 40, "tokens": 12, "cause": 19, "id": 26}


@pytest.mark.parametrize("room", [52, 60, 80, 100, 200])
@pytest.mark.parametrize("columns", [ls._COLUMNS, (Column("model", least=10), *stats._FIGURES)])
def test_no_number_is_cut(columns: tuple[Column, ...], room: int) -> None:
    widths = [WIDTHS.get(column.title, max(len(column.title), 8)) for column in columns]
    kept = _kept(columns, widths, room)
    fitted = _fitted([columns[i] for i in kept], [widths[i] for i in kept], room)
    assert sum(fitted) + 2 * (len(kept) - 1) <= room
    for index, width in zip(kept, fitted, strict=True):
        assert width == widths[index] or width >= columns[index].least > 0
    assert _least_width(columns, widths, list(range(len(columns)))) > room or len(kept) == len(
        columns
    )
