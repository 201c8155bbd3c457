from __future__ import annotations

import json

from anthropic.types import ErrorResponse

from src.proxy.providers import get_provider
from src.proxy.providers.base import ErrorInfo

ANTHROPIC = get_provider("anthropic")


def test_own_error_is_in_anthropic_s_shape():
    body = json.loads(ANTHROPIC.error_body(429, "rate_limited", "Slow down", "01J"))
    assert body["type"] == "error"
    assert body["error"] == {
        "type": "rate_limit_error",
        "message": "Slow down",
        "code": "rate_limited",
    }
    assert body["request_id"] == "01J"
    ErrorResponse.model_validate(body)


def test_overloaded_keeps_its_name():
    body = json.loads(ANTHROPIC.error_body(529, "x", "y", "z"))
    assert body["error"]["type"] == "overloaded_error"


def test_upstream_error_is_read():
    body = {
        "type": "error",
        "error": {"type": "not_found_error", "message": "No such model"},
        "request_id": "req_1",
    }
    assert ANTHROPIC.error(404, body) == ErrorInfo("not_found_error", "No such model")


def test_model_and_stop_reason_are_read():
    body = {"model": "claude-x", "stop_reason": "max_tokens"}
    assert ANTHROPIC.request_model("/v1/messages", {"model": "claude-x"}) == "claude-x"
    assert ANTHROPIC.response_model("messages", body) == "claude-x"
    assert ANTHROPIC.finish_reasons("messages", body) == ["max_tokens"]
    assert ANTHROPIC.finish_reasons("messages", {"stop_reason": None}) == []


def test_request_id_is_its_own_header():
    assert ANTHROPIC.request_id([(b"Request-Id", b"req_018EeWyXxfu5pfWkrYcMdjWG")]) == (
        "req_018EeWyXxfu5pfWkrYcMdjWG"
    )


def test_client_is_pointed_at_the_proxy_without_a_version():
    setup = ANTHROPIC.client_setup("http://127.0.0.1:3000/")
    assert setup == "export ANTHROPIC_BASE_URL=http://127.0.0.1:3000"
