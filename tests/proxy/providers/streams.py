"""Feeding whole streams to parsers and assemblers, and cutting them everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable

from src.proxy.providers import get_provider
from src.proxy.providers.base import StreamAssembler, StreamEvent, StreamParser

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
JSON = "application/json; charset=UTF-8"


def parsed(parser: StreamParser, chunks: Iterable[bytes]) -> list[StreamEvent]:
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.close()


def values(events: Iterable[StreamEvent]) -> list[tuple[bytes, bytes, bytes, bool]]:
    return [(e.raw, e.name, e.data, e.complete) for e in events]


def sse(*payloads: object, done: bool = False) -> bytes:
    """A stream of `data:` blocks; a payload with a `type` gets its `event:` line as well."""
    blocks = []
    for payload in payloads:
        name = payload.get("type") if isinstance(payload, dict) else None
        line = f"event: {name}\n" if name else ""
        blocks.append(f"{line}data: {json.dumps(payload, ensure_ascii=False)}\n\n".encode())
    return b"".join(blocks) + (b"data: [DONE]\n\n" if done else b"")


def assembled(
    provider: str, operation: str, stream: bytes, content_type: str = SSE, pieces: int = 0
) -> StreamAssembler:
    """The assembler after the stream, given to the parser at once or in pieces of that size."""
    known = get_provider(provider)
    parser = known.parser(operation, content_type)
    assembler = known.assembler(operation, content_type)
    assert parser is not None
    assert assembler is not None
    size = pieces or max(1, len(stream))
    for event in parsed(parser, (stream[i : i + size] for i in range(0, len(stream), size))):
        assembler.feed(event)
    return assembler


def assert_same_however_cut(
    provider: str, operation: str, stream: bytes, content_type: str = SSE
) -> None:
    """Cut in two at every byte, and in single bytes: the same events, message and usage."""
    known = get_provider(provider)

    def run(chunks: Iterable[bytes]) -> tuple[object, ...]:
        parser = known.parser(operation, content_type)
        assembler = known.assembler(operation, content_type)
        assert parser is not None
        assert assembler is not None
        events = parsed(parser, chunks)
        assert b"".join(event.raw for event in events) == stream
        for event in events:
            assembler.feed(event)
        outcome = (assembler.message(), assembler.usage, assembler.terminal, assembler.error)
        return values(events), outcome

    whole = run([stream])
    for at in range(1, len(stream)):
        assert run([stream[:at], stream[at:]]) == whole, f"cut at {at}"
    assert run(stream[i : i + 1] for i in range(len(stream))) == whole
