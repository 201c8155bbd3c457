"""Streams as in https://ai.google.dev/api/generate-content, held against the SDK's models."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai.types import GenerateContentResponse

from src.proxy.providers.base import ErrorInfo

from .streams import JSON, SSE, assembled, assert_same_however_cut

STREAM = "stream_generate_content"


def piece(*parts: object, finish: str | None = None, index: int = 0, **extra: object) -> Any:
    candidate: dict[str, object] = {"index": index, **extra}
    if parts:
        candidate["content"] = {"parts": list(parts), "role": "model"}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "mAitaLm"}


def used(body: Any, **counts: int) -> Any:
    return {**body, "usageMetadata": {"promptTokenCount": 8, **counts}}


def sse(*pieces: object) -> bytes:
    """Gemini's lines end with CRLF."""
    return b"".join(f"data: {json.dumps(p, ensure_ascii=False)}\r\n\r\n".encode() for p in pieces)


def array(*pieces: object) -> bytes:
    return b"[" + b"\n,\r\n".join(json.dumps(p, indent=2).encode() for p in pieces) + b"\n]\n"


SIGNATURE = "CiQBcsjafOTuWpRTMNGi"
CALL = {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}}
TEXT = [
    used(piece({"text": "Why did"}), totalTokenCount=8),
    used(piece({"text": " the 😀"}), candidatesTokenCount=5, totalTokenCount=13),
    used(piece({"text": "."}, finish="STOP"), candidatesTokenCount=9, totalTokenCount=17),
]
THINKING = [
    piece({"text": "**Plan", "thought": True}),
    piece({"text": "**", "thought": True}),
    piece({"text": "Yes"}),
    piece({**CALL, "thoughtSignature": SIGNATURE}, CALL),
    used(
        piece({"text": "", "thoughtSignature": SIGNATURE}, finish="STOP"),
        candidatesTokenCount=20,
        thoughtsTokenCount=300,
    ),
]
CODE = [
    piece({"text": "Sum:"}),
    piece({"executableCode": {"language": "PYTHON", "code": "print(1)"}}),
    piece({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}),
    piece({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}),
    piece({"text": "Do"}),
    piece({"text": "ne"}, finish="STOP", safetyRatings=[]),
]
MANY = [
    piece({"text": "a"}),
    piece({"text": "x"}, index=1),
    piece({"text": "b"}, finish="STOP"),
    piece({"text": "y"}, index=1, finish="MAX_TOKENS"),
]
STREAMS = {"text": TEXT, "thinking": THINKING, "code": CODE, "many": MANY}


def message(*pieces: object) -> dict[str, Any]:
    answer = assembled("gemini", STREAM, sse(*pieces)).message()
    assert isinstance(answer, dict)
    return answer


def parts(*pieces: object) -> list[Any]:
    return message(*pieces)["candidates"][0]["content"]["parts"]


@pytest.mark.parametrize("name", STREAMS)
def test_message_is_valid_for_the_sdk(name: str):
    response = GenerateContentResponse.model_validate(message(*STREAMS[name]))
    texts = [
        part["text"]
        for body in STREAMS[name]
        if body["candidates"][0]["index"] == 0
        for part in body["candidates"][0]["content"]["parts"]
        if "text" in part and not part.get("thought")
    ]
    found = [p.text for p in response.candidates[0].content.parts if p.text and not p.thought]
    assert "".join(found) == "".join(texts)


@pytest.mark.parametrize("name", STREAMS)
def test_stream_reads_the_same_however_it_is_cut(name: str):
    assert_same_however_cut("gemini", STREAM, sse(*STREAMS[name]), SSE)


@pytest.mark.parametrize("name", STREAMS)
def test_array_reads_the_same_however_it_is_cut(name: str):
    assert_same_however_cut("gemini", STREAM, array(*STREAMS[name]), JSON)


@pytest.mark.parametrize("name", STREAMS)
def test_array_and_sse_give_the_same_message(name: str):
    pieces = STREAMS[name]
    assert assembled("gemini", STREAM, array(*pieces), JSON).message() == message(*pieces)


