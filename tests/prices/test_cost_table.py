"""Usage and cost of recorded answers, against the provider's own figures and a table by hand.

The prices are those that the providers published on 2026-11-21, written out here in dollars per
million tokens; sums are Decimal. When a price changes upstream, a new release of the price library
makes a line of this table wrong: then it is looked up again, not copied from the library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from src.proxy.providers.base import dumps
from tests.proxy.providers.streams import sse
from tests.tracing.building import build

GPT_4O = {"input": "2.50", "cached": "1.25", "output": "10.00"}
GPT_5 = {"input": "1.25", "cached": "0.125", "output": "10.00"}
GPT_5_PRIORITY = {"input": "2.50", "cached": "0.25", "output": "20.00"}
INSTRUCT = {"input": "1.50", "output": "2.00"}
EMBEDDING_3_SMALL = {"input": "0.02"}
SONNET_4_5 = {"input": "3", "read": "0.30", "write": "3.75", "write_1h": "6", "output": "15"}
SONNET_4_5_LONG = {
    "input": "6",
    "read": "0.60",
    "write": "7.50",
    "write_1h": "12",
    "output": "22.50",
}
PRO_2_5 = {"input": "1.25", "cached": "0.125", "output": "10"}
PRO_2_5_LONG = {"input": "2.50", "cached": "0.25", "output": "15"}
FLASH_2_5 = {"input": "0.30", "cached": "0.03", "output": "2.50", "audio": "1.00"}
FLASH_IMAGE = {"input": "0.30", "output": "2.50", "image": "30"}
SEARCH = Decimal(10) / 1000


@dataclass
class Case:
    """`tokens` in the order of the trace's usage; `spent`: tokens by the price they cost."""

    kind: str
    target: bytes
    answer: object
    tokens: tuple[int | None, ...]
    prices: dict[str, str] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    pieces: Decimal = Decimal(0)
    content_type: bytes = b"application/json"
    request: dict = field(default_factory=lambda: {"model": "alias"})

    def usd(self) -> float:
        dollars = (Decimal(self.prices[kind]) * n / 1_000_000 for kind, n in self.spent.items())
        return float(sum(dollars, self.pieces))


SSE = b"text/event-stream"
CHAT, RESPONSES, MESSAGES = b"/v1/chat/completions", b"/v1/responses", b"/v1/messages"
GEMINI = b"/v1beta/models/gemini-2.5-pro:generateContent"


def chat(model: str, usage: dict, **more: object) -> dict:
    message = {"role": "assistant", "content": "Hi."}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"object": "chat.completion", "model": model, "choices": choices, "usage": usage, **more}


def chunks(model: str, *usages: dict | None, **more: object) -> bytes:
    delta = {"index": 0, "delta": {"role": "assistant", "content": "Hi."}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    head = {"object": "chat.completion.chunk", "model": model}
    pieces: list[dict] = [{**head, "choices": [delta], "usage": None}, {**head, "choices": [end]}]
    pieces += [{**head, "choices": [], "usage": usage, **more} for usage in usages]
    return sse(*pieces, done=True)


def response(model: str, usage: dict | None, **more: object) -> dict:
    text = {"type": "output_text", "text": "Hi.", "annotations": []}
    output = [{"type": "message", "role": "assistant", "content": [text]}]
    return {"object": "response", "model": model, "output": output, "usage": usage, **more}


def message(usage: dict, **more: object) -> dict:
    content = [{"type": "text", "text": "Hi."}]
    model = "claude-sonnet-4-5-20250929"
    return {"type": "message", "role": "assistant", "model": model, "content": content} | {
        "usage": usage,
        **more,
    }


def message_stream(first: dict, last: dict) -> bytes:
    start = {**message(first), "content": [], "stop_reason": None}
    block = {"type": "content_block_start", "index": 0}
    delta = {"type": "text_delta", "text": "Hi."}
    return sse(
        {"type": "message_start", "message": start},
        {**block, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last},
        {"type": "message_stop"},
    )


def content(usage: dict, model: str = "gemini-2.5-pro", **more: object) -> dict:
    parts = {"role": "model", "parts": [{"text": "Hi."}]}
    candidate = {"content": parts, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, **more}


CHAT_USAGE = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
REASONED = {
    "prompt_tokens": 75,
    "completion_tokens": 1186,
    "total_tokens": 1261,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 1024},
}
RESPONSE_USAGE = {
    "input_tokens": 3280,
    "input_tokens_details": {"cached_tokens": 3072},
    "output_tokens": 520,
    "output_tokens_details": {"reasoning_tokens": 448},
    "total_tokens": 3800,
}
BY_AGE = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 5000,
    "cache_read_input_tokens": 88_086,
    "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 3000},
    "output_tokens": 393,
    "service_tier": "standard",
}
SEARCHED = {"input_tokens": 105, "output_tokens": 50, "server_tool_use": {"web_search_requests": 2}}
THOUGHT = {
    "promptTokenCount": 4000,
    "cachedContentTokenCount": 1000,
    "candidatesTokenCount": 150,
    "thoughtsTokenCount": 850,
    "totalTokenCount": 5000,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4000}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
}
HEARD = {
    "promptTokenCount": 1500,
    "cachedContentTokenCount": 500,
    "candidatesTokenCount": 100,
    "toolUsePromptTokenCount": 40,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 1200},
        {"modality": "AUDIO", "tokenCount": 300},
    ],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 500}],
}
DRAWN = {
    "promptTokenCount": 10,
    "candidatesTokenCount": 1300,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
}
OPENROUTER = {
    "prompt_tokens": 194,
    "completion_tokens": 2,
    "total_tokens": 196,
    "cost": 0.00095,
    "is_byok": False,
    "cost_details": {"upstream_inference_cost": 0.00095},
    "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 0},
}

