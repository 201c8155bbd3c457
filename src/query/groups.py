"""What stats can be grouped by, for the API and the command line alike."""

from __future__ import annotations

from enum import StrEnum

from ..record.row import Row
from ..utils.addresses import without_port
from .fields import FIELDS


class Group(StrEnum):
    """Fields of the filter language: one sum for each of their values."""

    MODEL = "model"
    KEY = "key"
    UPSTREAM = "upstream"
    PROVIDER = "provider"
    OP = "op"
    STATUS = "status"
    CAUSE = "cause"
    SESSION = "session"
    ADDRESS = "address"
    AGENT = "agent"
    PATH = "path"

    @property
    def column(self) -> str:
        """The attribute of `record.row.Row`."""
        return FIELDS[self.value].column

    def of(self, row: Row) -> str | int | None:
        """What the row counts under; None where that is unknown, or empty. Addresses count without
        their port, which is of one connection."""
        value: str | int | None = getattr(row, self.column)
        if self is Group.ADDRESS and isinstance(value, str):
            value = without_port(value)
        return None if value == "" else value
