"""The official `google-genai` SDK: through the program as at the provider, and traced right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google import genai
from google.genai import types

from tests.clients import shapes
from tests.clients.sdk import KEY, Through, marker, through

MODEL = "gemini-2.5-flash"
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name="get_weather", description="The weather in a city")
    ]
)
SUMMED = {  # shapes.GEMINI_USAGE as the trace counts: output includes the thoughts
    "input_tokens": 14,
    "output_tokens": 13,
    "cache_read_tokens": 4,
    "reasoning_tokens": 6,
    "source": "provider",
    "raw": shapes.GEMINI_USAGE,
}


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Through]:
    yield from through("gemini", tmp_path_factory.mktemp("gemini"))


def client(url: str) -> genai.Client:
    return genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url, timeout=10_000))


def options(tools: bool) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(tools=[WEATHER] if tools else None)


@pytest.mark.parametrize("tools", [False, True])
def test_generate(both_ways: Through, tools: bool) -> None:
    word = marker()

    def call(url: str):
        with client(url) as gemini:
            return plain(
                gemini.models.generate_content(model=MODEL, contents=word, config=options(tools))
            )

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    trace = both_ways.trace(word)
    assert trace["summary"]["operation"] == "generate_content"
    assert trace["summary"]["model"] == MODEL
    assert trace["response"]["body"]["value"] == shapes.generate(tools)
    assert trace["stream"] is None
    assert trace["usage"].items() >= SUMMED.items()


@pytest.mark.parametrize("tools", [False, True])
def test_generate_stream(both_ways: Through, tools: bool) -> None:
    word = marker()

    def call(url: str):
        with client(url) as gemini:
            stream = gemini.models.generate_content_stream(
                model=MODEL, contents=word, config=options(tools)
            )
            return [plain(piece) for piece in stream]

    direct, tapped = both_ways.both(call)
    assert tapped == direct
    trace = both_ways.trace(word)
    assert trace["response"]["message"] == shapes.generate(tools)
    assert trace["stream"]["terminal"] is True
    assert trace["usage"].items() >= SUMMED.items()


def plain(answer: types.GenerateContentResponse) -> dict[str, object]:
    """What the answer says, without the HTTP headers (their dates differ)."""
    return answer.model_dump(exclude={"sdk_http_response"})
