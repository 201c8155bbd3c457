"""One small exchange, and all the ways to cut it: what is sent, where it ends, what must be told.

client ──REQUEST──▶ proxy ──────▶ upstream      `request`: the client sends so many bytes of it
       ◀────────────      ◀─ANSWER─             `answer`: the upstream sends so many bytes of it
                                                `leaving`: the same, then the client ends it
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support import bodies
from tests.support.client import request_bytes
from tests.support.steps import SSE_TYPE, head
from tests.support.wire import LAST_CHUNK, chunked

CHAT = "/v1/chat/completions"
ENDS = ("fin", "rst", "stall")
PLACES = ("request", "answer", "leaving")

_EVENTS = (
    bodies.data({"id": "c", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}),
    bodies.data({"id": "c", "choices": [{"index": 0, "delta": {"content": "!"}}]}),
    b"data: [DONE]\n\n",
)
_ANSWER_HEAD = head(200, SSE_TYPE, (b"Transfer-Encoding", b"chunked"))
ANSWER = _ANSWER_HEAD + chunked(*_EVENTS) + LAST_CHUNK
STREAM = b"".join(_EVENTS)


@dataclass(slots=True)
class Cut:
    """One run. `end`: what whoever cuts does after `at` bytes. The events tell what the upstream
    has seen and done: the request's head, all it was to send, the end of the connection."""

    place: str
    end: str
    at: int
    arrived: threading.Event = field(default_factory=threading.Event)
    sent: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return f"cut-{self.place[0]}{self.end[0]}-{self.at:04}"

    @property
    def request(self) -> bytes:
        body = bodies.dumps({"model": "m", "stream": True, "messages": []})
        fields = [(b"Content-Type", b"application/json")]
        return request_bytes("POST", f"{CHAT}?{self.name}", fields, body)

    @property
    def in_request_head(self) -> bool:
        return self.place == "request" and self.at < self.request.index(b"\r\n\r\n") + 4

    @property
    def in_answer_head(self) -> bool:
        return self.at < len(_ANSWER_HEAD)

    @property
    def is_whole(self) -> bool:
        """Nothing was cut off after all: it ends, or is not read for a while, once all is sent."""
        return self.place != "request" and self.at == len(ANSWER)

    @property
    def passed(self) -> bytes:
        """What of the stream lies in the first `at` bytes of the answer, its framing taken off."""
        return unframed(ANSWER[len(_ANSWER_HEAD) : max(self.at, len(_ANSWER_HEAD))])

    @property
    def told(self) -> tuple[str, str] | None:
        """Cause and phase as the trace must have them; None: there was no request to trace."""
        if self.in_request_head:
            return None
        if self.place == "request":
            return ("timeout" if self.end == "stall" else "client_disconnected"), "request"
        phase = "headers" if self.in_answer_head else "body"
        if self.place == "answer":
            causes = {"fin": "upstream_eof", "rst": "upstream_reset", "stall": "timeout"}
            return ("ok", "done") if self.is_whole else (causes[self.end], phase)
        if self.end == "stall" or self.passed == STREAM:  # it reads on later; it has all it wants
            return "ok", "done"
        return "client_disconnected", phase

    @property
    def status(self) -> int | None:
        """What the client is answered; None: nobody is there, or it is no request."""
        if self.place == "request":
            return 408 if self.end == "stall" and self.at else None
        if self.place == "answer" and self.in_answer_head:
            return 504 if self.end == "stall" else 502
        return None if self.in_answer_head and self.end != "stall" else 200


def unframed(wire: bytes) -> bytes:
    """The data in the beginning of a chunked body, that of an unfinished chunk included."""
    data = b""
    while b"\r\n" in wire:
        line, _, wire = wire.partition(b"\r\n")
        size = int(line, 16)
        data += wire[:size]
        wire = wire[size + 2 :]
    return data


def all_cuts(step: int, start: int) -> Iterator[Cut]:
    """Every place and end, at each `step`th offset from `start` and at the last."""
    for place in PLACES:
        for end in ENDS:
            size = len(Cut(place, end, 0).request) - 1 if place == "request" else len(ANSWER)
            for at in sorted({*range(start, size + 1, step), size}):
                yield Cut(place, end, at)
