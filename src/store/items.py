"""What is written into the store: a row with its texts, or that a trace is gone."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from operator import attrgetter
from typing import Any

import orjson

from ..record.row import Row
from ..record.texts import Texts
from .binning import bin_of
from .figures import Counted
from .tables import (
    BINNED_COLUMNS,
    LIST_COLUMNS,
    PARTS,
    PLAIN_COLUMNS,
    ROW_COLUMNS,
    SEQ_STEP,
    TEXT_COLUMNS,
    bin_name,
)

MOST_TEXT = 500_000
"""Characters of a part that can be searched: of a longer one, the first and last half of it. A
tsvector holds a megabyte."""
_DIGEST_BYTES = 12
_TEXTS = (*TEXT_COLUMNS, *PLAIN_COLUMNS)
_BINS = tuple((name, bin_name(name)) for name in BINNED_COLUMNS)
_values_of = attrgetter(*ROW_COLUMNS)
_texts_of = attrgetter(*PARTS)
_counted_of = attrgetter(*Counted._fields)


@dataclass(frozen=True)
class Put:
    """A trace that is there."""

    row: Row
    texts: Texts

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", _clean_row(self.row))

    @property
    def id(self) -> str:
        """The trace's."""
        return self.row.id

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The texts as they are indexed, in the order of `PARTS`."""
        return tuple(bounded(clean(text)) if text else "" for text in _texts_of(self.texts))

    @cached_property
    def digest(self) -> bytes:
        """Tells whether anything has changed."""
        told = repr((self.row.received_us, _values_of(self.row), self.parts))
        return blake2b(told.encode(), digest_size=_DIGEST_BYTES).digest()

    def first_seq(self) -> int:
        """Where it belongs in time; the next free one is taken where another row is there."""
        spread = int.from_bytes(blake2b(self.id.encode(), digest_size=2).digest(), "big")
        return self.row.received_us * SEQ_STEP + spread % SEQ_STEP

    @cached_property
    def squeezed(self) -> bytes:
        """The texts as SQLite keeps them."""
        return zlib.compress(orjson.dumps(self.parts), 1)

    def columns(self, seq: int) -> dict[str, object]:
        """The row of `records`."""
        values: dict[str, object] = dict(zip(ROW_COLUMNS, _values_of(self.row), strict=True))
        for name in LIST_COLUMNS:
            values[name] = json.dumps(values[name]) if values[name] else "[]"
        for name, bins in _BINS:
            values[bins] = bin_of(values[name])  # type: ignore[arg-type]  # these are numbers
        values["seq"], values["digest"] = seq, self.digest
        return values

    def labels(self, seq: int) -> list[dict[str, object]]:
        """The rows of `labels`."""
        return [
            {"kind": kind, "value": value, "seq": seq}
            for name, kind in LIST_COLUMNS.items()
            for value in {member.lower(): member for member in getattr(self.row, name)}.values()
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
    return replace(row, **changed) if changed else row


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


def unsqueezed(data: bytes) -> list[str]:
    """`Put.squeezed` undone."""
    parts: list[str] = orjson.loads(zlib.decompress(data))
    return parts
