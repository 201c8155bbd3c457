"""What an exchange used and cost: the provider's own figures, completed and priced.

told ──▶ what is missing of input and output, estimated ──▶ tokens ──▶ cost
                                          prices, or the provider's own sum ─┘
"""

from __future__ import annotations

from dataclasses import replace

from ..prices import encodings, own
from ..prices.estimate import input_tokens, output_tokens
from ..prices.rates import Tokens, cost
from ..prices.table import Asked, Priced, Prices
from ..proxy.providers.reading import mapping, text
from ..proxy.providers.values import Usage
from .findings import Findings

# Whose answers are texts. What pictures and sound come to, no rule can tell.
_TEXTS = frozenset(
    {
        "chat",
        "responses",
        "compact",
        "completions",
        "messages",
        "complete",
        "generate",
        "generate_content",
        "stream_generate_content",
    }
)
_NO_OUTPUT = frozenset({"embeddings", "embed_content", "batch_embed_contents"})


def complete_usage(found: Findings) -> bool:
    """Fill what the provider has not told with an estimate; True if anything was estimated.

    Only of requests that were sent and answered at least in part, and whose texts are all there:
    the input from the request, the output from what was delivered. Hot where nothing is missing.
    """
    usage, operation = found.usage, found.route.operation
    texts = operation in _TEXTS
    if usage is not None and usage.input_tokens is not None:
        told_all = usage.output_tokens is not None or not texts
        if told_all:
            return False
    if not (texts or operation in _NO_OUTPUT) or not _answered(found):
        return False
    told = usage or Usage()
    estimated = _estimated(found, told, texts=texts)
    if estimated == told:
        return False
    found.usage = estimated
    return True


def _estimated(found: Findings, told: Usage, *, texts: bool) -> Usage:
    count = encodings.counter(found.answered_model or found.asked_model)
    tokens_in, tokens_out, asked = told.input_tokens, told.output_tokens, found.question.parsed
    if tokens_in is None and asked is not None and found.question.truncated is None:
        tokens_in = input_tokens(asked, count)
    if tokens_out is None and texts and _whole(found):
        tokens_out = output_tokens(_answer(found), count)
    return replace(told, input_tokens=tokens_in, output_tokens=tokens_out)


def _answered(found: Findings) -> bool:
    """The upstream took the request and something of an answer came."""
    finished, status, stream = found.recorded.finished, found.status, found.stream
    if status is None or status >= 300 or (finished is not None and finished.forwarded is None):
        return False
    if stream is None:
        return found.answer is not None and found.answer.parsed is not None
    if stream.assembler is None:
        return False
    failed = stream.assembler.error is not None
    return stream.assembler.model_output or (found.usage is not None and not failed)


def _whole(found: Findings) -> bool:
    """All that was delivered is here to be counted."""
    cut = found.answer is not None and found.answer.truncated is not None
    return not cut and not (found.stream is not None and found.stream.overflowed)


def _answer(found: Findings) -> object | None:
    if found.stream is not None:
        return found.message
    return found.answer.parsed if found.answer is not None else None


def cost_of(found: Findings, prices: Prices) -> dict[str, object] | None:
    """The document's `cost`; None: unknown. Own prices before the provider's sum before the
    library's. Hot: 5 µs."""
    usage = found.usage
    if usage is None or not found.route.inference:
        return None
    told = usage.cost_usd
    if told is None:
        return _priced(found, usage, prices.find(_asked(found, usage)))
    if prices.own:
        priced = prices.find(_asked(found, usage))
        if priced is not None and priced.version == own.VERSION:
            return _priced(found, usage, priced)
    return _told(told)


def _priced(found: Findings, usage: Usage, priced: Priced | None) -> dict[str, object] | None:
    if priced is None:
        return None
    output = usage.output_tokens
    if output is None and found.route.operation in _NO_OUTPUT:
        output = 0
    tokens = Tokens(
        usage.input_tokens,
        output,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.apart,
    )
    spent = cost(priced.at(found.recorded.opened.received_ns // 1_000_000_000), tokens)
    if spent is None:
        return None
    return {
        "usd": spent.usd,
        "input_usd": spent.input,
        "output_usd": spent.output,
        "cache_read_usd": spent.cache_read,
        "cache_write_usd": spent.cache_write,
        "source": "table",
        "table_version": priced.version,
    }


def _asked(found: Findings, usage: Usage) -> Asked:
    """The model that answered is charged, not what it was asked for by: that may be an alias, and
    is a deployment's name at Azure, which says nothing of its model."""
    route, answered, asked = found.route, found.answered_model, found.asked_model
    names = tuple(dict.fromkeys(name for name in (answered, asked) if name))
    known = len(names) if route.kind != "azure" else int(answered is not None)
    answer, raw = mapping(_answer(found)), mapping(usage.raw)
    tier = text(answer.get("service_tier")) or text(raw.get("serviceTier")) or ""
    speed = text(raw.get("speed")) or ""
    upstream, base_url = route.name or "", route.base_url or ""
    return Asked(route.kind, upstream, base_url, names, known, tier.lower(), speed)


def _told(usd: float) -> dict[str, object]:
    return {
        "usd": usd,
        "input_usd": None,
        "output_usd": None,
        "cache_read_usd": None,
        "cache_write_usd": None,
        "source": "provider",
        "table_version": None,
    }