CASES = {
    "openai chat, cached": Case(
        "openai", CHAT, chat("gpt-4o-2024-08-06", CHAT_USAGE), (2006, 300, 1920, None, 0),
        GPT_4O, {"input": 86, "cached": 1920, "output": 300},
    ),
    "openai chat, reasoning is inside the output": Case(
        "openai", CHAT, chat("gpt-5-2025-08-07", REASONED), (75, 1186, 0, None, 1024),
        GPT_5, {"input": 75, "output": 1186},
    ),
    "openai chat, served with priority": Case(
        "openai", CHAT, chat("gpt-5-2025-08-07", REASONED, service_tier="priority"),
        (75, 1186, 0, None, 1024), GPT_5_PRIORITY, {"input": 75, "output": 1186},
    ),
    "openai chat, streamed with include_usage": Case(
        "openai", CHAT, chunks("gpt-4o-2024-08-06", CHAT_USAGE), (2006, 300, 1920, None, 0),
        GPT_4O, {"input": 86, "cached": 1920, "output": 300}, content_type=SSE,
    ),
    "openai responses": Case(
        "openai", RESPONSES, response("gpt-5-2025-08-07", RESPONSE_USAGE),
        (3280, 520, 3072, None, 448), GPT_5, {"input": 208, "cached": 3072, "output": 520},
    ),
    "openai responses, streamed": Case(
        "openai", RESPONSES,
        sse(
            {"type": "response.created", "response": response("gpt-5-2025-08-07", None)},
            {"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
             "delta": "Hi."},
            {"type": "response.completed",
             "response": response("gpt-5-2025-08-07", RESPONSE_USAGE)},
        ),
        (3280, 520, 3072, None, 448), GPT_5, {"input": 208, "cached": 3072, "output": 520},
        content_type=SSE,
    ),
    "openai completions": Case(
        "openai", b"/v1/completions",
        {"object": "text_completion", "model": "gpt-3.5-turbo-instruct",
         "choices": [{"text": "Hi.", "index": 0, "finish_reason": "stop"}],
         "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}},
        (5, 7, None, None, None), INSTRUCT, {"input": 5, "output": 7},
    ),
    "openai embeddings": Case(
        "openai", b"/v1/embeddings",
        {"object": "list", "model": "text-embedding-3-small", "data": [],
         "usage": {"prompt_tokens": 8000, "total_tokens": 8000}},
        (8000, None, None, None, None), EMBEDDING_3_SMALL, {"input": 8000},
    ),
    "azure, by the model that answered": Case(
        "azure", b"/openai/deployments/gpt-35-turbo/chat/completions?api-version=2024-10-21",
        chat("gpt-4o-2024-11-20", CHAT_USAGE, prompt_filter_results=[]),
        (2006, 300, 1920, None, 0), GPT_4O, {"input": 86, "cached": 1920, "output": 300},
    ),
    "anthropic, written for five minutes and for an hour": Case(
        "anthropic", MESSAGES, message(BY_AGE), (93_107, 393, 88_086, 5000, None),
        SONNET_4_5, {"input": 21, "read": 88_086, "write": 2000, "write_1h": 3000, "output": 393},
    ),
    "anthropic, above 200,000 tokens all of them cost more": Case(
        "anthropic", MESSAGES,
        message({"input_tokens": 10, "cache_read_input_tokens": 200_000, "output_tokens": 100}),
        (200_010, 100, 200_000, None, None),
        SONNET_4_5_LONG, {"input": 10, "read": 200_000, "output": 100},
    ),
    "anthropic, at 200,000 tokens they do not": Case(
        "anthropic", MESSAGES,
        message({"input_tokens": 10, "cache_read_input_tokens": 199_990, "output_tokens": 100}),
        (200_000, 100, 199_990, None, None),
        SONNET_4_5, {"input": 10, "read": 199_990, "output": 100},
    ),
    "anthropic, searches are charged each": Case(
        "anthropic", MESSAGES, message(SEARCHED), (105, 50, None, None, None),
        SONNET_4_5, {"input": 105, "output": 50}, pieces=2 * SEARCH,
    ),
    "anthropic, streamed": Case(
        "anthropic", MESSAGES,
        message_stream({**BY_AGE, "output_tokens": 1}, {"output_tokens": 393}),
        (93_107, 393, 88_086, 5000, None),
        SONNET_4_5, {"input": 21, "read": 88_086, "write": 2000, "write_1h": 3000, "output": 393},
        content_type=SSE,
    ),
    "gemini, thoughts beside the candidates": Case(
        "gemini", GEMINI, content(THOUGHT), (4000, 1000, 1000, None, 850),
        PRO_2_5, {"input": 3000, "cached": 1000, "output": 1000}, request={},
    ),
    "gemini, above 200,000 tokens": Case(
        "gemini", GEMINI,
        content({"promptTokenCount": 300_000, "candidatesTokenCount": 10, "cachedContentTokenCount":
                 100_000}),
        (300_000, 10, 100_000, None, None),
        PRO_2_5_LONG, {"input": 200_000, "cached": 100_000, "output": 10}, request={},
    ),
    "gemini, sound and tools' results": Case(
        "gemini", GEMINI.replace(b"pro", b"flash"), content(HEARD, "gemini-2.5-flash"),
        (1540, 100, 500, None, None),
        FLASH_2_5, {"input": 740, "audio": 300, "cached": 500, "output": 100}, request={},
    ),
    "gemini, a picture": Case(
        "gemini", GEMINI, content(DRAWN, "gemini-2.5-flash-image"), (10, 1300, None, None, None),
        FLASH_IMAGE, {"input": 10, "output": 10, "image": 1290}, request={},
    ),
    "gemini, streamed": Case(
        "gemini", b"/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        sse(
            {**content({"promptTokenCount": 4000, "totalTokenCount": 4000})},
            content(THOUGHT),
        ),
        (4000, 1000, 1000, None, 850),
        PRO_2_5, {"input": 3000, "cached": 1000, "output": 1000}, content_type=SSE, request={},
    ),
}  # fmt: skip


