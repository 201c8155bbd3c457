from __future__ import annotations

import json

import pytest

from src.proxy.providers import get_provider
from src.proxy.providers.base import ErrorInfo, Usage
from src.proxy.providers.openai_chat import ChatAssembler

from .streams import JSON, NDJSON, SSE

GEMINI = get_provider("gemini")


def test_model_is_read_from_the_path():
    path = "/v1beta/models/gemini-2.5-flash:generateContent"
    assert GEMINI.request_model(path, None) == "gemini-2.5-flash"


def test_model_of_the_openai_face_is_read_from_the_body():
    path = "/v1beta/openai/chat/completions"
    assert GEMINI.request_model(path, {"model": "models/gemini-2.5-pro"}) == "gemini-2.5-pro"


def test_stream_is_asked_for_by_the_method_or_the_body():
    assert GEMINI.streams("/v1beta/models/g:streamGenerateContent", "alt=sse", {})
    assert not GEMINI.streams("/v1beta/models/g:generateContent", "", {})
    assert GEMINI.streams("/v1beta/openai/chat/completions", "", {"stream": True})


def test_usage_counts_thoughts_as_output_and_tool_results_as_input():
    raw = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 300,
        "toolUsePromptTokenCount": 7,
        "totalTokenCount": 427,
    }
    usage = GEMINI.usage("generate_content", {"usageMetadata": raw})
    assert usage == Usage(107, 320, 60, None, 300, raw)
    assert usage.input_tokens + usage.output_tokens == raw["totalTokenCount"]


def test_usage_without_candidates_is_thoughts_alone():
    raw = {"promptTokenCount": 5, "thoughtsTokenCount": 9}
    usage = GEMINI.usage("generate_content", {"usageMetadata": raw})
    assert usage is not None
    assert usage.output_tokens == 9
    assert GEMINI.usage("generate_content", {}) is None


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: [body]])
def test_error_is_read_also_inside_an_array(wrap):
    error = {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": []}
    found = GEMINI.error(429, wrap({"error": error}))
    assert found == ErrorInfo("RESOURCE_EXHAUSTED", "Quota", "429")


def test_own_error_is_a_google_status():
    error = json.loads(GEMINI.error_body(503, "upstream_pool_exhausted", "Busy", "01J"))["error"]
    assert (error["code"], error["status"], error["message"]) == (503, "UNAVAILABLE", "Busy")
    assert error["details"][0]["reason"] == "upstream_pool_exhausted"
    assert error["details"][0]["metadata"] == {"request_id": "01J"}


def test_finish_reasons_are_those_of_the_candidates_or_the_prompt():
    candidates = [{"finishReason": "STOP"}, {"finishReason": "SAFETY"}, {}]
    assert GEMINI.finish_reasons("generate_content", {"candidates": candidates}) == [
        "STOP",
        "SAFETY",
    ]
    blocked = {"promptFeedback": {"blockReason": "OTHER"}}
    assert GEMINI.finish_reasons("generate_content", blocked) == ["OTHER"]


def test_response_model_is_the_version():
    assert GEMINI.response_model("generate_content", {"modelVersion": "g-1"}) == "g-1"


def test_plain_json_is_a_stream_only_where_it_was_asked_for():
    assert GEMINI.assembler("stream_generate_content", JSON) is not None
    assert GEMINI.parser("generate_content", JSON) is None
    assert GEMINI.assembler("generate_content", JSON) is None
    assert GEMINI.assembler("stream_generate_content", NDJSON) is None


def test_openai_face_is_put_together_as_chat():
    assert isinstance(GEMINI.assembler("chat", SSE), ChatAssembler)


def test_client_is_pointed_at_the_proxy():
    assert GEMINI.client_setup("http://h:1") == "export GOOGLE_GEMINI_BASE_URL=http://h:1"
