"""What is written into the store: a row with its texts, or that a trace is gone."""

from __future__ import annotations

import json
from dataclasses import InitVar, dataclass, field
from hashlib import blake2b
from operator import attrgetter, itemgetter
from typing import Any

import orjson

from ..query.folding import lower
from ..record.row import Row
from ..record.texts import Texts
from .binning import bin_of
from .figures import Counted
from .tables import (
    BINNED_COLUMNS,
    LIST_COLUMNS,
    PLAIN_COLUMNS,
    ROW_COLUMNS,
    SEQ_STEP,
    TEXT_COLUMNS,
)

MOST_TEXT = 500_000
"""Characters of a part that can be searched: of a longer one, the first and last half of it. A
tsvector holds a megabyte."""
MOST_NAME = 500
"""Characters of what clients and upstreams may name as they like; the rest is in the trace only. An
entry of Postgres's indexes holds 2,700 bytes."""
_NAMES = ("model", "path", "method", "error_type", "session_id", "user_agent")
_DIGEST_BYTES = 12
_TEXTS = (*TEXT_COLUMNS, *PLAIN_COLUMNS)
_LISTS = tuple((name, ROW_COLUMNS.index(name)) for name in LIST_COLUMNS)
_values_of = itemgetter(*map(Row._fields.index, ROW_COLUMNS))
_binned_of = attrgetter(*BINNED_COLUMNS)
_counted_of = attrgetter(*Counted._fields)
_names_of = attrgetter(*_NAMES)


@dataclass(slots=True, frozen=True)
class Put:
    """A trace that is there. `parts`: the texts as they are indexed, in the order of `PARTS`;
    `digest` tells whether anything has changed. Hot: once per exchange."""

    row: Row
    texts: InitVar[Texts]
    parts: tuple[str, ...] = field(init=False)
    digest: bytes = field(init=False)

    def __post_init__(self, texts: Texts) -> None:
        row, parts = self.row, tuple(texts)
        told = _written(row, parts)
        if told is None or b"\\u0000" in told:  # a NUL, or so it seems
            row, parts = _clean_row(row), tuple(map(clean, parts))
            told = _written(row, parts) or repr((row, parts)).encode()
        if max(map(len, parts)) > MOST_TEXT:
            parts = tuple(map(bounded, parts))
        told_names = filter(None, (*_names_of(row), *row.tags, *row.tools))
        if max(map(len, told_names), default=0) > MOST_NAME:
            row = _shortened(row)
        object.__setattr__(self, "row", row)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "digest", blake2b(told, digest_size=_DIGEST_BYTES).digest())

    @property
    def id(self) -> str:
        """The trace's."""
        return self.row.id

    @property
    def file(self) -> str:
        """As in its row."""
        return self.row.file

    def first_seq(self) -> int:
        """Where it belongs in time; the next free one is taken where another row is there."""
        spread = int.from_bytes(blake2b(self.id.encode(), digest_size=2).digest(), "big")
        return self.row.received_us * SEQ_STEP + spread % SEQ_STEP

    def columns(self, seq: int) -> tuple[object, ...]:
        """The row of `records`, in the order of its columns."""
        row = self.row
        values = [seq, self.digest, *_values_of(row)]
        for name, at in _LISTS:
            members = getattr(row, name)
            values[2 + at] = json.dumps(members) if members else "[]"
        return (*values, *map(bin_of, _binned_of(row)))

    def labels(self, seq: int) -> list[tuple[object, ...]]:
        """The rows of `labels`."""
        return [
            (kind, value, seq)
            for name, kind in LIST_COLUMNS.items()
            if (members := getattr(self.row, name))
            for value in {lower(member): member for member in members}.values()
        ]

    def counted(self) -> Counted:
        """What stats need."""
        return Counted(*_counted_of(self.row))


@dataclass(slots=True, frozen=True)
class Drop:
    """A trace that was deleted; `file` as in its row."""

    id: str
    file: str


Item = Put | Drop


def _clean_row(row: Row) -> Row:
    changed: dict[str, Any] = {}
    for name in _TEXTS:
        value = getattr(row, name)
        if value and (not value.isascii() or "\x00" in value):
            changed[name] = clean(value)
    for name in LIST_COLUMNS:
        members = getattr(row, name)
        if members and (cleaned := tuple(map(clean, members))) != members:
            changed[name] = cleaned
    return row._replace(**changed) if changed else row


def _shortened(row: Row) -> Row:
    names = {name: value[:MOST_NAME] for name in _NAMES if (value := getattr(row, name))}
    lists = {
        name: tuple(dict.fromkeys(member[:MOST_NAME] for member in getattr(row, name)))
        for name in LIST_COLUMNS
    }
    return row._replace(**names, **lists)  # type: ignore[arg-type]  # each of its own kind


def _written(row: Row, parts: tuple[str, ...]) -> bytes | None:
    """All of it as JSON. None: it holds what databases do not take either, half of a pair, or
    integers over 64 bits."""
    try:
        return orjson.dumps((tuple(row), parts))
    except TypeError:
        return None


def clean(text: str) -> str:
    """As databases take it: no NUL (Postgres), no half of a pair (both)."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-8", "replace").decode()
    return text


def bounded(text: str) -> str:
    """The whole of it, or the beginning and the end of one that is too long."""
    half = MOST_TEXT // 2
    return text if len(text) <= MOST_TEXT else f"{text[:half]} {text[-half:]}"
