"""Paths into JSON: `messages[*].content`, `user.email`, `tags[0]`, `metadata.*`; a `$.` before it
is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..utils.redaction import MASK_TEXT

Path = tuple[str | int | None, ...]
"""Keys, indices, and None for all of them."""

_STEP = re.compile(r"\[(\*|\d+)\]|(?:^|\.)([^.\[\]]+)")


def parse_path(text: str) -> Path:
    """Raises ValueError for what is no path."""
    plain = text.removeprefix("$").removeprefix(".")
    steps: list[str | int | None] = []
    at = 0
    for found in _STEP.finditer(plain):
        if found.start() != at:
            break
        at = found.end()
        index, key = found.groups()
        if index is not None:
            steps.append(None if index == "*" else int(index))
        else:
            steps.append(None if key == "*" else key)
    if not steps or at != len(plain):
        raise ValueError(f"{text!r} is no path; write it like messages[*].content or user.email")
    return tuple(steps)


def mask_path(value: object, path: Path) -> bool:
    """Mask what stands at the path, in place, whatever it is. True if something did."""
    *way, last = path
    owners = [value]
    for step in way:
        owners = [inner for owner in owners for _, inner in _at(owner, step)]
    masked = False
    for owner in owners:
        for key, inner in list(_at(owner, last)):
            if inner is None:
                continue  # null says that nothing is there
            masked = True
            if isinstance(owner, dict | list):
                owner[key] = MASK_TEXT  # type: ignore[index]  # the key it was found under
    return masked


def _at(owner: object, step: str | int | None) -> Iterator[tuple[str | int, object]]:
    if isinstance(owner, dict):
        if step is None:
            yield from owner.items()
        elif isinstance(step, str) and step in owner:
            yield step, owner[step]
    elif isinstance(owner, list):
        if step is None:
            yield from enumerate(owner)
        elif isinstance(step, int) and step < len(owner):
            yield step, owner[step]
