"""A wall clock that tests set, for the real program and whoever looks at its folder."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.tap import ROOT

_SHIM = ROOT / "tests" / "support" / "wrong_clock"
HOUR, DAY = 3600.0, 86_400.0


class WallClock:
    """`env` is for the processes that are to go by it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock-offset"
        self.env = {
            "PYTHONPATH": f"{_SHIM}{os.pathsep}{ROOT}",
            "CLOCK_OFFSET": str(self._file),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.set(0)

    def set(self, ahead_s: float) -> None:
        """Jump to so many seconds ahead of the true time."""
        draft = self._file.with_suffix(".new")
        draft.write_text(str(ahead_s))
        draft.replace(self._file)
