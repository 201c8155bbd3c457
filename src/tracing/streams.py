"""A streamed body as the trace shows it: events with their times, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from ..proxy.providers.base import Provider
from ..proxy.providers.values import StreamAssembler, StreamEvent, StreamParser
from . import render
from .bodies import Limits
from .decoding import DecodeError, Decoder, TooLarge
from .masked_streams import hide_events, mask_events
from .rules import Masker


class Stream:
    """What a stream held. `cut`: why the events are not all of it, or None.

    `terminal`: the provider's own end was seen; None where this stream has none that is known.
    """

    __slots__ = (
        "assembler",
        "cut",
        "decoded_bytes",
        "events",
        "first_token_ms",
        "masked",
        "overflowed",
        "protocol",
        "terminal",
    )

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.assembler: StreamAssembler | None = None
        self.events: orjson.Fragment = render.EMPTY
        self.first_token_ms: float | None = None
        self.decoded_bytes = 0
        self.cut: str | None = None
        self.overflowed = False
        self.masked: list[int] = []  # which events have lost something
        self.terminal: bool | None = None


def read_stream(
    provider: Provider,
    operation: str,
    content_type: str,
    content_encoding: str | None,
    chunks: Sequence[tuple[float, bytes]],
    limits: Limits,
    masker: Masker | None = None,
) -> Stream | None:
    """The stream in these chunks, each with the ms it arrived at; None if this is no stream, or is
    compressed in a way that cannot be undone (then it is shown as any body is)."""
    parser = provider.parser(operation, content_type)
    if parser is None:
        return None
    stream = Stream(parser.protocol)
    stream.assembler = provider.assembler(operation, content_type)
    if content_encoding is not None:
        decoded = _decode(stream, content_encoding, chunks, limits)
        if decoded is None:
            return None
        chunks = decoded
    if masker is not None:
        _read_masked(stream, parser, chunks, masker)
    else:
        _read(stream, parser, chunks)
    stream.overflowed = parser.overflowed
    if stream.assembler is not None:
        stream.terminal = stream.assembler.terminal
    return stream


def _decode(
    stream: Stream, encoding: str, chunks: Sequence[tuple[float, bytes]], limits: Limits
) -> list[tuple[float, bytes]] | None:
    """Each chunk's decoded bytes with its time; a broken end cuts the stream and says so."""
    decoded: list[tuple[float, bytes]] = []
    try:
        decoder = Decoder(encoding, limits.decoded_bytes, limits.decoded_ratio)
        for t, chunk in chunks:
            decoded.append((t, decoder.feed(chunk)))
    except TooLarge as error:
        decoded.append((t, error.args[0]))
        stream.cut = "decoded, it is over the limit"
    except DecodeError as error:
        if not any(data for _, data in decoded):
            return None
        stream.cut = f"could not be decoded further: {error}"
    return decoded


def _read(stream: Stream, parser: StreamParser, chunks: Sequence[tuple[float, bytes]]) -> None:
    """Hot: the loop over all events of a stream."""
    lines: list[bytes] = []
    assembler = stream.assembler
    line = render.event
    t = 0.0
    for t, chunk in chunks:
        stream.decoded_bytes += len(chunk)
        found = parser.feed(chunk)
        if not found:
            continue
        when = b"%.3f" % t
        for event in found:
            lines.append(line(when, event.raw, event.complete))
            if assembler is not None:
                assembler.feed(event)
                if stream.first_token_ms is None and assembler.model_output:
                    stream.first_token_ms = t
    rest: list[StreamEvent] = parser.close()
    for event in rest:
        lines.append(line(b"%.3f" % t, event.raw, event.complete))
        if assembler is not None:
            assembler.feed(event)
    stream.events = render.events(lines)


def _read_masked(
    stream: Stream, parser: StreamParser, chunks: Sequence[tuple[float, bytes]], masker: Masker
) -> None:
    """The slow way: what the configuration wants hidden may stand over several events, so all of
    them are masked before the first is read."""
    times: list[float] = []
    events: list[StreamEvent] = []
    t = 0.0
    for t, chunk in chunks:
        stream.decoded_bytes += len(chunk)
        events += parser.feed(chunk)
        times += [t] * (len(events) - len(times))
    events += parser.close()
    times += [t] * (len(events) - len(times))
    before = [event.raw for event in events]
    mask_events(masker, events)
    if (assembler := stream.assembler) is not None:
        for t, event in zip(times, events, strict=True):
            assembler.feed(event)
            if stream.first_token_ms is None and assembler.model_output:
                stream.first_token_ms = t
        if masker.mask_value(assembler.message()):
            # Put together they say more than was seen in them: then none may be shown.
            hide_events(events)
    stream.masked = [n for n, event in enumerate(events) if event.raw != before[n]]
    stream.events = render.events(
        [render.event(b"%.3f" % t, e.raw, e.complete) for t, e in zip(times, events, strict=True)]
    )
