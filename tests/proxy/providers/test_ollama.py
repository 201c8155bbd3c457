from __future__ import annotations

import json

import pytest

from src.proxy.providers import get_provider
from src.proxy.providers.base import ErrorInfo
from src.proxy.providers.ollama_lines import LineAssembler
from src.proxy.providers.openai_chat import ChatAssembler

from .streams import NDJSON, SSE

OLLAMA = get_provider("ollama")


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/api/chat", "chat"),
        ("POST", "/api/generate", "generate"),
        ("POST", "/api/embed", "embeddings"),
        ("POST", "/api/embeddings", "embeddings"),
        ("GET", "/api/tags", "models"),
        ("POST", "/api/show", "models"),
        ("POST", "/api/pull", "pull"),
        ("GET", "/api/version", "other"),
        ("POST", "/v1/chat/completions", "chat"),
        ("POST", "/v1/messages", "messages"),
        ("POST", "/v1/responses", "responses"),
        ("GET", "/v1/models", "models"),
        ("HEAD", "/", "other"),
    ],
)
def test_operation_by_path(method: str, path: str, operation: str):
    assert OLLAMA.operation(method, path) == operation


def test_own_api_streams_unless_told_not_to():
    assert OLLAMA.streams("/api/chat", "", {"model": "m"})
    assert OLLAMA.streams("/api/generate", "", None)
    assert not OLLAMA.streams("/api/chat", "", {"stream": False})
    assert not OLLAMA.streams("/api/embed", "", {})
    assert not OLLAMA.streams("/v1/chat/completions", "", {"model": "m"})


def test_chat_is_put_together_by_the_protocol_of_its_face():
    assert isinstance(OLLAMA.assembler("chat", NDJSON), LineAssembler)
    assert isinstance(OLLAMA.assembler("chat", SSE), ChatAssembler)
    assert OLLAMA.assembler("pull", NDJSON) is None
    assert OLLAMA.parser("pull", NDJSON) is not None


def test_usage_of_both_faces_is_read():
    own = OLLAMA.usage("chat", {"prompt_eval_count": 5, "eval_count": 6, "done": True})
    other = OLLAMA.usage("chat", {"usage": {"prompt_tokens": 7, "completion_tokens": 8}})
    assert (own.input_tokens, own.output_tokens) == (5, 6)
    assert (other.input_tokens, other.output_tokens) == (7, 8)
    assert OLLAMA.usage("chat", {"done": True}) is None


def test_embedding_counts_its_input():
    usage = OLLAMA.usage("embeddings", {"embeddings": [[0.1]], "prompt_eval_count": 8})
    assert (usage.input_tokens, usage.output_tokens) == (8, None)


def test_finish_reasons_of_both_faces_are_read():
    assert OLLAMA.finish_reasons("chat", {"done_reason": "stop"}) == ["stop"]
    choices = [{"finish_reason": "length"}]
    assert OLLAMA.finish_reasons("chat", {"choices": choices}) == ["length"]


def test_errors_are_plain_text():
    assert OLLAMA.error(404, {"error": "model not found"}) == ErrorInfo(None, "model not found")
    body = json.loads(OLLAMA.error_body(502, "upstream_connect_failed", "No", "01J"))
    assert body["error"] == "No"
    assert body["code"] == "upstream_connect_failed"


def test_client_is_pointed_at_the_proxy():
    assert OLLAMA.client_setup("http://h:1/") == "export OLLAMA_HOST=http://h:1"
