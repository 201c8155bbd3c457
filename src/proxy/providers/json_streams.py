"""Streams of JSON values without SSE: one a line (Ollama), or one array sent bit by bit (Gemini).

http://ndjson.org; Google's REST sends a server stream as an array, and so reads
https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from __future__ import annotations

import re
from typing import ClassVar

from .reading import loads
from .values import StreamEvent, StreamParser


class NDJSONParser(StreamParser):
    """One event a line, its end included. Empty lines are events without data."""

    protocol: ClassVar[str] = "ndjson"

    def __init__(self, max_event_bytes: int = 1 << 24) -> None:
        super().__init__(max_event_bytes)
        self._pending = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> list[StreamEvent]:  # hot
        """The lines that end within `chunk`."""
        lines = chunk.split(b"\n")
        rest = lines.pop()
        events = []
        for line in lines:
            raw = line + b"\n"
            if self._pending:
                raw = bytes(self._pending) + raw
                self._pending.clear()
            events.append(self._event(raw))
        self._pending += rest
        self._check_length(events)
        return events

    def _event(self, raw: bytes) -> StreamEvent:
        if self._skipping:
            self._skipping = False
            return StreamEvent(raw, b"", b"", complete=False)
        return StreamEvent(raw, b"", raw.strip(), complete=True)

    def _check_length(self, events: list[StreamEvent]) -> None:
        if len(self._pending) > self._max_event_bytes or (self._skipping and self._pending):
            self.overflowed = self._skipping = True
            events.append(StreamEvent(bytes(self._pending), b"", b"", complete=False))
            self._pending.clear()

    def close(self) -> list[StreamEvent]:
        """The last line without its end: clients take it if it is whole."""
        raw = bytes(self._pending)
        self._pending.clear()
        if not raw:
            return []
        event = self._event(raw)
        event.complete = event.complete and loads(event.data) is not None
        return [event]


_STRUCTURE = re.compile(rb'["{}\]]')
_IN_STRING = re.compile(rb'["\\]')


class JSONArrayParser(StreamParser):
    """One event for each object of the array; brackets and commas go with what follows them.

    Brackets inside an element need no counting: in JSON they pair within its braces.
    """

    protocol: ClassVar[str] = "json_array"

    def __init__(self, max_event_bytes: int = 1 << 24) -> None:
        super().__init__(max_event_bytes)
        self._pending = bytearray()
        self._scanned = 0
        self._begin = -1  # where the element begins in pending
        self._depth = 0  # open braces
        self._in_string = False
        self._skipping = False

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """The elements that end within `chunk`."""
        self._pending += chunk
        events: list[StreamEvent] = []
        while self._scan(events):
            pass
        self._check_length(events)
        return events

    def _scan(self, events: list[StreamEvent]) -> bool:
        """Go to the next byte that means something; False when there is none yet."""
        pattern = _IN_STRING if self._in_string else _STRUCTURE
        match = pattern.search(self._pending, self._scanned)
        if match is None:
            self._scanned = len(self._pending)
            return False
        byte, at = match.group(), match.start()
        if byte == b"\\":
            if at + 1 == len(self._pending):
                self._scanned = at
                return False
            self._scanned = at + 2
            return True
        self._scanned = at + 1
        if byte == b'"':
            self._in_string = not self._in_string
        elif byte == b"{":
            self._open(at)
        elif byte == b"}":
            self._shut(events)
        elif self._depth == 0:
            self._emit(events)  # the end of the array
        return True

    def _open(self, at: int) -> None:
        if self._depth == 0:
            self._begin = at
            self._skipping = False
        self._depth += 1

    def _shut(self, events: list[StreamEvent]) -> None:
        self._depth = max(0, self._depth - 1)
        if self._depth == 0:
            self._emit(events)

    def _emit(self, events: list[StreamEvent]) -> None:
        raw = bytes(self._pending[: self._scanned])
        data = raw[self._begin :] if self._begin >= 0 else b""
        events.append(StreamEvent(raw, b"", data, complete=not self._skipping))
        del self._pending[: self._scanned]
        self._scanned = 0
        self._begin = -1
        self._skipping = False

    def _check_length(self, events: list[StreamEvent]) -> None:
        """Pass on a too long beginning up to where it has been read; the state is kept."""
        if self._scanned and (self._skipping or len(self._pending) > self._max_event_bytes):
            self.overflowed = self._skipping = True
            events.append(
                StreamEvent(bytes(self._pending[: self._scanned]), b"", b"", complete=False)
            )
            del self._pending[: self._scanned]
            self._scanned = 0
            self._begin = -1

    def close(self) -> list[StreamEvent]:
        """What follows the array (a line end) or an element that was cut off."""
        raw = bytes(self._pending)
        self._pending.clear()
        self._scanned = 0
        if not raw:
            return []
        data = raw[self._begin :] if self._begin >= 0 else b""
        return [StreamEvent(raw, b"", data, complete=not data and not self._skipping)]