def test_text_message_is_the_unstreamed_object():
    assert message(*TEXT) == {
        "candidates": [
            {
                "content": {"parts": [{"text": "Why did the 😀."}], "role": "model"},
                "index": 0,
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 9, "totalTokenCount": 17},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "mAitaLm",
    }


def test_thoughts_are_kept_apart_from_text_and_signatures_where_they_were():
    assert parts(*THINKING) == [
        {"text": "**Plan**", "thought": True},
        {"text": "Yes"},
        {**CALL, "thoughtSignature": SIGNATURE},
        CALL,
        {"text": "", "thoughtSignature": SIGNATURE},
    ]


def test_part_with_a_signature_is_not_merged_with_one_without():
    signed = {"text": "b", "thoughtSignature": SIGNATURE}
    assert parts(piece({"text": "a"}), piece(signed), piece({"text": "c"})) == [
        {"text": "a"},
        signed,
        {"text": "c"},
    ]


def test_other_parts_stand_between_texts():
    kinds = [next(iter(part)) for part in parts(*CODE)]
    assert kinds == ["text", "executableCode", "codeExecutionResult", "inlineData", "text"]
    assert parts(*CODE)[-1] == {"text": "Done"}


def test_candidates_are_kept_apart():
    answers = message(*MANY)["candidates"]
    assert [(a["content"]["parts"], a["finishReason"]) for a in answers] == [
        ([{"text": "ab"}], "STOP"),
        ([{"text": "xy"}], "MAX_TOKENS"),
    ]


def test_citations_and_logprobs_grow_while_grounding_is_replaced():
    def with_metadata(at: int) -> Any:
        return piece(
            {"text": "a"},
            citationMetadata={"citationSources": [{"startIndex": at}]},
            logprobsResult={"chosenCandidates": [{"token": "a"}]},
            groundingMetadata={"webSearchQueries": [str(at)]},
        )

    candidate = message(with_metadata(1), with_metadata(2))["candidates"][0]
    assert candidate["citationMetadata"]["citationSources"] == [
        {"startIndex": 1},
        {"startIndex": 2},
    ]
    assert len(candidate["logprobsResult"]["chosenCandidates"]) == 2
    assert candidate["groundingMetadata"] == {"webSearchQueries": ["2"]}


def test_usage_is_the_last_and_output_includes_thoughts():
    usage = assembled("gemini", STREAM, sse(*THINKING)).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (8, 320, 300)


def test_terminal_is_a_finish_reason_of_every_candidate():
    assert assembled("gemini", STREAM, sse(*TEXT)).terminal
    assert not assembled("gemini", STREAM, sse(*TEXT[:2])).terminal
    assert not assembled("gemini", STREAM, sse(*MANY[:3])).terminal
    assert not assembled("gemini", STREAM, b"").terminal


def test_blocked_prompt_is_terminal_and_has_no_candidates():
    blocked = used({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "g"})
    assembler = assembled("gemini", STREAM, sse(blocked))
    assert assembler.terminal
    assert assembler.message()["promptFeedback"] == {"blockReason": "SAFETY"}
    assert "candidates" not in assembler.message()
    GenerateContentResponse.model_validate(assembler.message())


@pytest.mark.parametrize("form", ["data: %s\r\n\r\n", "%s", "%s\r\n\r\n"])
def test_error_half_way_is_read_with_and_without_its_field(form: str):
    """The SDK collects bare JSON lines: _api_client.py, `_iter_response_stream`."""
    error = {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}
    indent = None if "data" in form else 2
    stream = sse(TEXT[0]) + (form % json.dumps(error, indent=indent)).encode()
    assembler = assembled("gemini", STREAM, stream)
    assert assembler.error == ErrorInfo("UNAVAILABLE", "Overloaded", "503")
    assert not assembler.terminal


def test_error_in_the_array_is_read():
    error = {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED"}}
    assembler = assembled("gemini", STREAM, array(TEXT[0], error), JSON)
    assert assembler.error == ErrorInfo("RESOURCE_EXHAUSTED", "Quota", "429")


def test_piece_that_was_cut_off_is_not_read():
    assert assembled("gemini", STREAM, sse(TEXT[0])[:-2]).message() is None
    assert assembled("gemini", STREAM, array(TEXT[0])[:-8], JSON).message() is None


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        ({"text": "a"}, True),
        ({"text": "a", "thought": True}, True),
        (CALL, True),
        ({"text": ""}, False),
        ({"text": "", "thoughtSignature": "x"}, False),
    ],
)
def test_model_output_begins_with_the_first_part_that_says_something(part: object, seen: bool):
    assert assembled("gemini", STREAM, sse(piece(part))).model_output is seen


def test_model_is_the_version_that_answered():
    assert assembled("gemini", STREAM, sse(*TEXT)).model == "gemini-2.5-flash"
