"""No shape of JSON, however strange, makes a provider raise."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.proxy.providers import PROVIDER_TYPES, get_provider
from src.proxy.providers.base import StreamEvent

CASES = [
    (name, operation, protocol)
    for name in PROVIDER_TYPES
    for operation, answer in get_provider(name).formats.items()
    for protocol in answer.assemblers
]
STREAMED = sorted(
    {(get_provider(n).formats[o].assemblers[p]).__name__: (n, o, p) for n, o, p in CASES}.values()
)

# Every key that means something to one of them, so that random objects reach deep.
KEYS = st.sampled_from(
    [
        "type",
        "event",
        "index",
        "delta",
        "choices",
        "usage",
        "error",
        "id",
        "name",
        "model",
        "message",
        "content",
        "text",
        "role",
        "finish_reason",
        "logprobs",
        "tool_calls",
        "function",
        "arguments",
        "custom",
        "audio",
        "data",
        "transcript",
        "reasoning_details",
        "annotations",
        "function_call",
        "response",
        "output",
        "item",
        "output_index",
        "content_index",
        "summary_index",
        "item_id",
        "part",
        "annotation",
        "command_index",
        "partial_image_b64",
        "content_block",
        "partial_json",
        "thinking",
        "citation",
        "signature",
        "input",
        "candidates",
        "parts",
        "thoughtSignature",
        "thought",
        "usageMetadata",
        "promptFeedback",
        "blockReason",
        "citationMetadata",
        "logprobsResult",
        "finishReason",
        "done",
        "thinking",
        "response",
        "tool_calls",
        "prompt_eval_count",
        "input_tokens",
        "prompt_tokens",
        "code",
        "status",
        "incomplete_details",
        "to",
        "from",
        "cache_creation",
        "prompt_tokens_details",
        "object",
        "detail",
    ]
)
TYPES = st.sampled_from(
    [
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "error",
        "text_delta",
        "input_json_delta",
        "citations_delta",
        "response.created",
        "response.completed",
        "response.failed",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.function_call_arguments.delta",
        "response.shell_call_command.delta",
        "response.content_part.added",
        "response.output_text.annotation.added",
        "response.web_search_call.searching",
        "response.image_generation_call.partial_image",
        "image_generation.completed",
        "transcript.text.delta",
        "reasoning.text",
        "reasoning.encrypted",
        "tool_use",
        "text",
        "message",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.floats()
    | st.text(max_size=3)
    | TYPES
    | st.sampled_from([10**30, "\ud800", "{", "[]"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
BODIES = st.builds(lambda kind, rest: {"type": kind, **rest}, TYPES, st.dictionaries(KEYS, JSON))
EVENTS = st.lists(BODIES | st.dictionaries(KEYS, JSON) | JSON, max_size=6)


@pytest.mark.parametrize(("name", "operation", "protocol"), STREAMED)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies=EVENTS)
def test_assembler_ignores_what_it_does_not_know(
    name: str, operation: str, protocol: str, bodies: list[object]
):
    assembler = get_provider(name).formats[operation].assemblers[protocol]()
    for body in bodies:
        data = json.dumps(body).encode()
        assembler.feed(StreamEvent(data, b"", data, True))
        assembler.message()
    assert isinstance(assembler.terminal, bool)
    assert isinstance(assembler.model, str | None)
    assembler.usage  # noqa: B018 - reading it must not raise
    message = assembler.message()
    get_provider(name).finish_reasons(operation, message)
    json.dumps(message)


@pytest.mark.parametrize("name", PROVIDER_TYPES)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES | JSON)
def test_answers_and_requests_of_any_shape_are_read(name: str, body: object):
    provider = get_provider(name)
    for operation in [*provider.formats, "other"]:
        provider.usage(operation, body)
        provider.response_model(operation, body)
        assert all(isinstance(r, str) for r in provider.finish_reasons(operation, body))
    provider.error(500, body)
    provider.streams("/v1/x", "", body)
    assert isinstance(provider.request_model("/v1/x", body), str | None)


@pytest.mark.parametrize("name", PROVIDER_TYPES)
@settings(max_examples=100, deadline=None)
@given(path=st.text(max_size=30), query=st.binary(max_size=30), key=st.text(min_size=1))
def test_paths_and_queries_of_any_shape_are_read(name: str, path: str, query: bytes, key: str):
    provider = get_provider(name)
    assert provider.operation("POST", path)
    provider.request_model(path, None)
    provider.sign([(b"\xff", b"\x00")], query, key)


@pytest.mark.parametrize(("name", "operation", "protocol"), STREAMED)
def test_deep_nesting_is_no_problem(name: str, operation: str, protocol: str):
    assembler = get_provider(name).formats[operation].assemblers[protocol]()
    deep = b'{"a":' * 1000 + b"1" + b"}" * 1000
    for template in (b"%s", b'{"x":%s}', b'{"choices":[{"delta":{"y":%s}}],"x":%s}'):
        data = template.replace(b"%s", deep)
        for _ in range(2):
            assembler.feed(StreamEvent(data, b"", data, True))
    assembler.message()


@pytest.mark.parametrize(("name", "operation", "protocol"), STREAMED)
@given(data=st.binary(max_size=40))
def test_bytes_that_are_no_json_are_ignored(name: str, operation: str, protocol: str, data: bytes):
    assembler = get_provider(name).formats[operation].assemblers[protocol]()
    assembler.feed(StreamEvent(data, b"", data, True))
    assembler.feed(StreamEvent(data, b"", b"{" + data, True))
