from __future__ import annotations

import json

import pytest

from src.proxy.providers import get_provider

from .streams import JSON, SSE

GENERIC = get_provider("generic")


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/v1/chat/completions", "chat"),
        ("POST", "/v1/messages", "messages"),
        ("POST", "/v1beta/models/g:streamGenerateContent", "stream_generate_content"),
        ("POST", "/api/generate", "generate"),
        ("GET", "/whatever/else", "other"),
        ("GET", "/", "other"),
        ("POST", "/v1/audio/speech:x", "other"),
    ],
)
def test_operation_by_path_of_any_face(method: str, path: str, operation: str):
    assert GENERIC.operation(method, path) == operation


def test_usage_is_read_by_the_face():
    assert GENERIC.usage("messages", {"usage": {"input_tokens": 3}}).input_tokens == 3
    counts = {"usageMetadata": {"promptTokenCount": 4}}
    assert GENERIC.usage("generate_content", counts).input_tokens == 4
    assert GENERIC.usage("other", {"usage": {"input_tokens": 3}}) is None


def test_model_is_read_from_body_or_path():
    assert GENERIC.request_model("/v1/chat/completions", {"model": "m"}) == "m"
    assert GENERIC.request_model("/v1beta/models/g:generateContent", {}) == "g"
    assert GENERIC.request_model("/x", None) is None


def test_streams_of_all_faces_are_put_together():
    assert GENERIC.streams("/v1beta/models/g:streamGenerateContent", "", {})
    assert GENERIC.assembler("stream_generate_content", JSON) is not None
    assert GENERIC.assembler("messages", SSE) is not None
    assert GENERIC.assembler("other", SSE) is None
    assert GENERIC.parser("other", SSE) is not None


def test_own_error_is_in_openai_s_shape():
    assert json.loads(GENERIC.error_body(502, "c", "m", "i"))["error"]["code"] == "c"


def test_nothing_is_known_of_its_address():
    assert GENERIC.default_base_url is None
    assert GENERIC.client_setup("http://h:1") == "export OPENAI_BASE_URL=http://h:1/v1"
