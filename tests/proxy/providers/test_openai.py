from __future__ import annotations

import json

from src.proxy.providers import get_provider

OPENAI = get_provider("openai")


def test_own_error_is_in_openai_s_shape():
    body = json.loads(OPENAI.error_body(429, "rate_limited", "Slow ✋", "01J"))
    assert body["error"] == {
        "message": "Slow ✋",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limited",
    }
    assert body["request_id"] == "01J"


def test_stream_is_asked_for_in_the_body_or_the_query():
    assert OPENAI.streams("/v1/chat/completions", "", {"stream": True})
    assert not OPENAI.streams("/v1/chat/completions", "", {"stream": "yes"})
    assert not OPENAI.streams("/v1/chat/completions", "", None)
    assert OPENAI.streams("/v1/responses/resp_1", "stream=true&starting_after=3", None)


def test_models_are_read():
    assert OPENAI.request_model("/v1/chat/completions", {"model": "gpt-4o"}) == "gpt-4o"
    assert OPENAI.request_model("/v1/chat/completions", {"model": 3}) is None
    assert OPENAI.response_model("chat", {"model": "gpt-4o-2024-08-06"}) == "gpt-4o-2024-08-06"
    assert OPENAI.response_model("models", {"model": "x"}) is None


def test_finish_reasons_are_those_of_the_choices_or_the_status():
    choices = [{"finish_reason": "stop"}, {"finish_reason": None}, {"finish_reason": "length"}]
    assert OPENAI.finish_reasons("chat", {"choices": choices}) == ["stop", "length"]
    assert OPENAI.finish_reasons("responses", {"status": "completed"}) == ["completed"]
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert OPENAI.finish_reasons("responses", cut) == ["max_output_tokens"]
    assert OPENAI.finish_reasons("embeddings", {}) == []


def test_request_id_is_its_own_header():
    assert OPENAI.request_id([(b"X-Request-ID", b"req_1"), (b"Date", b"x")]) == "req_1"
    assert OPENAI.request_id([]) is None


def test_client_is_pointed_at_the_proxy():
    assert OPENAI.client_setup("http://h:1/team") == "export OPENAI_BASE_URL=http://h:1/team/v1"
