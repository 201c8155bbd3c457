"""The values that providers hand out, and the two interfaces of streams.

bytes -> StreamParser.feed -> StreamEvent -> StreamAssembler.feed -> message, usage, error
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

Header = tuple[bytes, bytes]  # name in its case as received, value


# Not frozen: one is made for each answer, and that would take three times as long.
@dataclass(slots=True)
class Usage:
    """Tokens of one answer, counted alike for all providers; None is unknown, 0 is zero.

    `input_tokens` includes those read from and written to a cache, `output_tokens` includes
    reasoning. `raw` is what the provider said, `cost_usd` its own figure where it gives one.
    `apart`: those of them that have prices of their own (`prices.rates.APART`), where there are
    any; an audio token read from a cache is `cache_read_audio`, not `input_audio`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    raw: Mapping[str, object] | None = None
    cost_usd: float | None = None
    apart: Mapping[str, int] | None = None


@dataclass(slots=True, frozen=True)
class ErrorInfo:
    """An error as the provider named it: its kind, its words, its code as text."""

    type: str | None
    message: str | None
    code: str | None = None


class StreamEvent:
    """One block of a stream. Joining the `raw` of all events gives the stream back exactly.

    `name` is the SSE event type or b"", `data` the payload (b"" for comments and separators).
    `complete` is False for a rest that a client would not be given, and for unparsed pieces.
    """

    __slots__ = ("complete", "data", "name", "raw")

    def __init__(self, raw: bytes, name: bytes, data: bytes, complete: bool) -> None:
        self.raw = raw
        self.name = name
        self.data = data
        self.complete = complete

    def __repr__(self) -> str:
        return f"StreamEvent({self.raw!r}, {self.name!r}, {self.data!r}, {self.complete!r})"


class StreamParser:
    """Cuts the decoded bytes of one stream into events, the same ones however it was cut.

    An event longer than `max_event_bytes` is not parsed: its pieces are passed on as they come
    (`complete=False`, no data), `overflowed` says so, and parsing resumes with the next event.
    """

    protocol: ClassVar[str]  # as in the trace: sse, ndjson, json_array
    overflowed: bool = False

    def __init__(self, max_event_bytes: int = 1 << 24) -> None:
        # 16 MiB: a base64 image and the `response.completed` that repeats it are single events
        # of several megabytes, and without the latter a whole answer would look cut off.
        self._max_event_bytes = max_event_bytes

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """The events that end within `chunk`, of any length, cut anywhere."""
        raise NotImplementedError

    def close(self) -> list[StreamEvent]:
        """What is left when the stream has ended, as the last event; [] if nothing is."""
        raise NotImplementedError


class StreamAssembler:
    """Puts the events of one stream together. Strange input is ignored, never raised on."""

    model_output: bool = False  # the first delta of any kind (text, thinking, tool call) was seen
    error: ErrorInfo | None = None  # an error event inside the stream

    def feed(self, event: StreamEvent) -> None:
        """Take in one event. Hot: called for each event of each stream."""
        raise NotImplementedError

    @property
    def terminal(self) -> bool:
        """True once the provider's own end has been seen: what follows is no loss."""
        raise NotImplementedError

    @property
    def usage(self) -> Usage | None:
        """The usage so far: the last value that was not null, field by field."""
        raise NotImplementedError

    @property
    def model(self) -> str | None:
        """The model that answers, as the stream names it."""
        raise NotImplementedError

    def message(self) -> object | None:
        """The JSON object the provider would have returned unstreamed; None if nothing came.

        A stream that was cut gives what had arrived. The object shares parts with the assembler.
        """
        raise NotImplementedError


@dataclass(slots=True, frozen=True)
class Format:
    """How the answers of one operation read, streamed or not; shared by all who speak it.

    `assemblers` has one for each protocol (`StreamParser.protocol`) that it is streamed in.
    """

    usage: Callable[[Mapping[str, object]], Usage | None]
    model: Callable[[Mapping[str, object]], str | None]
    finish_reasons: Callable[[Mapping[str, object]], list[str]]
    assemblers: Mapping[str, Callable[[], StreamAssembler]] = field(default_factory=dict)
