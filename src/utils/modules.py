"""Modules of this package as programs of their own."""

from __future__ import annotations

import os
from pathlib import Path


def as_program(module: str) -> tuple[str, dict[str, str]]:
    """A module's name by that of the folder this package lies in, and an environment in which it
    can be imported: in a bare checkout (`src`), an editable install, a wheel. `module`: below the
    package, as `store.feeder`."""
    package = Path(__file__).resolve().parents[1]
    path = [str(package.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    return f"{package.name}.{module}", environment
