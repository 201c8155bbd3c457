"""Clients' addresses in SQL, with their port, which is as good as random, and without."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, case, func, literal_column, true

LAST = "\U0010ffff"
"""After all that begins so."""
host_key: ColumnElement[str] = literal_column(
    "rtrim(lower(records.client_address), '0123456789')"
)  # as its index has it: the port is as good as random
_DIGITS = "0123456789"


def host_like(pattern: str) -> ColumnElement[bool]:
    """Roughly, by the index of addresses without their port."""
    start, star, _ = pattern.partition("*")
    if not start:
        return true()
    host = start.rstrip(_DIGITS)
    if not star:
        return host_key.in_((host, f"{start}:"))
    return and_(host_key >= host, host_key <= start + LAST)


def is_host(address: ColumnElement[str], host: str) -> ColumnElement[bool]:
    """Is it `host` with a port? Faster than to take the port off."""
    return func.rtrim(address, _DIGITS) == f"{host}:"


def without_port(address: ColumnElement[str]) -> ColumnElement[str]:
    """As `utils.addresses` has it."""
    head = func.rtrim(address, _DIGITS)
    return case((head.like("%:"), func.substr(head, 1, func.length(head) - 1)), else_=address)
