"""Masking in streams, where what is to be masked comes in pieces: "jane@exa", "mple.com".

Texts at the same place of successive events are one text to its reader, so they are looked through
as one; each event then loses its share of what was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..proxy.providers.values import StreamEvent
from ..utils.redaction import MASK_TEXT
from . import render
from .rules import Masker, Span, decoded, dumps, encoded

# What tells one running text from another at the same place: choices, blocks, items.
_NUMBERS = ("index", "output_index", "content_index", "summary_index", "item_id")

Place = tuple[object, ...]


class _Piece:
    """A text in an event's JSON, and where to put it back; without an owner, the event's bytes."""

    __slots__ = ("event", "key", "owner", "text")

    def __init__(self, event: int, owner: object, key: str | int, text: str) -> None:
        self.event = event
        self.owner = owner
        self.key = key
        self.text = text

    def put(self, text: str) -> None:
        self.text = text
        if isinstance(self.owner, dict | list):
            self.owner[self.key] = text  # type: ignore[index]  # the key it was found under


def mask_events(masker: Masker, events: Sequence[StreamEvent]) -> None:
    """Mask patterns and paths in the events, in place: `raw` and `data`."""
    values: list[object] = []
    running: dict[Place, list[_Piece]] = {}
    changed: set[int] = set()
    for number, event in enumerate(events):
        value = _parsed(event)
        values.append(value)
        if value is None:
            piece = _Piece(number, None, "", decoded(event.raw))
            running.setdefault(("raw",), []).append(piece)
            continue
        if masker.mask_paths(value):
            changed.add(number)
        for place, owner, key, text in _texts(value, _numbers(value)):
            running.setdefault(place, []).append(_Piece(number, owner, key, text))
    for pieces in running.values():
        changed.update(_mask_running(masker, pieces, events))
    for number, event in enumerate(events):
        if values[number] is not None:
            _rewrite(masker, event, dumps(values[number]) if number in changed else event.data)


def hide_events(events: Sequence[StreamEvent]) -> None:
    """Take everything out of the events; that they came, and when, stays."""
    for event in events:
        event.raw = MASK_TEXT.encode()


def _parsed(event: StreamEvent) -> object | None:
    if not event.data:
        return None
    try:
        value = render.loads(event.data)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def _numbers(value: object) -> Place:
    if not isinstance(value, dict):
        return ()
    return tuple(value[name] for name in _NUMBERS if isinstance(value.get(name), int | str))


def _texts(value: object, place: Place) -> Iterator[tuple[Place, object, str | int, str]]:
    """Every text in a JSON value with its place; a list's items go by their own `index`."""
    items: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, dict):
        items = iter(list(value.items()))
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        step: object = key
        if isinstance(key, int) and isinstance(inner, dict) and isinstance(inner.get("index"), int):
            step = inner["index"]
        if isinstance(inner, str):
            yield (*place, step), value, key, inner
        elif isinstance(inner, dict | list):
            yield from _texts(inner, (*place, step))


def _mask_running(
    masker: Masker, pieces: list[_Piece], events: Sequence[StreamEvent]
) -> Iterator[int]:
    """Mask in one running text; the numbers of the events that have changed."""
    whole = masker.spans("".join(piece.text for piece in pieces))
    at = 0
    for piece in pieces:
        end = at + len(piece.text)
        # Alone too: a text that is sent again in each event runs into itself.
        shares = [
            (max(s, at) - at, min(e, end) - at, s >= at) for s, e in whole if s < end > at < e
        ]
        cleaned = _without(piece.text, shares, masker.spans(piece.text))
        at = end
        if cleaned == piece.text:
            continue
        if piece.owner is None:
            event = events[piece.event]
            event.raw = encoded(cleaned, event.raw)
            event.data = b""
        else:
            piece.put(cleaned)
            yield piece.event


def _without(text: str, shares: list[tuple[int, int, bool]], own: list[Span]) -> str:
    """The text without its shares; the mask stands where one begins."""
    covered = [*shares, *((start, end, True) for start, end in own)]
    kept: list[str] = []
    at = 0
    for start, end, begins in sorted(covered):
        if start > at:
            kept.append(text[at:start])
        if begins and start >= at:
            kept.append(MASK_TEXT)
        at = max(at, end)
    return "".join([*kept, text[at:]])


def _rewrite(masker: Masker, event: StreamEvent, data: bytes) -> None:
    """Put changed data into the event's bytes: in its place, or as the event's only data line."""
    data = encoded(masker.clean_json(decoded(data)), data)
    if data == event.data:
        return
    if event.data in event.raw:
        event.raw = event.raw.replace(event.data, data, 1)
    else:
        name = b"event: %b\n" % event.name if event.name else b""
        event.raw = b"%bdata: %b\n\n" % (name, data)
    event.data = data
