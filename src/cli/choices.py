"""Options that take one of a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TypeVar

import typer

Choice = TypeVar("Choice", bound=StrEnum)


def one_of(choices: type[Choice]) -> Callable[[str], Choice]:
    """An option's parser. Typer's own tells a mistake in a library's words."""

    def chosen(text: str) -> Choice:
        return choices(among(choices, text))

    return chosen


def among(choices: Iterable[str], text: str) -> str:
    """`text`, where it is one of them. Raises BadParameter."""
    known = list(choices)
    if text not in known:
        raise typer.BadParameter(f"{text!r} is none of: {', '.join(known)}")
    return text


def named(choices: Iterable[str]) -> str:
    """How help shows them: `<request|response>`."""
    return f"<{'|'.join(choices)}>"
