from __future__ import annotations

import pytest

from src.proxy.providers import get_provider
from src.proxy.providers.base import Usage

from .streams import assembled, sse

ANTHROPIC = get_provider("anthropic")


def usage(**raw: object) -> Usage | None:
    return ANTHROPIC.usage("messages", {"type": "message", "usage": raw})


def test_input_includes_both_cache_counts():
    raw = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 200,
        "cache_read_input_tokens": 3000,
        "output_tokens": 7,
    }
    assert usage(**raw) == Usage(3210, 7, 3000, 200, None, raw)


def test_without_cache_counts_they_are_unknown():
    found = usage(input_tokens=10, output_tokens=7, cache_read_input_tokens=None)
    assert found is not None
    assert (found.input_tokens, found.cache_read_tokens, found.cache_write_tokens) == (
        10,
        None,
        None,
    )


def test_cache_writes_are_summed_where_only_the_breakdown_is_there():
    by_age = {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 7}
    found = usage(input_tokens=1, output_tokens=1, cache_creation=by_age)
    assert found is not None
    assert (found.cache_write_tokens, found.input_tokens) == (12, 13)


def test_input_is_unknown_without_its_count():
    found = usage(output_tokens=7, cache_read_input_tokens=5)
    assert found is not None
    assert found.input_tokens is None


def test_thinking_is_part_of_the_output():
    found = usage(input_tokens=1, output_tokens=9, output_tokens_details={"thinking_tokens": 6})
    assert found is not None
    assert (found.output_tokens, found.reasoning_tokens) == (9, 6)


def test_cumulative_counts_of_a_stream_replace_field_by_field():
    start = {"input_tokens": 3, "cache_read_input_tokens": 50, "output_tokens": 1}
    stream = sse(
        {"type": "message_start", "message": {"usage": start}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
        {
            "type": "message_delta",
            "delta": {},
            "usage": {"output_tokens": 9, "input_tokens": 4, "cache_read_input_tokens": None},
        },
    )
    found = assembled("anthropic", "messages", stream).usage
    assert found is not None
    assert (found.input_tokens, found.output_tokens, found.cache_read_tokens) == (54, 9, 50)


@pytest.mark.parametrize(
    "body", [{}, {"usage": None}, {"usage": {}}, {"usage": [1]}, [], None, "x"]
)
def test_no_usage_is_none(body: object):
    assert ANTHROPIC.usage("messages", body) is None


def test_count_tokens_is_no_usage():
    assert ANTHROPIC.usage("count_tokens", {"input_tokens": 2095}) is None
