"""OpenTelemetry GenAI attributes of a trace: the names of semantic conventions 1.41.1.

https://github.com/open-telemetry/semantic-conventions/blob/v1.41.1/docs/registry/attributes/gen-ai.md
"""

from __future__ import annotations

from collections.abc import Mapping

from ..proxy.providers.values import Usage

# Our operation names and provider types where the conventions have well-known values of their own.
_OPERATIONS = {
    "chat": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "generate": "text_completion",
    "embeddings": "embeddings",
    "embed": "embeddings",
    "embed_content": "embeddings",
    "batch_embed_contents": "embeddings",
    "generate_content": "generate_content",
    "stream_generate_content": "generate_content",
}
_PROVIDERS = {"gemini": "gcp.gemini", "azure": "azure.ai.openai"}

# Attribute, and the request fields it may come from: (in the body, in Gemini's generationConfig).
_PARAMETERS = (
    ("gen_ai.request.max_tokens", ("max_completion_tokens", "max_tokens", "max_output_tokens")),
    ("gen_ai.request.temperature", ("temperature",)),
    ("gen_ai.request.top_p", ("top_p", "topP")),
    ("gen_ai.request.top_k", ("top_k", "topK")),
    ("gen_ai.request.frequency_penalty", ("frequency_penalty", "frequencyPenalty")),
    ("gen_ai.request.presence_penalty", ("presence_penalty", "presencePenalty")),
    ("gen_ai.request.seed", ("seed",)),
    ("gen_ai.request.choice.count", ("n", "candidateCount")),
    ("gen_ai.request.max_tokens", ("maxOutputTokens", "num_predict")),
)
# Each field with its attribute: one pass over what the body holds, not over what it might.
_BY_FIELD = {field: name for name, fields in _PARAMETERS for field in fields}
_NUMBERS = (int, float)
_NESTED = ("generationConfig", "options")
_STOP_FIELDS = ("stop", "stop_sequences", "stopSequences")
_STOPS = frozenset(_STOP_FIELDS)


def attributes(
    provider: str,
    operation: str,
    inference: bool,
    request: object | None,
    request_model: str | None,
    streamed: bool,
) -> dict[str, object]:
    """What is known from the request."""
    found: dict[str, object] = {
        "gen_ai.operation.name": _OPERATIONS.get(operation, operation),
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
    }
    if request_model is not None:
        found["gen_ai.request.model"] = request_model
    if not inference or not isinstance(request, dict):
        return found
    _parameters(found, request)
    for name in _NESTED:
        nested = request.get(name)
        if isinstance(nested, dict):
            _parameters(found, nested)
    if streamed:
        found["gen_ai.request.stream"] = True
    return found


def _parameters(found: dict[str, object], fields: Mapping[str, object]) -> None:
    for field, value in fields.items():
        name = _BY_FIELD.get(field)
        if name is not None and type(value) in _NUMBERS:
            found[name] = value
    if _STOPS.isdisjoint(fields):
        return
    for field in _STOP_FIELDS:
        stop = fields.get(field)
        if isinstance(stop, str):
            found["gen_ai.request.stop_sequences"] = [stop]
        elif isinstance(stop, list) and stop:
            found["gen_ai.request.stop_sequences"] = stop


def add_response(
    found: dict[str, object],
    answer: object | None,
    model: str | None,
    finish_reasons: list[str],
    usage: Usage | None,
    first_token_ms: float | None,
    error: Mapping[str, object] | None,
) -> None:
    """Add what is known from the answer; `answer` is the (assembled) object."""
    if isinstance(answer, dict) and isinstance(answer.get("id"), str):
        found["gen_ai.response.id"] = answer["id"]
    if model is not None:
        found["gen_ai.response.model"] = model
    if finish_reasons:
        found["gen_ai.response.finish_reasons"] = finish_reasons
    if first_token_ms is not None:
        found["gen_ai.response.time_to_first_chunk"] = round(first_token_ms / 1000, 6)
    if usage is not None:
        _add_usage(found, usage)
    if error is not None:
        found["error.type"] = error["type"] or str(error["status"])


def _add_usage(found: dict[str, object], usage: Usage) -> None:
    if usage.input_tokens is not None:
        found["gen_ai.usage.input_tokens"] = usage.input_tokens
    if usage.output_tokens is not None:
        found["gen_ai.usage.output_tokens"] = usage.output_tokens
    if usage.cache_read_tokens is not None:
        found["gen_ai.usage.cache_read.input_tokens"] = usage.cache_read_tokens
    if usage.cache_write_tokens is not None:
        found["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_write_tokens
    if usage.reasoning_tokens is not None:
        found["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
