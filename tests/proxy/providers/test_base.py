from __future__ import annotations

import pytest

from src.proxy.providers import PROVIDER_TYPES, get_provider
from src.proxy.providers.base import JSONArrayParser, NDJSONParser, Provider, SSEParser, Usage
from src.proxy.providers.values import StreamAssembler, StreamEvent, StreamParser


@pytest.mark.parametrize(
    ("content_type", "parser"),
    [
        ("text/event-stream", SSEParser),
        ("Text/Event-Stream; charset=utf-8", SSEParser),
        ("application/x-ndjson", NDJSONParser),
        ("application/json", type(None)),
        ("", type(None)),
        ("text/plain", type(None)),
    ],
)
@pytest.mark.parametrize("provider", PROVIDER_TYPES)
def test_parser_by_content_type(provider: str, content_type: str, parser: type):
    assert type(get_provider(provider).parser("chat", content_type)) is parser


def test_array_parser_where_the_operation_streams_one():
    found = get_provider("gemini").parser("stream_generate_content", "application/json")
    assert type(found) is JSONArrayParser


@pytest.mark.parametrize("provider", PROVIDER_TYPES)
def test_each_assembler_is_new(provider: str):
    known = get_provider(provider)
    first = known.assembler("chat", "text/event-stream")
    assert first is not None
    assert first is not known.assembler("chat", "text/event-stream")


def test_unknown_provider_passes_everything_and_reads_nothing():
    plain = Provider()
    assert plain.operation("POST", "/v1/chat/completions") == "other"
    assert not plain.is_inference("other")
    assert plain.usage("other", {"usage": {}}) is None
    assert plain.assembler("other", "text/event-stream") is None


def test_usage_knows_nothing_by_default():
    assert Usage() == Usage(None, None, None, None, None, None, None)


def test_event_shows_itself():
    assert repr(StreamEvent(b"r", b"n", b"d", True)) == "StreamEvent(b'r', b'n', b'd', True)"


def test_stream_interfaces_leave_their_work_to_be_done():
    with pytest.raises(NotImplementedError):
        StreamParser().feed(b"")
    with pytest.raises(NotImplementedError):
        StreamAssembler().message()
