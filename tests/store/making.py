"""Rows and texts for the store's tests."""

from __future__ import annotations

import random
from collections.abc import Iterator

from src.record.row import Row
from src.record.texts import Texts
from src.store.items import Put

START_US = 1_790_000_000_000_000
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NO_TEXTS = Texts("", "", "", "", "", "")


def make_row(number: int = 0, **values: object) -> Row:
    """A row, `number` seconds after START_US; anything can be said of it."""
    trace_id = f"{number:026d}"
    plain: dict[str, object] = {
        "id": trace_id,
        "received_us": START_US + number * 1_000_000,
        "file": f"2026-09-21/101112.000000Z_{trace_id}_openai_gpt-4o_200.json",
        "state": "complete",
        "provider": "openai",
        "model": "gpt-4o",
        "operation": "chat",
        "upstream": "openai",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "cause": "ok",
        "phase": "done",
        "error_type": None,
        "error_message": None,
        "duration_ms": 1000.0,
        "ttft_ms": 200.0,
        "overhead_ms": 0.3,
        "input_tokens": 100,
        "output_tokens": 10,
        "cache_read_tokens": 0,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
        "usage_source": "provider",
        "cost_usd": 0.001,
        "cost_source": "table",
        "session_id": None,
        "parent_id": None,
        "key_label": None,
        "key_fingerprint": None,
        "client_address": "127.0.0.1:40000",
        "user_agent": "OpenAI/Python 1.60",
        "streamed": True,
        "attempts": 1,
        "request_bytes": 1000,
        "response_bytes": 2000,
        "tags": (),
        "tools": (),
    }
    return Row(**{**plain, **values})  # type: ignore[arg-type]  # by name, as given


def make_texts(**said: str) -> Texts:
    return Texts(**{**dict.fromkeys(Texts._fields, ""), **said})


def put(number: int = 0, said: str = "", **values: object) -> Put:
    return Put(make_row(number, **values), make_texts(messages=said) if said else NO_TEXTS)


MODELS = ("gpt-4o", "GPT-4o-mini", "claude-sonnet-4", "claude-opus-4", "gemini-2.5-pro", None)
CAUSES = ("ok", "ok", "ok", "ok", "upstream_error", "client_disconnected")
ADDRESSES = (
    "127.0.0.1:40000",
    "127.0.0.1:40001",
    "127.0.0.12:4000",
    "[fe80::1A]:40000",
    "fe80:::5000",
    "10.1.2.3",
    None,
)
SAID = "the quick brown fox jumps over a lazy dog src main py foo bar naïve straße"
WORDS = SAID.split()


def many(count: int, seed: int = 1) -> Iterator[Put]:
    """All kinds of rows, unknown values among them."""
    rng = random.Random(seed)
    some = rng.random
    for number in range(count):
        cause = rng.choice(CAUSES)
        row = make_row(
            number,
            received_us=START_US + rng.randrange(30 * 86400) * 1_000_000,
            model=rng.choice(MODELS),
            status=200 if cause == "ok" else rng.choice((400, 429, 500, None)),
            cause=cause,
            path=rng.choice(("/v1/chat/completions", "/v1/models", "/v1/messages")),
            error_type=None if cause == "ok" else rng.choice(("overloaded_error", "Overloaded")),
            duration_ms=round(some() * 5000, 3) if some() > 0.1 else None,
            ttft_ms=round(some() * 2000, 3) if some() > 0.3 else None,
            input_tokens=rng.randrange(10_000) if some() > 0.2 else None,
            output_tokens=rng.randrange(1000) if some() > 0.2 else None,
            cost_usd=round(some() / 10, 6) if some() > 0.4 else None,
            session_id=rng.choice((None, "agent-1", "Agent_1", "agent%2")),
            key_label=rng.choice((None, "alice", "Alice", "bob")),
            client_address=rng.choice(ADDRESSES),
            streamed=some() > 0.5,
            tags=tuple({rng.choice(("a", "B", "team:x")) for _ in range(rng.randrange(3))}),
            tools=tuple({rng.choice(("Bash", "Read")) for _ in range(rng.randrange(2))}),
        )
        said = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(12)))
        texts = make_texts(messages=said, answer=" ".join(rng.choice(WORDS) for _ in range(3)))
        yield Put(row, texts)


def with_values(item: Put, **values: object) -> Put:
    """The same said, by another row."""
    return Put(item.row._replace(**values), Texts(*item.parts))  # type: ignore[arg-type]  # by name
