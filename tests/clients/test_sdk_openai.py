"""The official `openai` SDK: through the program as at the provider, and traced right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.clients import shapes
from tests.clients.sdk import KEY, Through, marker, through

CHAT_TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
SUMMED = {  # shapes.CHAT_USAGE as the trace counts
    "input_tokens": 19,
    "output_tokens": 10,
    "cache_read_tokens": 8,
    "reasoning_tokens": 4,
    "source": "provider",
    "raw": shapes.CHAT_USAGE,
}
RESPONSES_SUMMED = {
    "input_tokens": 37,
    "output_tokens": 11,
    "cache_read_tokens": 16,
    "reasoning_tokens": 5,
    "source": "provider",
    "raw": shapes.RESPONSES_USAGE,
}


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Through]:
    yield from through("openai", tmp_path_factory.mktemp("openai"))


def client(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=10)


def without_null_refusals(answer: shapes.Json) -> shapes.Json:
    """Whether a chat says by null or not at all that nothing was refused is no matter."""
    messages = [choice["message"] for choice in answer["choices"]]
    kept = [{k: v for k, v in m.items() if (k, v) != ("refusal", None)} for m in messages]
    pairs = zip(answer["choices"], kept, strict=True)
    return answer | {"choices": [choice | {"message": message} for choice, message in pairs]}


@pytest.mark.parametrize("tools", [False, True])
def test_chat(both_ways: Through, tools: bool) -> None:
    word = marker()

    def call(url: str):
        with client(url) as openai:
            return openai.chat.completions.create(
                model="gpt-4.1",
                messages=[{"role": "user", "content": word}],
                **({"tools": [CHAT_TOOL]} if tools else {}),
            )

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    assert tapped.to_dict() == shapes.chat(tools)
    trace = both_ways.trace(word)
    assert trace["summary"]["operation"] == "chat"
    assert trace["summary"]["model"] == "gpt-4.1"
    assert trace["gen_ai"]["gen_ai.response.model"] == "gpt-4.1-2025-04-14"
    assert trace["response"]["body"]["value"] == shapes.chat(tools)
    assert trace["stream"] is None
    assert trace["usage"].items() >= SUMMED.items()


@pytest.mark.parametrize("tools", [False, True])
def test_chat_stream(both_ways: Through, tools: bool) -> None:
    word = marker()

    def call(url: str):
        with (
            client(url) as openai,
            openai.chat.completions.create(
                model="gpt-4.1",
                messages=[{"role": "user", "content": word}],
                stream=True,
                stream_options={"include_usage": True},
                **({"tools": [CHAT_TOOL]} if tools else {}),
            ) as stream,
        ):
            return list(stream)

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    assert tapped[-1].usage.total_tokens == 29
    trace = both_ways.trace(word)
    assert without_null_refusals(trace["response"]["message"]) == without_null_refusals(
        shapes.chat(tools)
    )
    assert trace["stream"]["terminal"] is True
    raws = "".join(event["raw"] for event in trace["stream"]["events"])
    assert raws.encode() == b"".join(shapes.chat_events(tools, usage=True))
    assert trace["usage"].items() >= SUMMED.items()
    assert trace["timing"]["first_token_ms"] is not None


def test_chat_stream_without_usage_is_estimated(both_ways: Through) -> None:
    word = marker()

    def call(url: str):
        with client(url) as openai:
            chat = openai.chat.completions.create(
                model="gpt-4.1", messages=[{"role": "user", "content": word}], stream=True
            )
            with chat as stream:
                return list(stream)

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    trace = both_ways.trace(word)
    assert trace["usage"]["source"] == "estimated"
    assert trace["usage"]["input_tokens"] > 0
    message = without_null_refusals(trace["response"]["message"])
    assert message["choices"] == without_null_refusals(shapes.chat(False))["choices"]


@pytest.mark.parametrize("tools", [False, True])
def test_responses(both_ways: Through, tools: bool) -> None:
    word = marker()

    def call(url: str):
        with client(url) as openai:
            return openai.responses.create(
                model="gpt-4.1", input=word, **({"tools": [TOOL]} if tools else {})
            )

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    trace = both_ways.trace(word)
    assert trace["summary"]["operation"] == "responses"
    assert trace["response"]["body"]["value"] == shapes.responses(tools)
    assert trace["usage"].items() >= RESPONSES_SUMMED.items()


@pytest.mark.parametrize("tools", [False, True])
def test_responses_stream(both_ways: Through, tools: bool) -> None:
    word = marker()

    def call(url: str):
        with client(url) as openai:
            extra = {"tools": [TOOL]} if tools else {}
            with openai.responses.stream(model="gpt-4.1", input=word, **extra) as stream:
                events = list(stream)
                return events, stream.get_final_response()

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    trace = both_ways.trace(word)
    assert trace["response"]["message"] == shapes.responses(tools)
    assert trace["stream"]["terminal"] is True
    assert trace["usage"].items() >= RESPONSES_SUMMED.items()


def test_embeddings(both_ways: Through) -> None:
    word = marker()

    def call(url: str):
        with client(url) as openai:
            return openai.embeddings.create(
                model="text-embedding-3-small", input=word, encoding_format="float"
            )

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    trace = both_ways.trace(word)
    assert trace["summary"]["operation"] == "embeddings"
    assert trace["response"]["body"]["value"] == shapes.EMBEDDINGS
    assert trace["usage"]["input_tokens"] == 5


def test_async_client_with_many_streams_at_once(both_ways: Through) -> None:
    words = [marker() for _ in range(8)]

    async def one(openai: AsyncOpenAI, word: str) -> str:
        stream = await openai.chat.completions.create(
            model="gpt-4.1", messages=[{"role": "user", "content": word}], stream=True
        )
        pieces = [c.choices[0].delta.content or "" async for c in stream if c.choices]
        return "".join(pieces)

    async def call() -> list[str]:
        base = f"{both_ways.tap.url}/v1"
        async with AsyncOpenAI(base_url=base, api_key=KEY, max_retries=0, timeout=10) as openai:
            return await asyncio.gather(*(one(openai, word) for word in words))

    assert asyncio.run(call()) == [shapes.TEXT] * len(words)
    for word in words:
        assert both_ways.trace(word)["stream"]["terminal"] is True
