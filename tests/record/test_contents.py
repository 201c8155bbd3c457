"""Gemini's contents."""

from __future__ import annotations

import pytest

from src.record.conversation import Part, Tool, Turn
from tests.record.kit import read


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_system_instruction_in_both_spellings(name: str) -> None:
    asked = {name: {"parts": [{"text": "brief"}]}, "contents": [{"parts": [{"text": "hi"}]}]}
    found = read("generate_content", asked)
    assert found.system == (Part("text", "brief"),)
    assert found.turns == (Turn("user", (Part("text", "hi"),)),)
    assert found.parameters == {}


def test_calls_results_and_media() -> None:
    contents = [
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
        {
            "role": "user",
            "parts": [{"function_response": {"name": "f", "id": "1", "response": {"r": 2}}}],
        },
        {
            "role": "user",
            "parts": [
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://x"}},
            ],
        },
    ]
    assert read("generate_content", {"contents": contents}).turns == (
        Turn("assistant", (Part("tool_call", '{"a":1}', "f"),)),
        Turn("tool", (Part("tool_result", '{"r":2}', "f", "1"),)),
        Turn(
            "user",
            (
                Part("image", "image/png, 3 bytes"),
                Part("other", "audio/wav, 3 bytes", "inlineData"),
                Part("other", "gs://x", "fileData"),
            ),
        ),
    )


def test_answer_with_thoughts_and_code() -> None:
    parts = [
        {"text": "hm", "thought": True},
        {"text": "so", "thoughtSignature": "xx"},
        {"executableCode": {"language": "PYTHON", "code": "1+1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
        {"novelty": 1},
    ]
    answer = {"candidates": [{"content": {"role": "model", "parts": parts}}, {"finishReason": "X"}]}
    assert read("stream_generate_content", {}, message=answer).answer == (
        Turn(
            "assistant",
            (
                Part("thinking", "hm"),
                Part("text", "so"),
                Part("tool_call", "1+1", "executableCode"),
                Part("tool_result", "2", "executableCode"),
                Part("other", '{"novelty":1}'),
            ),
        ),
    )


def test_tools_and_configuration() -> None:
    declared = {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}}
    asked = {
        "contents": [],
        "tools": [{"functionDeclarations": [declared]}, {"googleSearch": {}}],
        "generationConfig": {"temperature": 0, "stopSequences": ["x"]},
    }
    found = read("generate_content", asked)
    assert found.tools == (Tool("f", "d", '{"type":"object"}'), Tool("googleSearch", "", "{}"))
    assert found.parameters == {
        "generationConfig.temperature": "0",
        "generationConfig.stopSequences": '["x"]',
    }


def test_what_is_to_be_embedded() -> None:
    one = {"model": "m", "content": {"parts": [{"text": "a"}]}}
    answer = {"embeddings": [{"values": [0.1]}]}
    found = read("batch_embed_contents", {"requests": [one, one]}, answer)
    assert found.turns == (Turn("user", (Part("text", "a"),)),) * 2
    assert found.answer == ()
    assert read("embed_content", one).turns == found.turns[:1]
