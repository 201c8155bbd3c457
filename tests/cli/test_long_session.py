"""A session of a coding agent as long as they get, on the terminal: each command within a second.

`--session-turns 280` is the whole of it, 130 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.session import NEEDLE, ROOT, size_of, write_session


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    write_session(folder, request.config.getoption("--session-turns"))
    return folder


def took(folder: Path, *arguments: str) -> tuple[float, str]:
    """Wall seconds of the whole command, Python's start included; the best of three."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "src.main", *arguments, "--trace-dir", str(folder)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
        )
        times.append(time.perf_counter() - began)
    return min(times), done.stdout


@pytest.mark.parametrize(
    ("arguments", "holds"),
    [
        (("show",), "messages with"),
        (("show", "--full"), NEEDLE),
        (("diff",), "2 added, the former answer first"),
        (("search", NEEDLE, "--limit", "5"), NEEDLE),
    ],
    ids=["show", "show --full", "diff", "search"],
)
def test_within_a_second(folder: Path, arguments: tuple[str, ...], holds: str) -> None:
    seconds, text = took(folder, *arguments)
    assert holds in text
    assert seconds < 1, f"{seconds:.2f} s for {size_of(folder) / 1e6:.0f} MB"
