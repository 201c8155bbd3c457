"""A mistake in a filter: where it is, and what would be right."""

from __future__ import annotations

from unicodedata import east_asian_width


class FilterError(ValueError):
    """`position`: characters before the mistake, `length`: how many are wrong."""

    def __init__(self, position: int, message: str, length: int = 1) -> None:
        super().__init__(message)
        self.position = position
        self.message = message
        self.length = length

    def shown(self, text: str) -> str:
        """The filter, a line of carets below the mistake, and the message."""
        plain = "".join(char if char.isprintable() else "?" for char in text)
        before = _columns(plain[: self.position])
        wrong = _columns(plain[self.position : self.position + self.length])
        return f"{plain}\n{' ' * before}{'^' * max(wrong, 1)}\n{self.message}"


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)
