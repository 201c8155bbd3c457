"""Trace files as items of the store, a batch at a time."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from ..record.conversation import said_in
from ..record.row import row_of
from ..record.texts import texts_of
from .items import Drop, Item, Put

log = logging.getLogger("llmtap.store")

BATCH_ROWS = 2000
"""The more rows are written together, the fewer pages are written for each."""
_BATCH_BYTES = 32 << 20  # of trace files
_LATER = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)


@dataclass(slots=True, frozen=True)
class Loaded:
    """`taken`: how many files were looked at; `full`: for the rest there was no room."""

    items: list[Item]
    taken: int
    full: bool


def load_some(trace_dir: Path, files: Iterable[tuple[str, bool]]) -> Loaded:
    """The items of as many files as make a batch, each with whether it was deleted. Raises OSError;
    what it was asked for can be asked for again."""
    items: list[Item] = []
    taken = size = 0
    for file, gone in files:
        taken += 1
        if gone:
            items += dropped(file)
        else:
            item, read = load(trace_dir, file)
            items += [item] if item is not None else []
            size += read
        if taken == BATCH_ROWS or size > _BATCH_BYTES:
            return Loaded(items, taken, full=True)
    return Loaded(items, taken, full=False)


def load(trace_dir: Path, file: str) -> tuple[Item | None, int]:
    """The item of a trace file, and its size in bytes. None: it is gone, or no trace. Raises
    OSError where that cannot be told now."""
    if not _is_plain(file):
        return None, 0
    try:
        path = f"{trace_dir}/{file}"  # Path takes as long as the reading
        with open(path, "rb", 0) as trace:  # noqa: PTH123  see above
            data = trace.read()
    except OSError as error:
        if error.errno in _LATER or not trace_dir.exists():  # moved away, perhaps to come back
            raise
        if not isinstance(error, FileNotFoundError):
            log.warning("a trace cannot be read: %s", error)
        return None, 0
    try:
        document = orjson.loads(data)
        said = said_in(document)
        item = Put(row_of(document, file, said.answer), texts_of(said))
        item.id.encode()  # a text, or it is no trace
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        log.warning("%s is no trace: %s", file, type(error).__name__)
        return None, len(data)
    return item, len(data)


def dropped(file: str) -> Iterator[Drop]:
    """The item of a trace that was deleted."""
    parts = file.split("_")
    if _is_plain(file) and len(parts) > 1:
        yield Drop(parts[1], file)


def _is_plain(file: str) -> bool:
    """`day/name.json`: a spool is nothing to be led elsewhere by."""
    day, _, name = file.partition("/")
    return name.endswith(".json") and not set("/\0") & set(name) and day[:1].isdigit()
