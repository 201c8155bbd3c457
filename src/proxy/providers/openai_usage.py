"""Usage and errors as OpenAI writes them, and those who speak its formats.

openai-python: types/completion_usage.py, types/responses/response_usage.py,
types/create_embedding_response.py; prompt and input include the cached ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import ErrorInfo, Usage, read_error
from .reading import amount, count, mapping, text


def read_usage(raw: Mapping[str, object]) -> Usage | None:
    """Chat's and Responses' names alike; None if no figure is there. Hot: once per answer.

    `cost` is OpenRouter's, in USD (https://openrouter.ai/docs/use-cases/usage-accounting);
    `prompt_cache_hit_tokens` is DeepSeek's (https://api-docs.deepseek.com/api/create-chat-completion).
    """
    if not raw:
        return None
    cached = written = reasoning = None
    if details := _details(raw, "prompt_tokens_details", "input_tokens_details"):
        cached = count(details.get("cached_tokens"))
        written = count(details.get("cache_write_tokens"))
    if details := _details(raw, "completion_tokens_details", "output_tokens_details"):
        reasoning = count(details.get("reasoning_tokens"))
    if cached is None and "prompt_cache_hit_tokens" in raw:
        cached = count(raw["prompt_cache_hit_tokens"])
    tokens_in = _first(raw, "prompt_tokens", "input_tokens")
    tokens_out = _first(raw, "completion_tokens", "output_tokens")
    if reasoning:
        tokens_out = _with_reasoning(raw, tokens_in, tokens_out, reasoning)
    cost = amount(raw["cost"]) if "cost" in raw else None
    return Usage(tokens_in, tokens_out, cached, written, reasoning, raw, cost)


def _with_reasoning(
    raw: Mapping[str, object], tokens_in: int | None, tokens_out: int | None, reasoning: int
) -> int | None:
    """xAI counts reasoning beside `completion_tokens`; its `total_tokens` tells."""
    if tokens_in is None or tokens_out is None:
        return tokens_out
    beside = count(raw.get("total_tokens")) == tokens_in + tokens_out + reasoning
    return tokens_out + reasoning if beside else tokens_out


def _details(raw: Mapping[str, object], name: str, other: str) -> Mapping[str, object]:
    found = raw.get(name)
    return found if isinstance(found, dict) and found else mapping(raw.get(other))


def _first(raw: Mapping[str, object], name: str, other: str) -> int | None:
    """Of two names for a number the first that tells one."""
    number = count(raw.get(name))
    return count(raw.get(other)) if number is None else number


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
