"""Sets the program's wall clock: Python imports it first, from PYTHONPATH.

The file $CLOCK_OFFSET holds by how many seconds the clock is wrong, as text; a test writes it anew
and the clock jumps, in all processes of the program. The monotonic clock is left alone.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_FILE = Path(os.environ["CLOCK_OFFSET"])
_time_ns = time.time_ns


def _wrong_ns() -> int:
    return _time_ns() + round(float(_FILE.read_text()) * 1e9)


time.time_ns = _wrong_ns
time.time = lambda: _wrong_ns() / 1e9
