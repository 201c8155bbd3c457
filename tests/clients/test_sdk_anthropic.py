"""The official `anthropic` SDK: through the program as at the provider, and traced right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anthropic import Anthropic

from tests.clients import shapes
from tests.clients.sdk import KEY, Through, marker, through

MODEL = "claude-tap"  # a name the SDK never warns about as deprecated
TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}
SUMMED = {  # shapes.MESSAGES_USAGE as the trace counts: input includes what was cached
    "input_tokens": 35,
    "output_tokens": 9,
    "cache_read_tokens": 20,
    "cache_write_tokens": 3,
    "source": "provider",
}


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Through]:
    yield from through("anthropic", tmp_path_factory.mktemp("anthropic"))


def client(url: str) -> Anthropic:
    return Anthropic(base_url=url, api_key=KEY, max_retries=0, timeout=10)


def question(word: str, tools: bool) -> dict[str, object]:
    extra = {"tools": [TOOL]} if tools else {}
    return {"model": MODEL, "messages": [{"role": "user", "content": word}], **extra}


@pytest.mark.parametrize("tools", [False, True])
def test_messages(both_ways: Through, tools: bool) -> None:
    word = marker()

    def call(url: str):
        with client(url) as anthropic:
            return anthropic.messages.create(max_tokens=64, **question(word, tools))

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    trace = both_ways.trace(word)
    assert trace["summary"]["operation"] == "messages"
    assert trace["summary"]["model"] == MODEL
    assert trace["gen_ai"]["gen_ai.response.model"] == "claude-sonnet-4-5-20250929"
    assert trace["response"]["body"]["value"] == shapes.messages(tools)
    assert trace["stream"] is None
    assert trace["usage"].items() >= SUMMED.items()


@pytest.mark.parametrize("tools", [False, True])
def test_messages_stream(both_ways: Through, tools: bool) -> None:
    word = marker()

    def call(url: str):
        with client(url) as anthropic:
            asked = question(word, tools)
            with anthropic.messages.stream(max_tokens=64, **asked) as stream:
                events = [event.type for event in stream]
                return events, stream.get_final_message()

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    trace = both_ways.trace(word)
    assert trace["response"]["message"] == shapes.messages(tools)
    assert trace["stream"]["terminal"] is True
    raws = "".join(event["raw"] for event in trace["stream"]["events"])
    assert raws.encode() == b"".join(shapes.messages_events(tools))
    assert trace["usage"].items() >= SUMMED.items()
    assert trace["timing"]["first_token_ms"] is not None


def test_count_tokens_is_no_inference(both_ways: Through) -> None:
    word = marker()

    def call(url: str):
        with client(url) as anthropic:
            return anthropic.messages.count_tokens(**question(word, tools=True))

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    assert tapped.input_tokens == 35
    trace = both_ways.trace(word)
    assert trace["summary"]["operation"] == "count_tokens"
    assert trace["response"]["body"]["value"] == shapes.COUNT_TOKENS
    assert trace["usage"]["output_tokens"] is None


def test_betas_arrive_as_sent(both_ways: Through) -> None:
    word = marker()
    betas = "context-1m-2025-08-07,interleaved-thinking-2025-05-14"

    def call(url: str):
        with client(url) as anthropic:
            headers = {"anthropic-beta": betas}
            asked = question(word, tools=False)
            return anthropic.messages.create(max_tokens=64, extra_headers=headers, **asked)

    both_ways.both(call)
    seen = both_ways.mock.seen[-1]
    assert seen.headers["anthropic-beta"] == betas
    assert any(KEY in value for value in seen.headers.values())  # the header depends on the SDK
    both_ways.trace(word)
