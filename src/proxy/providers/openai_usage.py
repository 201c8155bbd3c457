"""Usage and errors as OpenAI writes them, and those who speak its formats.

openai-python: types/completion_usage.py, types/responses/response_usage.py,
types/create_embedding_response.py; prompt and input include the cached ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import ErrorInfo, Usage, read_error
from .reading import amount, count, mapping, text


def read_usage(raw: Mapping[str, object]) -> Usage | None:
    """Chat's and Responses' names alike; None if no figure is there.

    `cost` is OpenRouter's, in USD (https://openrouter.ai/docs/use-cases/usage-accounting);
    `prompt_cache_hit_tokens` is DeepSeek's (https://api-docs.deepseek.com/api/create-chat-completion).
    """
    if not raw:
        return None
    details_in = _details(raw, "prompt_tokens_details", "input_tokens_details")
    details_out = _details(raw, "completion_tokens_details", "output_tokens_details")
    cached = count(details_in.get("cached_tokens"))
    reasoning = count(details_out.get("reasoning_tokens"))
    tokens_in = _first(raw, "prompt_tokens", "input_tokens")
    return Usage(
        input_tokens=tokens_in,
        output_tokens=_with_reasoning(raw, tokens_in, reasoning),
        cache_read_tokens=count(raw.get("prompt_cache_hit_tokens")) if cached is None else cached,
        cache_write_tokens=count(details_in.get("cache_write_tokens")),
        reasoning_tokens=reasoning,
        raw=raw,
        cost_usd=amount(raw.get("cost")),
    )


def _with_reasoning(
    raw: Mapping[str, object], tokens_in: int | None, reasoning: int | None
) -> int | None:
    """xAI counts reasoning beside `completion_tokens`; its `total_tokens` tells."""
    tokens_out = _first(raw, "completion_tokens", "output_tokens")
    if tokens_in is None or tokens_out is None or not reasoning:
        return tokens_out
    beside = count(raw.get("total_tokens")) == tokens_in + tokens_out + reasoning
    return tokens_out + reasoning if beside else tokens_out


def _details(raw: Mapping[str, object], *names: str) -> Mapping[str, object]:
    return next((found for name in names if (found := mapping(raw.get(name)))), {})


def _first(raw: Mapping[str, object], *names: str) -> int | None:
    return next((number for name in names if (number := count(raw.get(name))) is not None), None)


def usage_of(body: Mapping[str, object]) -> Usage | None:
    """The usage of an unstreamed answer."""
    return read_usage(mapping(body.get("usage")))


def model_of(body: Mapping[str, object]) -> str | None:
    """The model an answer names."""
    return text(body.get("model"))


def no_finish_reasons(message: Mapping[str, object]) -> list[str]:
    """For answers that do not say why they stopped."""
    del message
    return []


def stream_error(chunk: Mapping[str, object]) -> ErrorInfo | None:
    """The error a chunk carries, `{"error": …}` or vLLM's `{"object": "error", …}`."""
    if chunk.get("error") or chunk.get("object") == "error":
        return read_error(chunk) or ErrorInfo(None, None)
    return None
