from __future__ import annotations

import json

import pytest

from src.proxy.providers import get_provider
from src.proxy.providers.base import ErrorInfo

from .streams import SSE, assembled, assert_same_however_cut, parsed, sse

OPENROUTER = get_provider("openrouter")
HEAD = {
    "id": "gen-1750000000-abc",
    "provider": "Anthropic",
    "model": "anthropic/claude-sonnet-4",
    "object": "chat.completion.chunk",
    "created": 1750000000,
}


def chunk(delta: object, finish: str | None = None, **extra: object) -> object:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "native_finish_reason": finish}
    return {**HEAD, "choices": [choice], **extra}


COMMENT = b": OPENROUTER PROCESSING\n\n"
USAGE = {
    "prompt_tokens": 194,
    "completion_tokens": 2,
    "total_tokens": 196,
    "cost": 0.00095,
    "is_byok": False,
    "cost_details": {"upstream_inference_cost": None},
    "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
STREAM = (
    COMMENT * 2
    + sse(chunk({"role": "assistant", "content": "", "reasoning": "Hm"}))
    + COMMENT
    + sse(chunk({"role": "assistant", "content": "Hi"}))
    + sse(chunk({"role": "assistant", "content": ""}, "stop"))
    + sse({**HEAD, "choices": [{"index": 0, "delta": {"content": ""}}], "usage": USAGE}, done=True)
)


def test_comments_are_kept_as_events_and_not_read():
    events = parsed(OPENROUTER.parser("chat", SSE), [STREAM])
    assert sum(event.raw == COMMENT for event in events) == 3
    assert all(event.complete for event in events)
    assert assembled("openrouter", "chat", STREAM).error is None


def test_message_keeps_what_openrouter_adds():
    answer = assembled("openrouter", "chat", STREAM).message()
    assert answer["provider"] == "Anthropic"
    assert answer["choices"][0]["native_finish_reason"] == "stop"
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hi",
        "reasoning": "Hm",
    }


def test_cost_is_the_provider_s_own_figure():
    usage = assembled("openrouter", "chat", STREAM).usage
    assert usage.cost_usd == 0.00095
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (10, 100)
    assert OPENROUTER.usage("chat", {"usage": USAGE}).cost_usd == 0.00095


def test_stream_reads_the_same_however_it_is_cut():
    assert_same_however_cut("openrouter", "chat", STREAM)


def test_error_half_way_is_read():
    error = {"code": "server_error", "message": "Provider disconnected"}
    stream = sse(chunk({"content": "Hi"}), chunk({"content": ""}, "error", error=error))
    assembler = assembled("openrouter", "chat", stream)
    assert assembler.error == ErrorInfo(None, "Provider disconnected", "server_error")
    assert assembler.message()["choices"][0]["finish_reason"] == "error"


def test_error_has_a_number_as_code():
    body = {"error": {"code": 402, "message": "Insufficient credits", "metadata": {}}}
    assert OPENROUTER.error(402, body) == ErrorInfo(None, "Insufficient credits", "402")
    own = json.loads(OPENROUTER.error_body(502, "upstream_closed", "Gone", "01J"))
    assert own["error"]["code"] == 502
    assert own["error"]["metadata"] == {"reason": "upstream_closed", "request_id": "01J"}


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/v1/chat/completions", "chat"),
        ("POST", "/api/v1/responses", "responses"),
        ("POST", "/v1/messages", "messages"),
        ("GET", "/v1/models", "models"),
        ("GET", "/v1/credits", "other"),
    ],
)
def test_operation_by_path(method: str, path: str, operation: str):
    assert OPENROUTER.operation(method, path) == operation


def test_anthropic_face_is_read_as_messages():
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}}
    assembler = assembled("openrouter", "messages", sse(start, {"type": "message_stop"}))
    assert assembler.terminal
    usage = {"input_tokens": 1, "output_tokens": 2, "cost": 0.5}
    assert OPENROUTER.usage("messages", {"usage": usage}).cost_usd == 0.5


def test_generation_id_is_the_request_id():
    assert OPENROUTER.request_id([(b"X-Generation-Id", b"gen-1")]) == "gen-1"
