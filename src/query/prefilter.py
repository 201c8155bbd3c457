"""What a filter allows to pass over without a look: other days, files without its words."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from .fields import Kind
from .tree import And, Node, Not, Op, Or, Test
from .values import words

MayFit = Callable[[bytes], bool]
# What is said of images and the like in other words than theirs: "image/png, 1,234 bytes".
_MADE = frozenset({"bytes", "executablecode", "image", "type", "unknown"})
_ASCII_WORD = re.compile(rb"[a-z0-9]+")


def time_bounds(node: Node) -> tuple[int | None, int | None]:
    """Rows that pass were received in [since, until), microseconds since 1970; None: no bound.
    Of an OR nothing is promised."""
    since = until = None
    for part in node.parts if isinstance(node, And) else (node,):
        if not (isinstance(part, Test) and part.field.kind is Kind.TIME):
            continue
        assert isinstance(part.value, int)  # noqa: S101  the parser's
        if part.op is Op.GE:
            since = max(part.value, since) if since is not None else part.value
        elif part.op is Op.LT:
            until = min(part.value, until) if until is not None else part.value
    return since, until


def may_fit(node: Node) -> MayFit | None:
    """Can a trace with these bytes, in lower case, pass? None: every one can.

    A text's letters and digits of ASCII stand in JSON as they are, so words made of them are in the
    file or not in the text. Of other words only the pieces that are ASCII are looked for.
    """
    match node:
        case Test(field, _, value) if field.kind is Kind.SEARCH:
            needles = _needles(str(value))
            return partial(_has_all, needles) if needles else None
        case And(parts):
            needed = [found for part in parts if (found := may_fit(part)) is not None]
            return partial(_every, needed) if needed else None
        case Or(parts):
            choices = [may_fit(part) for part in parts]
            known = [choice for choice in choices if choice is not None]
            return partial(_some, known) if len(known) == len(choices) else None
        case _:
            return None


def lone_words(node: Node) -> tuple[bytes, ...] | None:
    """The words of all searches, excluding ones too, where each is for one word that can only come
    from the bytes of the very message it is said in. None: not so."""
    match node:
        case Test(field, _, value):
            if field.kind is not Kind.SEARCH:
                return ()
            found = words(str(value))
            alone = len(found) == 1 and found[0].isascii() and not found[0].isdigit()
            return (found[0].encode(),) if alone and found[0] not in _MADE else None
        case Not(part):
            return lone_words(part)
        case And(parts) | Or(parts):
            each = [lone_words(part) for part in parts]
            known = [inner for inner in each if inner is not None]
            return tuple(w for inner in known for w in inner) if len(known) == len(each) else None


def _needles(text: str) -> tuple[bytes, ...]:
    """The longest first: it is the rarest, most likely."""
    pieces = [piece for word in words(text) for piece in _ASCII_WORD.findall(word.encode())]
    return tuple(sorted(set(pieces), key=len, reverse=True))


def _has_all(needles: tuple[bytes, ...], data: bytes) -> bool:
    return all(needle in data for needle in needles)


def _every(needed: list[MayFit], data: bytes) -> bool:
    return all(fits(data) for fits in needed)


def _some(choices: list[MayFit], data: bytes) -> bool:
    return any(fits(data) for fits in choices)