def document(case: Case, **more: object) -> dict:
    body = case.answer if isinstance(case.answer, bytes) else dumps(case.answer)
    given = {"kind": case.kind, "target": case.target, "content_type": case.content_type}
    return build(dumps(case.request), (body,), **{**given, **more})


NAMES = ("input", "output", "cache_read", "cache_write", "reasoning")


@pytest.mark.parametrize("name", CASES)
def test_usage_is_the_providers_and_cost_as_by_hand(name: str) -> None:
    case = CASES[name]
    found = document(case)
    assert tuple(found["usage"][f"{part}_tokens"] for part in NAMES) == case.tokens
    assert found["usage"]["source"] == "provider"
    cost = found["cost"]
    assert cost["usd"] == found["summary"]["cost_usd"] == case.usd()
    assert cost["source"] == "table"
    assert cost["table_version"].startswith("genai-prices ")
    parts = [cost[f"{part}_usd"] for part in NAMES[:4]]
    assert sum(p or 0 for p in parts) + float(case.pieces) == pytest.approx(cost["usd"], rel=1e-12)
    for part, tokens in zip(parts[2:], case.tokens[2:], strict=False):
        assert (part is None) == (tokens is None), "unknown is null, nothing is 0"


def test_each_part_of_a_cost_as_by_hand() -> None:
    cost = document(CASES["anthropic, written for five minutes and for an hour"])["cost"]
    assert cost["input_usd"] == float(Decimal(3) * 21 / 1_000_000)
    assert cost["output_usd"] == float(Decimal(15) * 393 / 1_000_000)
    assert cost["cache_read_usd"] == float(Decimal("0.30") * 88_086 / 1_000_000)
    assert cost["cache_write_usd"] == float(
        (Decimal("3.75") * 2000 + Decimal(6) * 3000) / 1_000_000
    )


