"""A month of a team's traffic as rows, the same ones each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate

from src.record.row import Row
from src.record.texts import Texts
from src.store.items import Put

_FIRST_US = 1_790_000_000_000_000
_DAYS = 31
_TOTAL = 1_000_000
_MODELS = [f"gpt-{n}" for n in ("4o", "4o-mini", "4.1", "5", "5-mini")]
_MODELS += [f"claude-{n}" for n in ("opus-4", "sonnet-4", "haiku-4")] + ["gemini-2.5-pro"]
_MODEL_WEIGHTS = list(accumulate((20, 15, 5, 5, 5, 15, 25, 5, 5)))
_KEYS = [f"key-{n:02}" for n in range(40)]
_AGENTS = [
    f"{name}/{n}" for name in ("OpenAI-Python", "claude-cli", "codex", "curl") for n in range(20)
]
_TOOLS = ["Bash", "Read", "Edit", "Grep", "Write"]
_WORDS = [f"w{n:05}" for n in range(20_000)]
_WORD_WEIGHTS = list(accumulate(1 / (n + 5) for n in range(20_000)))


def rows(first: int, last: int) -> Iterator[Put]:
    """Rows number `first` to `last`; each is made of its number alone."""
    for number in range(first, last):
        yield _row(number, random.Random(number))


def _row(number: int, rng: random.Random) -> Put:
    some = rng.random
    received = _FIRST_US + int((number + some()) * _DAYS * 86_400_000_000 / _TOTAL)
    (model,) = rng.choices(_MODELS, cum_weights=_MODEL_WEIGHTS)
    if 300_000 < number < 330_000:
        model = "retired-1"
    provider = {"g": "openai", "c": "anthropic", "r": "openai"}[model[0]]
    provider = "gemini" if model.startswith("gemini") else provider
    failed = some() < 0.04
    cause = rng.choice(("upstream_error", "client_disconnected", "timeout")) if failed else "ok"
    error = cause == "upstream_error"
    status = rng.choice((400, 429, 500, 529)) if error else (None if some() < 0.001 else 200)
    session = rng.randrange(number // 60 + 1) if some() < 0.3 else number // 60
    duration = rng.lognormvariate(7.5, 1.2)
    tokens = int(rng.lognormvariate(9, 1.3))
    trace_id = f"{number:026d}"
    row = Row(
        id=trace_id,
        received_us=received,
        file=f"2026-10-01/101112.123456Z_{trace_id}_{provider}_{model}_{status or 'ERR'}.json",
        state="recovered" if some() < 0.0002 else "complete",
        provider=provider,
        model=model,
        operation="embeddings" if some() < 0.02 else "chat",
        upstream="backup" if some() < 0.001 else "main",
        method="GET" if some() < 0.01 else "POST",
        path="/v1/models" if some() < 0.01 else "/v1/chat/completions",
        status=status,
        cause=cause,
        phase="connect" if some() < 0.0005 else "done",
        error_type="overloaded_error" if error else None,
        error_message="Overloaded" if error else None,
        duration_ms=round(duration, 3),
        ttft_ms=round(duration * some() / 3, 3) if some() < 0.8 else None,
        overhead_ms=round(rng.expovariate(2), 3),
        input_tokens=tokens,
        output_tokens=int(rng.lognormvariate(5, 1.5)),
        cache_read_tokens=int(tokens * 0.9) if some() < 0.6 else 0,
        cache_write_tokens=None,
        reasoning_tokens=int(rng.lognormvariate(5, 1.2)) if some() < 0.2 else None,
        usage_source="provider",
        cost_usd=round(tokens * 3e-6, 6),
        cost_source="table",
        session_id=f"sess-{session:05}",
        parent_id=f"{number - 1:026d}" if some() < 0.8 else None,
        key_label=rng.choice(_KEYS),
        key_fingerprint="01234567",
        client_address=f"10.0.{rng.randrange(16)}.{rng.randrange(250)}:{30_000 + number % 30_000}",
        user_agent=rng.choice(_AGENTS),
        streamed=some() < 0.8,
        attempts=2 if some() < 0.01 else 1,
        request_bytes=tokens * 4,
        response_bytes=2000,
        tags=("team:blue",) if some() < 0.1 else (),
        tools=("RareTool",) if some() < 0.0003 else tuple({rng.choice(_TOOLS) for _ in range(2)}),
    )
    said = rng.choices(_WORDS, cum_weights=_WORD_WEIGHTS, k=40)
    if some() < 0.00001:
        said.append("needle")
    messages, results, answer = (" ".join(said[at : at + 25]) for at in (0, 25, 32))
    texts = Texts("", "the " + messages, "", results, "", answer)
    return Put(row, texts)
