"""A filter over a folder of traces, without a database: reading no more than is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from ..record.conversation import said_in
from ..record.folder import Folder, TraceFile
from ..record.narrowing import narrowed
from ..record.row import Row
from ..record.skeleton import loads, without_events
from ..record.texts import Texts, texts_of
from .matching import matcher
from .prefilter import lone_words, may_fit, time_bounds
from .tree import Node

_NO_MESSAGE = b'\n    "message": null'


class Hit:
    """A trace that passed: its row, and its texts if somebody asks."""

    def __init__(self, row: Row, data: bytes) -> None:
        self.row = row
        self._data = data

    @cached_property
    def said(self) -> Texts:
        """What was said, part by part."""
        return texts_of(said_in(loads(self._data)))

    def texts(self) -> Texts:
        """As `said`, for matchers."""
        return self.said


def scan(
    folder: Folder, node: Node, goes_on: Callable[[TraceFile], bool] = lambda _: True
) -> Iterator[Hit]:
    """The traces that pass, newest first. `goes_on` is asked before each file is looked at. Raises
    OSError where the folder cannot be listed."""
    since, until = time_bounds(node)
    look, fits, alone = may_fit(node), matcher(node), lone_words(node)
    for file in folder.files(since, until):
        if not goes_on(file):
            return
        data = folder.read(file)
        if data is None:
            continue
        spoken = _spoken(data)
        lowered = spoken.lower() if look is not None or alone else b""
        if look is not None and not look(lowered):
            continue
        if alone:  # a long session says in every request what it has said before
            data = spoken = narrowed(spoken, lowered, alone)
        row = folder.row(file, data)
        if row is not None:
            hit = Hit(row, spoken)
            if fits(row, hit.texts):
                yield hit


def _spoken(data: bytes) -> bytes:
    """Without stream events where the message put together from them is there."""
    return data if _NO_MESSAGE in data else without_events(data)
