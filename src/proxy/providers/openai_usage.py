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

    `prompt_cache_hit_tokens` is DeepSeek's (https://api-docs.deepseek.com/api/create-chat-completion).
    """
    if not raw:
        return None
    cached = written = reasoning = apart = None
    if details := _details(raw, "prompt_tokens_details", "input_tokens_details"):
        cached = count(details.get("cached_tokens"))
        written = count(details.get("cache_write_tokens"))
        apart = _media("input", details, apart)
    elif details := mapping(raw.get("input_token_details")):  # transcriptions
        apart = _media("input", details, apart)
    if details := _details(raw, "completion_tokens_details", "output_tokens_details"):
        reasoning = count(details.get("reasoning_tokens"))
        apart = _media("output", details, apart)
    if cached is None and "prompt_cache_hit_tokens" in raw:
        cached = count(raw["prompt_cache_hit_tokens"])
    tokens_in = _first(raw, "prompt_tokens", "input_tokens")
    tokens_out = _first(raw, "completion_tokens", "output_tokens")
    if reasoning:
        tokens_out = _with_reasoning(raw, tokens_in, tokens_out, reasoning)
    cost = None
    if "cost" in raw or "cost_in_usd_ticks" in raw:
        cost = own_cost(raw)
    return Usage(tokens_in, tokens_out, cached, written, reasoning, raw, cost, apart)


_MEDIA = ("audio_tokens", "image_tokens")


def _media(
    side: str, details: Mapping[str, object], apart: dict[str, int] | None
) -> dict[str, int] | None:
    """Tokens that are no text, where the details tell of any."""
    for name in _MEDIA:
        if details.get(name) and (tokens := count(details[name])):
            apart = {} if apart is None else apart
            apart[f"{side}_{name.removesuffix('_tokens')}"] = tokens
    return apart


def own_cost(raw: Mapping[str, object]) -> float | None:
    """What the provider itself says that it charges, in US dollars.

    OpenRouter's `cost`; with a key of one's own (`is_byok`) that is its fee alone, and the rest is
    charged by the upstream: https://openrouter.ai/docs/use-cases/usage-accounting. Perplexity's
    `cost.total_cost`. xAI's ticks, 10^10 a dollar: https://docs.x.ai/developers/cost-tracking
    """
    cost = raw.get("cost")
    charged = amount(cost.get("total_cost") if isinstance(cost, dict) else cost)
    if charged is None:
        ticks = amount(raw.get("cost_in_usd_ticks"))
        return None if ticks is None else ticks / 1e10
    if raw.get("is_byok") is True:
        upstream = amount(mapping(raw.get("cost_details")).get("upstream_inference_cost"))
        return None if upstream is None else charged + upstream
    return charged


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
