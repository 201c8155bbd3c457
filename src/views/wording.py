"""Two texts compared: by lines, and within a line that changed by words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from .lines import Line, Style, counted, folded

_CONTEXT = 2
_MOST_LINES = 2_000  # difflib takes quadratic time: a thousand lines 0.1 s
_MOST_WORDS = 600
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


def changes(before: str, after: str) -> Iterator[Line]:
    """What was removed (`-`), added (`+`) and reworded (`~`, with `[-old-]{+new+}`), and a little
    of what stands around it. Nothing where they are the same."""
    old, new = before.split("\n"), after.split("\n")
    begin = _same(old, new)
    end = _same(old[begin:][::-1], new[begin:][::-1])
    middle_old, middle_new = old[begin : len(old) - end], new[begin : len(new) - end]
    if not middle_old and not middle_new:
        return
    yield from _context(old[max(begin - _CONTEXT, 0) : begin])
    if len(middle_old) + len(middle_new) > _MOST_LINES:
        yield Line(f"- {counted(len(middle_old), 'line')}", Style.REMOVED)
        yield Line(f"+ {counted(len(middle_new), 'line')}", Style.ADDED)
    else:
        yield from _by_lines(middle_old, middle_new)
    yield from _context(old[len(old) - end :][:_CONTEXT])


def _same(old: Sequence[str], new: Sequence[str]) -> int:
    """How many of the first are the same."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(old), len(new)))


def _by_lines(old: list[str], new: list[str]) -> Iterator[Line]:
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from _between(old[i:j])
        elif tag == "replace" and j - i == m - k:
            for was, now in zip(old[i:j], new[k:m], strict=True):
                yield from _reworded(was, now)
        else:
            yield from _marked("-", old[i:j], Style.REMOVED)
            yield from _marked("+", new[k:m], Style.ADDED)


def _reworded(was: str, now: str) -> Iterator[Line]:
    old, new = _WORDS.findall(was), _WORDS.findall(now)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if len(old) + len(new) > _MOST_WORDS or matcher.ratio() < 0.5:
        yield from _marked("-", [was], Style.REMOVED)
        yield from _marked("+", [now], Style.ADDED)
        return
    pieces = []
    for tag, i, j, k, m in matcher.get_opcodes():
        gone, came = "".join(old[i:j]), "".join(new[k:m])
        if tag == "equal":
            pieces.append(gone)
        else:
            pieces.append((f"[-{gone}-]" if gone else "") + (f"{{+{came}+}}" if came else ""))
    yield from _marked("~", ["".join(pieces)], Style.CHANGED)


def _between(same: list[str]) -> Iterator[Line]:
    if len(same) <= 2 * _CONTEXT:
        yield from _context(same)
        return
    yield from _context(same[:_CONTEXT])
    yield Line(f"  … {counted(len(same) - 2 * _CONTEXT, 'line')} unchanged", Style.DIM)
    yield from _context(same[-_CONTEXT:])


def _context(lines: Sequence[str]) -> Iterator[Line]:
    for text in lines:
        yield from folded(text, None, Style.DIM, "  ")


def _marked(mark: str, lines: Sequence[str], style: Style) -> Iterator[Line]:
    for text in lines:
        yield from folded(text, None, style, f"{mark} ")
