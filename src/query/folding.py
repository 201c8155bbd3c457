"""Upper and lower case, as both databases know it: of ASCII's letters alone."""

from __future__ import annotations

_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def lower(text: str) -> str:
    """As SQLite's NOCASE and Postgres's lower() in the collation C fold it: É stays É."""
    return text.lower() if text.isascii() else text.translate(_LOWER)
