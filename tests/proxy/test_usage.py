"""The usage of an answer that passes: the figures an assembler of the whole would give."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from src.proxy.exchange import Exchange, Response
from src.proxy.providers.values import Usage
from src.proxy.usage import UsageWatch, watch_usage
from src.tracing.decoding import Decoder
from tests.middlewares.kit import exchange, upstream
from tests.proxy.providers.streams import assembled
from tests.support import bodies

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
GEMINI = "/v1beta/models/gemini-2.5-pro:streamGenerateContent"
STREAMS = {
    "openai": (CHAT, "chat", b"".join(bodies.chat_events()), "text/event-stream"),
    "anthropic": (MESSAGES, "messages", b"".join(bodies.messages_events()), "text/event-stream"),
    "gemini": (
        GEMINI,
        "stream_generate_content",
        b"".join(bodies.gemini_events()),
        "text/event-stream",
    ),
    "ollama": ("/api/chat", "chat", b"".join(bodies.ollama_lines()), "application/x-ndjson"),
}
ENCODERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


def decoder(encoding: str) -> Decoder:
    return Decoder(encoding, 20 << 20, 200)


def watched(
    kind: str, path: str, content_type: str, encoding: str = ""
) -> tuple[Exchange, UsageWatch]:
    passing = exchange(target=path.encode(), body=b"{}", to=upstream(kind))
    headers = [(b"Content-Type", content_type.encode())]
    if encoding:
        headers.append((b"Content-Encoding", encoding.encode()))
    return passing, watch_usage(passing, Response(200, headers, b""), decoder)


def usage_of(
    kind: str, path: str, content_type: str, body: bytes, *, pieces: int = 0, encoding: str = ""
) -> Usage | None:
    passing, watch = watched(kind, path, content_type, encoding)
    size = pieces or max(len(body), 1)
    for at in range(0, len(body), size):
        passing.observe_chunk(body[at : at + size])
    return watch.usage()


@pytest.mark.parametrize("kind", STREAMS)
@given(pieces=st.integers(1, 700))
@settings(max_examples=25, deadline=None)
def test_a_stream_gives_the_figures_of_the_whole_however_it_is_cut(kind: str, pieces: int) -> None:
    path, operation, body, content_type = STREAMS[kind]
    whole = assembled(kind, operation, body, content_type).usage
    found = usage_of(kind, path, content_type, body, pieces=pieces)
    assert found == whole
    assert found is not None
    assert found.output_tokens


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("kind", STREAMS)
def test_a_compressed_stream_gives_the_same(kind: str, encoding: str) -> None:
    path, operation, body, content_type = STREAMS[kind]
    packed = ENCODERS[encoding](body)
    found = usage_of(kind, path, content_type, packed, pieces=7, encoding=encoding)
    assert found == assembled(kind, operation, body, content_type).usage


@pytest.mark.parametrize("encoding", ["", *ENCODERS])
def test_an_unstreamed_answer_gives_its_figures(encoding: str) -> None:
    body = bodies.chat_answer()
    packed = ENCODERS[encoding](body) if encoding else body
    found = usage_of("openai", CHAT, "application/json", packed, pieces=11, encoding=encoding)
    assert found is not None
    assert (found.input_tokens, found.output_tokens) == (9, 4)


@pytest.mark.parametrize(
    ("content_type", "body", "encoding"),
    [
        ("application/json", b"", ""),
        ("application/json", b'{"usage": {"prompt_tok', ""),
        ("application/json", b"[1, 2]", ""),
        ("application/json", b'{"choices": []}', ""),
        ("audio/mpeg", b"\xff\xfb\x00" * 100, ""),
        ("text/event-stream", b"data: [DONE]\n\n", ""),
        ("text/event-stream", b'data: {"usage": 7}\n\n', ""),
        ("application/json", b"no gzip", "gzip"),
        ("application/json", b"{}", "unheard-of"),
    ],
)
def test_an_answer_without_figures_gives_none(
    content_type: str, body: bytes, encoding: str
) -> None:
    assert usage_of("openai", CHAT, content_type, body, encoding=encoding) is None


def test_a_cut_stream_gives_what_had_been_told_and_counts_its_events() -> None:
    events = bodies.messages_events()
    passing, watch = watched("anthropic", MESSAGES, "text/event-stream")
    for event in events[:4]:
        passing.observe_chunk(event)
    found = watch.usage()
    assert found is not None
    assert found.input_tokens
    assert watch.events == 4


def test_a_long_stream_with_figures_in_every_event_stays_small() -> None:
    piece = {
        "candidates": [{"content": {"parts": [{"text": "x" * 2000}], "role": "model"}}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 0, "totalTokenCount": 5},
    }
    passing, watch = watched("gemini", GEMINI, "text/event-stream")
    tracemalloc.start()
    for number in range(5000):  # 10 MB of text
        piece["usageMetadata"]["candidatesTokenCount"] = number  # type: ignore[index,call-overload]
        passing.observe_chunk(b"data: " + json.dumps(piece).encode() + b"\r\n\r\n")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    found = watch.usage()
    assert found is not None
    assert (found.input_tokens, found.output_tokens) == (5, 4999)
    assert held < 1 << 20


def test_an_answer_too_large_to_gather_is_let_go() -> None:
    passing, watch = watched("openai", "/v1/embeddings", "application/json")
    tracemalloc.start()
    for _ in range(200):
        passing.observe_chunk(b"x" * (1 << 17))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert watch.usage() is None
    assert held < 1 << 20
