"""What a request may cost in tokens, before anyone knows: by the rule of `prices.estimate`."""

from __future__ import annotations

from ..prices import estimate

_BY_SCRIPT = estimate.by_script(None)
_MOST_OUTPUT = 1 << 24  # beyond it a number is no wish but a mistake

# Where each API takes the bound of its answer: chat, responses, messages; Gemini; Ollama.
_OUTPUT_KEYS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_OUTPUT_SECTIONS = {
    "generationConfig": "maxOutputTokens",
    "generation_config": "max_output_tokens",
    "options": "num_predict",
}
_CHOICES = (("n", None), ("candidateCount", "generationConfig"))


def input_tokens(body: object) -> int:
    """An estimate of what the text in a request's JSON comes to."""
    return estimate.input_tokens(body, _BY_SCRIPT)


def output_tokens(body: object, assumed: int) -> int:
    """The most a request lets its answer be, `assumed` where it does not say; for all choices."""
    if not isinstance(body, dict):
        return assumed
    return (_stated(body) or assumed) * _choices(body)


def _stated(body: dict[str, object]) -> int | None:
    for key in _OUTPUT_KEYS:
        if (stated := _count(body.get(key))) is not None:
            return stated
    for section, key in _OUTPUT_SECTIONS.items():
        inner = body.get(section)
        if isinstance(inner, dict) and (stated := _count(inner.get(key))) is not None:
            return stated
    return _count(body.get("num_predict"))


def _choices(body: dict[str, object]) -> int:
    for key, section in _CHOICES:
        where = body.get(section) if section else body
        if isinstance(where, dict) and (wanted := _count(where.get(key))) is not None:
            return min(wanted, 128)
    return 1


def _count(value: object) -> int | None:
    """A whole number above 0; Ollama's -1 and -2 are no bound."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_OUTPUT:
        return value
    return None
