"""`llmtap filters`: the filter language, from the one place where it is written down."""

from __future__ import annotations

from importlib.resources import files

from .. import query
from .screen import say


def command() -> None:
    """Explain the filter language.

    What ls, search, stats, tail and export choose by, and the API.
    """
    say(files(query).joinpath("filters.md").read_text("utf-8").rstrip())
