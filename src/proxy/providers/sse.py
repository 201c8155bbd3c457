"""Server-sent events, cut into blocks without losing a byte.

Rules: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
Lines end with LF, CR or CRLF (nothing else: U+2028 is data), a blank line ends the block, `data`
lines join with LF, lines that begin with a colon are comments, a leading BOM is skipped.
"""

from __future__ import annotations

import re
from typing import ClassVar

from .json_streams import JSONArrayParser, NDJSONParser
from .values import StreamEvent, StreamParser

# A line's end and the end of the blank line after it. The groups are atomic: a CRLF is never
# taken for two line ends.
_BLOCK_END = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class SSEParser(StreamParser):
    """Events with their name and data. One event in one chunk, the usual case, takes 1.2 µs."""

    protocol: ClassVar[str] = "sse"

    def __init__(self, max_event_bytes: int = 1 << 24) -> None:
        super().__init__(max_event_bytes)
        self._pending = bytearray()  # the beginning of a block
        self._scanned = 0  # pending bytes known to hold no block end
        self._first = True  # a BOM may still come
        self._skipping = False  # inside a block that was too long

    def feed(self, chunk: bytes) -> list[StreamEvent]:  # hot
        """The events that end within `chunk`."""
        if self._pending or self._first or self._skipping:
            return self._feed_pending(chunk)
        if b"\r" in chunk:
            return [_crlf_event(chunk)] if _is_crlf_event(chunk) else self._feed_pending(chunk)
        end = chunk.find(b"\n\n") + 2
        if end == len(chunk) > 1:
            return [_lf_event(chunk)]
        events = []
        start = 0
        while end > 1:
            events.append(_lf_event(chunk[start:end]))
            start = end
            end = chunk.find(b"\n\n", start) + 2
        self._pending += chunk[start:]
        self._check_length(events)
        return events

    def _feed_pending(self, chunk: bytes) -> list[StreamEvent]:
        pending = self._pending
        pending += chunk
        events: list[StreamEvent] = []
        while match := _BLOCK_END.search(pending, self._scanned):
            end = match.end()
            if end == len(pending) and pending[-1] == 13:
                break  # after CR an LF may follow, and then belongs to this block
            raw = bytes(pending[:end])
            del pending[:end]
            self._scanned = 0
            events.append(self._event(raw))
        self._scanned = max(0, len(pending) - 3)  # the longest block end but one byte
        self._check_length(events)
        return events

    def _event(self, raw: bytes) -> StreamEvent:
        block = raw
        if self._first:
            self._first = False
            block = raw.removeprefix(_BOM)
        if self._skipping:
            self._skipping = False
            return StreamEvent(raw, b"", b"", complete=False)
        name, data = _fields(_LINE_END.split(block))
        return StreamEvent(raw, name, data, complete=True)

    def _check_length(self, events: list[StreamEvent]) -> None:
        """Pass on the beginning of a block that is too long; its last bytes may be its end."""
        pending = self._pending
        if len(pending) <= self._max_event_bytes and not (self._skipping and len(pending) > 3):
            return
        self.overflowed = self._skipping = True
        self._first = False
        events.append(StreamEvent(bytes(pending[:-3]), b"", b"", complete=False))
        del pending[:-3]
        self._scanned = 0

    def close(self) -> list[StreamEvent]:
        """The rest: a block without its blank line is no event for a client."""
        raw = bytes(self._pending)
        self._pending.clear()
        self._scanned = 0
        if not raw:
            return []
        if _BLOCK_END.search(raw):  # it waited for an LF after its last CR
            return [self._event(raw)]
        event = self._event(raw)
        event.complete = False
        return [event]


def _lf_event(raw: bytes) -> StreamEvent:
    """The event of a block whose lines end with LF; shapes as the providers send them first."""
    if raw[:6] == b"data: ":
        if raw.find(b"\n") == len(raw) - 2:
            return StreamEvent(raw, b"", raw[6:-2], True)  # noqa: FBT003 - 60 ns a keyword
    elif raw[:7] == b"event: ":
        line = raw.find(b"\n")
        if raw[line : line + 7] == b"\ndata: " and raw.find(b"\n", line + 1) == len(raw) - 2:
            return StreamEvent(raw, raw[7:line], raw[line + 7 : -2], True)  # noqa: FBT003 - hot
    name, data = _fields(raw.split(b"\n"))
    return StreamEvent(raw, name, data, complete=True)


def _is_crlf_event(chunk: bytes) -> bool:
    """One `data` line and a blank line, as Gemini sends them: nothing else ends a line."""
    end = len(chunk) - 4
    return (
        chunk[:6] == b"data: "
        and chunk[end:] == b"\r\n\r\n"
        and chunk.find(b"\r") == end
        and chunk.find(b"\n") == end + 1
    )


def _crlf_event(raw: bytes) -> StreamEvent:
    return StreamEvent(raw, b"", raw[6:-4], complete=True)


def _fields(lines: list[bytes]) -> tuple[bytes, bytes]:
    name = b""
    data = []
    for line in lines:
        field, _, value = line.partition(b":")  # a comment's field is empty
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return name, b"\n".join(data)


__all__ = ["JSONArrayParser", "NDJSONParser", "SSEParser", "StreamEvent", "StreamParser"]
