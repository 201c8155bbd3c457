"""A trace's document with only those of the request's messages that hold a word.

Every request of a long session says again all that was said before, so a word that was said once is
in each of them. As the recorder lays a file, a message begins a line after ten spaces: those around
the word are found by a search for bytes, and the others need not be parsed.
"""

from __future__ import annotations

from collections.abc import Sequence

from .skeleton import request_value

_MOST = 100  # where so many hold it, to parse them all is no slower
_LIST = b'": ['
_ITEM = b"\n          {\n"  # a message, a tool, a block of the system prompt
_ITEM_END = b"\n          }"
_LIST_END = b"\n        ]"
# What comes before the first message of another role is the system prompt.
_LEADING = (b'"role": "system"', b'"role": "developer"')

Span = tuple[int, int]


def narrowed(data: bytes, lowered: bytes, words: Sequence[bytes]) -> bytes:
    """The document's bytes without those messages that hold none of the words, which are of ASCII
    letters and digits in lower case. `lowered`: the bytes in lower case. What stays stands in its
    place: leading ones, and one after them, always do. Unchanged where they are not found."""
    region = request_value(data)
    if region is None:
        return data
    pieces: list[bytes] = []
    at, stop = 0, region[1]
    begin = data.find(_LIST + _ITEM, region[0], stop)
    while begin >= 0:
        begin += len(_LIST)
        end = data.find(_LIST_END, begin, stop)
        spans = _spans(data, lowered, words, begin, end) if end >= 0 else None
        if spans is None:
            return data
        pieces += (data[at:begin], b",".join([data[slice(*span)] for span in spans]))
        at = end
        begin = data.find(_LIST + _ITEM, end, stop)
    return b"".join([*pieces, data[at:]])


def _spans(
    data: bytes, lowered: bytes, words: Sequence[bytes], begin: int, end: int
) -> list[Span] | None:
    """Of the list that begins and ends there, what is to stay; None: most of it."""
    first = _leading(data, begin, end)
    found = {first}
    for word in words:
        at = lowered.find(word, first[1], end)
        while at >= 0:
            stop = _item_end(data, at, end)
            found.add((data.rfind(_ITEM, begin, at), stop))
            if len(found) > _MOST:
                return None
            at = lowered.find(word, stop, end)
    return _united(found)


def _leading(data: bytes, begin: int, end: int) -> Span:
    stop = _item_end(data, begin, end)
    at = begin
    while stop < end and any(data.find(role, at, stop) >= 0 for role in _LEADING):
        at, stop = stop, _item_end(data, stop + 1, end)
    return begin, stop


def _item_end(data: bytes, at: int, end: int) -> int:
    found = data.find(_ITEM_END, at, end)
    return found + len(_ITEM_END) if found >= 0 else end


def _united(spans: set[Span]) -> list[Span]:
    """In order. A text that is no message, but stands among them, goes with those beside it, so
    that two spans may overlap."""
    united: list[Span] = []
    for start, stop in sorted(spans):
        if united and start < united[-1][1]:
            united[-1] = united[-1][0], max(stop, united[-1][1])
        else:
            united.append((start, stop))
    return united
