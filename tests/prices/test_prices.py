"""Own prices, times and tiers, and what the recorder keeps in memory for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from src.config.settings import Settings
from src.prices.rates import Tokens, cost, rate
from src.prices.table import Asked, Prices
from src.tracing.document import Documents
from tests.prices.test_cost_table import CHAT_USAGE, OPENROUTER, chat
from tests.support import bodies, steps
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header
from tests.tracing.building import recorded

SRC = Path(__file__).parents[2]


def own(*prices: dict) -> Prices:
    """As the program makes them of its settings."""
    return Prices.read([price.as_texts() for price in Settings(prices=prices).prices])


def cost_of(prices: Prices, answer: dict, kind: str = "openai") -> dict | None:
    body = json.dumps(answer).encode()
    document = Documents(prices=prices).build(recorded(chunks=(body,), kind=kind))
    found: dict | None = json.loads(document.data)["cost"]
    return found


ALL = {"input": 4, "output": "20", "cache_read": 0.4, "cache_write": 5, "cache_write_1h": 8}


def test_own_prices_go_before_the_librarys() -> None:
    found = cost_of(own({"model": "gpt-4o*", **ALL}), chat("gpt-4o", CHAT_USAGE))
    assert found == {
        "usd": float((Decimal(4) * 86 + Decimal("0.4") * 1920 + Decimal(20) * 300) / 1_000_000),
        "input_usd": float(Decimal(4) * 86 / 1_000_000),
        "output_usd": 0.006,
        "cache_read_usd": float(Decimal("0.4") * 1920 / 1_000_000),
        "cache_write_usd": None,
        "source": "table",
        "table_version": "config",
    }


@pytest.mark.parametrize(
    ("prices", "usd"),
    [
        ([{"model": "OPENAI/*", "input": 1, "output": 0}], 194e-6),
        ([{"model": "*", "upstream": "openrouter", "input": 0, "output": 1}], 2e-6),
        ([{"model": "*", "upstream": "other", "input": 9, "output": 9}], None),
        ([{"model": "gpt-4o-mini", "input": 2, "output": 0}, {"model": "*", "input": 9}], 388e-6),
        ([{"model": "openai/gpt-4o-mini", "input": 9, "output": 9}], None),
    ],
)
def test_and_before_the_providers_own_figure(prices: list[dict], usd: float | None) -> None:
    """The first that fits, the name asked for (gpt-4o-mini) as good as the one that answered."""
    found = cost_of(own(*prices), chat("openai/gpt-4o", OPENROUTER), "openrouter")
    assert found is not None
    assert found["usd"] == (OPENROUTER["cost"] if usd is None else usd)
    assert found["source"] == ("provider" if usd is None else "table")


def test_without_a_price_for_its_output_only_embeddings_are_priced() -> None:
    prices = own({"model": "*", "input": 1})
    assert cost_of(prices, chat("gpt-4o", CHAT_USAGE)) is None


def test_a_kind_without_a_price_costs_as_what_it_is_part_of() -> None:
    tiers = ((0, {"input": rate(Decimal(1), 1), "output": rate(Decimal(10), 1)}),)
    tokens = Tokens(10, 5, 3, 2, 4, {"cache_write_1h": 1, "input_audio": 2, "search": 3})
    found = cost(tiers, tokens)
    assert found is not None
    assert (found.usd, found.input, found.cache_read, found.cache_write) == (60, 5, 3, 2)


def test_reasoning_with_a_price_of_its_own_is_not_paid_twice() -> None:
    rates = {"input": rate(Decimal(1), 1), "output": rate(Decimal(10), 1)}
    found = cost(((0, {**rates, "reasoning": rate(Decimal(3), 1)}),), Tokens(0, 5, reasoning=4))
    assert found is not None
    assert found.output == 10 + 4 * 3


def at(prices: Prices, model: str, base_url: str, unix_s: int) -> dict[str, int] | None:
    priced = prices.find(Asked("openai", "x", base_url, (model,), 1))
    return None if priced is None else dict(priced.at(unix_s)[0][1])


def test_prices_follow_the_day_of_the_request() -> None:
    """o3 became cheaper on 2025-06-10."""
    prices, openai = Prices(), "https://api.openai.com"
    before = at(prices, "o3", openai, 1_749_427_200)
    after = at(prices, "o3", openai, 1_749_600_000)
    assert before is not None
    assert after is not None
    assert (before["input"], after["input"]) == (rate(Decimal(10), 10**6), rate(Decimal(2), 10**6))


def test_the_address_tells_whose_prices_before_the_type_does() -> None:
    prices = Prices()
    assert at(prices, "deepseek-chat", "https://api.deepseek.com", 1_795_000_000) is not None
    assert at(prices, "gpt-4o", "https://api.deepseek.com", 1_795_000_000) is None
    assert at(prices, "gpt-4o", "https://llm.acme.example/v1", 1_795_000_000) is not None


def test_no_more_models_are_kept_than_fit() -> None:
    prices = Prices()
    for number in range(3000):
        prices.find(Asked("openai", "x", "https://api.openai.com", (f"unheard-{number}",), 1))
    assert len(prices._known) <= 1024


def test_the_library_is_loaded_with_the_first_price_only() -> None:
    code = """
import sys, src.tracing.recorder
from src.prices.table import Asked, Prices
heavy = {"genai_prices", "pydantic", "tiktoken", "httpx2", "asyncio"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
asked = Asked("openai", "", "https://api.openai.com", ("gpt-4o",), 1)
assert Prices.read([{"model": "*", "input": "1"}]).find(asked)
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
assert Prices().find(asked)
assert "genai_prices" in sys.modules and "tiktoken" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SRC, env=dict(os.environ))


def test_the_program_prices_what_it_records(
    upstream: Upstream, tmp_path: Path, case: str, tagged: list[Header]
) -> None:
    """Own prices from the file, the library's for the rest; in the file, its summary, the line."""
    prices = [{"model": "my-*", "input": 7, "output": 11}]
    answer = json.dumps(chat("my-model", CHAT_USAGE)).encode()
    upstream.script(case, *steps.reply(200, answer))
    upstream.script(case, *steps.reply(200, answer.replace(b"my-model", b"gpt-4o")))
    tap = LLMTap(tmp_path, config=settings(upstream.url, prices=prices)).start()
    try:
        for _ in range(2):
            assert tap.call(headers=tagged, body=bodies.chat_request(case)).status == 200
        traces = tap.traces(2, having=case)
    finally:
        tap.stop()
    found = {trace["cost"]["table_version"].split()[0]: trace for trace in traces}
    assert found["config"]["cost"]["usd"] == (2006 * 7 + 300 * 11) / 1e6
    usd = float((86 * Decimal("2.5") + 1920 * Decimal("1.25") + 300 * 10) / 1_000_000)
    assert found["genai-prices"]["summary"]["cost_usd"] == usd
    assert f"cost_usd={usd}" in tap.output
