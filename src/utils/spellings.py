"""Header names as clients spell them: looked up, not lower-cased each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_MOST = 4096  # a client that invents names must not grow the table for ever

_T = TypeVar("_T")


class Spellings(dict[bytes, _T]):
    """`spellings[name]` is `of(name.lower())`, remembered by the name as it is spelled.

    Clients repeat the same few: the hot paths' way in, one dictionary look-up.
    """

    def __init__(self, of: Callable[[bytes], _T]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, name: bytes) -> _T:
        value = self._of(name.lower())
        if len(self) < _MOST:
            self[name] = value
        return value
