"""A look through a folder of traces, and how far it is where that takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from ..query.scanning import Hit, scan
from ..query.tree import Node
from ..record.folder import Folder, TraceFile

_AFTER_S = 1.0
_EVERY_S = 0.2
_ERASED = "\r\x1b[K"


def hits(folder: Folder, node: Node, *, printed: bool = False) -> Iterator[Hit]:
    """The traces that pass, newest first; `printed`: each at once. Raises OSError where the folder
    cannot be listed."""
    looking = _Looking()
    try:
        for hit in scan(folder, node, looking.at):
            if printed:
                looking.hide()
            yield hit
    finally:
        looking.hide()


class _Looking:
    """One line on a terminal, gone in the end; nothing elsewhere, and nothing of a short look."""

    def __init__(self) -> None:
        self._looked = 0
        self._shown = False
        self._next = time.monotonic() + _AFTER_S if sys.stderr.isatty() else float("inf")

    def at(self, file: TraceFile) -> bool:
        """That one is next; always goes on."""
        self._looked += 1
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_S
            day, _, name = file.file.rpartition("/")
            back = f", back to {day} {name[:2]}:{name[2:4]}" if day else ""
            self._write(f"{_ERASED}{self._looked:,} traces looked at{back} …")
            self._shown = True
        return True

    def hide(self) -> None:
        """Something else is to be written."""
        if self._shown:
            self._write(_ERASED)
            self._shown = False

    @staticmethod
    def _write(text: str) -> None:
        print(text, end="", file=sys.stderr, flush=True)  # noqa: T201  progress
