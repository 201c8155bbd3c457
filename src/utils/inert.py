"""Texts of strangers, made harmless for a terminal: what it would obey is shown instead."""

from __future__ import annotations

import re

# Controls, those of Latin-1, halves of surrogate pairs, and the marks that turn or hide text
# (CVE-2021-42574).
_OBEYED = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def inert(text: str) -> str:
    """The text with its lines and tabs as they are, and others as `\\x1b`, `\\u202e`."""
    return _OBEYED.sub(
        lambda found: found[0] if found[0] in "\n\t" else _escaped(found[0]),
        text.replace("\r\n", "\n"),
    )


def inert_line(text: str) -> str:
    """The text on one line: line ends and tabs as spaces, others as `\\x1b`, `\\u202e`."""
    return _OBEYED.sub(_shown, text)


def inert_json(text: str) -> str:
    """Rendered JSON with them as escapes: it still means the same."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _shown(found: re.Match[str]) -> str:
    return " " if found[0] in "\n\r\t" else _escaped(found[0])


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