OLLAMA = {"model": "llama3.2", "message": {"role": "assistant", "content": "Hi."}, "done": True}


@pytest.mark.parametrize(
    ("kind", "target", "answer"),
    [
        ("openai", CHAT, chat("gpt-99-unheard-of", CHAT_USAGE)),
        ("openai", CHAT, chat("llama-3.1-70b-instruct", CHAT_USAGE)),
        ("generic", CHAT, chat("gpt-4o", CHAT_USAGE)),
        ("azure", b"/openai/deployments/gpt-4o/chat/completions", chat("", CHAT_USAGE)),
        ("azure", b"/openai/deployments/gpt-4o/chat/completions", chat("our-own", CHAT_USAGE)),
        ("ollama", b"/api/chat", {**OLLAMA, "prompt_eval_count": 26, "eval_count": 298}),
        ("openai", CHAT, chat("x" * 10_000, CHAT_USAGE)),
        ("openai", CHAT, chat("gpt-4o", {"prompt_tokens": 5, "prompt_tokens_details":
                                         {"cached_tokens": 9}, "completion_tokens": 1})),
    ],
)  # fmt: skip
def test_what_is_unknown_is_not_free(kind: str, target: bytes, answer: dict) -> None:
    found = document(Case(kind, target, answer, ()))
    assert found["usage"]["source"] == "provider"
    assert found["usage"]["input_tokens"] is not None
    assert found["cost"] is None
    assert found["summary"]["cost_usd"] is None


def test_ollama_counts_are_its_own() -> None:
    answer = {**OLLAMA, "prompt_eval_count": 26, "eval_count": 298, "prompt_eval_duration": 1}
    usage = document(Case("ollama", b"/api/chat", answer, ()))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (26, 298)
    assert usage["raw"]["eval_count"] == 298


BYOK = {**OPENROUTER, "cost": 0.0001, "is_byok": True}
TICKS = {**CHAT_USAGE, "cost_in_usd_ticks": 37_756_000}
PERPLEXITY = {**CHAT_USAGE, "cost": {"input_tokens_cost": 0.001, "total_cost": 0.0062}}


@pytest.mark.parametrize(
    ("kind", "target", "answer", "content_type", "usd"),
    [
        ("openrouter", b"/v1/chat/completions", chat("openai/gpt-4o", OPENROUTER), None, 0.00095),
        ("openrouter", CHAT, chunks("openai/gpt-4o", OPENROUTER), SSE, 0.00095),
        ("openrouter", CHAT, chat("openai/gpt-4o", BYOK), None, 0.0001 + 0.00095),
        ("openrouter", CHAT, chat("some/free:free", {**OPENROUTER, "cost": 0}), None, 0.0),
        ("openrouter", MESSAGES, message({**SEARCHED, "cost": 0.0007}), None, 0.0007),
        ("generic", CHAT, chat("grok-4", TICKS), None, 0.0037756),
        ("generic", CHAT, chat("sonar", PERPLEXITY), None, 0.0062),
    ],
)
def test_the_providers_own_figure_stands(
    kind: str, target: bytes, answer: object, content_type: bytes | None, usd: float
) -> None:
    case = Case(kind, target, answer, (), content_type=content_type or b"application/json")
    cost = document(case)["cost"]
    assert cost == {
        "usd": usd,
        "input_usd": None,
        "output_usd": None,
        "cache_read_usd": None,
        "cache_write_usd": None,
        "source": "provider",
        "table_version": None,
    }


def test_without_the_upstreams_part_a_fee_is_no_cost() -> None:
    usage = {**BYOK, "cost_details": {}}
    cost = document(Case("openrouter", CHAT, chat("unheard/of", usage), ()))["cost"]
    assert cost is None


def test_a_refused_request_costs_nothing_that_is_known() -> None:
    found = document(
        Case("openai", CHAT, {"error": {"message": "no"}}, ()), status=429, cause="upstream_error"
    )
    assert found["cost"] is None
    assert found["usage"]["source"] == "none"
