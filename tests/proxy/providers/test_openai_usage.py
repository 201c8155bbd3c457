from __future__ import annotations

import pytest

from src.proxy.providers import get_provider
from src.proxy.providers.base import Usage

OPENAI = get_provider("openai")


def usage(operation: str = "chat", **raw: object) -> Usage | None:
    return OPENAI.usage(operation, {"usage": raw})


def test_chat_usage_includes_cached_and_reasoning():
    raw = {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 256},
    }
    assert usage(**raw) == Usage(2006, 300, 1920, 20, 256, raw)


def test_responses_usage_has_other_names():
    raw = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 16,
    }
    assert usage("responses", **raw) == Usage(10, 6, 4, 2, 5, raw)


def test_embeddings_have_no_output():
    raw = {"prompt_tokens": 8, "total_tokens": 8}
    assert usage("embeddings", **raw) == Usage(input_tokens=8, raw=raw)


def test_reasoning_counted_beside_the_output_is_added():
    """xAI: total = prompt + completion + reasoning."""
    details = {"reasoning_tokens": 300}
    raw = {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": details}
    assert usage(**raw, total_tokens=315).output_tokens == 305
    assert usage(**raw, total_tokens=15).output_tokens == 5
    assert usage(**raw).output_tokens == 5


def test_deepseek_s_cache_hits_are_read():
    assert usage(prompt_tokens=9, prompt_cache_hit_tokens=6).cache_read_tokens == 6


def test_zero_is_zero_and_null_is_unknown():
    found = usage(prompt_tokens=0, completion_tokens=None)
    assert (found.input_tokens, found.output_tokens) == (0, None)


def test_image_and_transcription_usage_is_read():
    raw = {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210}
    assert usage("images", **raw).output_tokens == 4160
    assert usage("transcriptions", **raw, type="tokens").input_tokens == 50
    assert usage("transcriptions", type="duration", seconds=9).input_tokens is None


@pytest.mark.parametrize("body", [None, [], "x", 1, {}, {"usage": None}, {"usage": {}}])
def test_no_usage_is_none(body: object):
    assert OPENAI.usage("chat", body) is None
    assert OPENAI.usage("models", {"usage": {"prompt_tokens": 1}}) is None
