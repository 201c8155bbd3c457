"""One filter language for the API, the command line and the pages: see `filters.md`."""

from __future__ import annotations

from .errors import FilterError
from .matching import matcher
from .parser import parse
from .tree import Node

__all__ = ["FilterError", "Node", "matcher", "parse"]
