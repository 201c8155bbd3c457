"""Where nobody has told how many tokens there were."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.prices import encodings
from src.prices.estimate import by_script, input_tokens, output_tokens
from src.proxy.providers.base import dumps
from tests.prices.test_cost_table import (
    CHAT,
    GPT_4O,
    MESSAGES,
    RESPONSES,
    SSE,
    chunks,
    content,
    message,
    message_stream,
)
from tests.proxy.providers.streams import sse
from tests.tracing.building import build


@pytest.fixture(autouse=True)
def no_encodings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """As on a machine that has none; asking the net for one fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("an encoding was looked for in the net")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    encodings._encoding.cache_clear()
    yield
    encodings._encoding.cache_clear()


@pytest.mark.parametrize(
    ("text", "tokens", "claude"),
    [
        ("", 0, 0),
        ("a", 1, 1),
        ("a" * 40, 10, 12),
        ("я" * 30, 10, 12),
        ("水" * 40, 30, 35),
        ("ab水", 2, 2),
        ("\ud800" * 4, 3, 4),
    ],
)
def test_the_rule_goes_by_script(text: str, tokens: int, claude: int) -> None:
    assert by_script("gpt-4o")(text) == tokens
    assert by_script("claude-sonnet-4-5")(text) == claude


@pytest.mark.parametrize("content_of", ["anything", "x" * 100_000])
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-oss-20b", "claude-sonnet-4-5", "nobody's", None])
def test_an_encoding_that_is_not_here_is_not_fetched(model: str | None, content_of: str) -> None:
    assert encodings.counter(model)(content_of) == by_script(model)(content_of)


def test_a_broken_encoding_is_not_fetched_again(tmp_path: Path) -> None:
    for file, _ in encodings._FILES.values():
        (tmp_path / file).write_bytes(b"no encoding")
    assert encodings.counter("gpt-4o")("four") == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_cached_encoding_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "_cached", lambda *_: True)
    monkeypatch.setattr(encodings, "_loaded", lambda name: lambda text: len(text.split()))
    pytest.importorskip("tiktoken")
    count = encodings.counter("gpt-4o-2024-08-06")
    assert count("three short words") == 3
    assert count("x" * 5000) == 1250, "tiktoken takes quadratic time for words without an end"
    assert count("word " * 100_000) == 125_000, "and a second for each 3 MB"


REQUEST = {
    "model": "gpt-4o",
    "messages": [
        {"role": "user", "content": "Tell me about the sea, please."},
        {"role": "assistant", "content": [{"signature": "s" * 4000, "thinking": "Hm."}]},
        {
            "role": "user",
            "content": [{"image_url": {"url": "data:image/png;base64," + "A" * 9000}}],
        },
    ],
    "tools": [{"function": {"name": "look", "parameters": {"type": "object"}}}],
}
TEXTS = "userTell me about the sea, please.assistantHm.userlookobject"


def test_of_a_request_count_its_texts() -> None:
    assert input_tokens(REQUEST, len) == len(TEXTS) + 1000


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "one"}}]}, "one"),
        ({"choices": [{"message": {"reasoning_content": "two", "content": "one"}}]}, "onetwo"),
        (
            {"choices": [{"message": {"tool_calls": [{"id": "1", "type": "function", "function": {
                "name": "run", "arguments": '{"a":1}'}}]}}]},
            'run{"a":1}',
        ),
        ({"choices": [{"text": "one", "logprobs": {"tokens": ["o"]}}]}, "one"),
        ({"output": [{"type": "message", "content": [{"type": "output_text", "text": "one"}]}],
          "instructions": "not this"}, "one"),
        ({"content": [{"type": "thinking", "thinking": "two", "signature": "s"},
                      {"type": "tool_use", "id": "x", "name": "run", "input": {"a": 1}}]},
         'tworun{"a":1}'),
        ({"candidates": [{"content": {"role": "model", "parts": [{"text": "one"}]}}]}, "one"),
        ({"message": {"role": "assistant", "content": "one", "thinking": "two"}}, "onetwo"),
        ({"response": "one", "thinking": "two"}, "onetwo"),
    ],
)  # fmt: skip
def test_of_an_answer_counts_what_the_model_has_written(answer: dict, text: str) -> None:
    assert output_tokens(answer, len) == len(text)


def test_the_input_of_responses_is_no_argument() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 9000}
    body = {"input": [{"role": "user", "content": [picture, {"type": "input_text", "text": "a"}]}]}
    assert input_tokens(body, len) == len("userinput_imageinput_texta") + 1000


def test_arguments_that_are_hardly_json_are_counted_by_their_texts() -> None:
    deep: dict = {"a": "half \ud800"}
    for _ in range(400):
        deep = {"a": deep}
    answer = {"content": [{"type": "tool_use", "name": "run", "input": deep}]}
    assert output_tokens(answer, len) == len("runhalf x")


@pytest.mark.parametrize("answer", [None, "text", [], {"data": []}, {}])
def test_an_answer_without_text_has_no_estimate(answer: object) -> None:
    assert output_tokens(answer, len) is None


# --- in the document -------------------------------------------------------------------------

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a" * 396}], "stream": True}
CUT = {"content_type": SSE, "cause": "upstream_eof", "phase": "body"}
USER_TOKENS = 100  # "user" and 396 characters


def streamed(*texts: str) -> bytes:
    head = {"object": "chat.completion.chunk", "model": "gpt-4o-2024-08-06"}
    return sse(*({**head, "choices": [{"index": 0, "delta": {"content": t}}]} for t in texts))


def test_a_cut_stream_is_estimated_from_what_was_delivered() -> None:
    found = build(dumps(ASKED), (streamed("b" * 30, "b" * 10),), **CUT)
    usage, cost = found["usage"], found["cost"]
    assert usage == {
        "input_tokens": USER_TOKENS,
        "output_tokens": 10,
        "cache_read_tokens": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
        "source": "estimated",
        "raw": None,
    }
    assert cost["usd"] == (100 * 2.5 + 10 * 10) / 1e6
    assert cost["source"] == "table"
    assert found["summary"]["output_tokens"] == 10
    assert not [name for name in found["gen_ai"] if "usage" in name], "there it could not be marked"


def test_a_whole_stream_without_include_usage_is_estimated() -> None:
    usage = build(dumps(ASKED), (chunks("gpt-4o-2024-08-06"),), content_type=SSE)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (USER_TOKENS, 1)
    assert usage["source"] == "estimated"


def test_a_cut_stream_of_anthropic_keeps_the_input_it_was_told() -> None:
    """`message_start` tells all of the input, and one token of the output."""
    stream = message_stream({"input_tokens": 21, "output_tokens": 1}, {"output_tokens": 393})
    cut = stream[: stream.index(b"event: message_delta")].replace(b"Hi.", b"c" * 35)
    found = build(dumps(ASKED), (cut,), kind="anthropic", target=MESSAGES, **CUT)
    usage = found["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (21, 10)
    assert usage["source"] == "estimated"
    assert usage["raw"] == {"input_tokens": 21, "output_tokens": 1}
    assert found["cost"]["usd"] == (21 * 3 + 10 * 15) / 1e6


def test_a_cut_stream_of_gemini_has_the_figures_so_far() -> None:
    first = content({"promptTokenCount": 8, "candidatesTokenCount": 2})
    del first["candidates"][0]["finishReason"]
    target = b"/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    usage = build(dumps({}), (sse(first),), kind="gemini", target=target, **CUT)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (8, 2)
    assert usage["source"] == "provider"


def test_a_prompt_that_ollama_has_cached_is_estimated() -> None:
    answer = {"model": "llama3.2", "message": {"content": "Hi."}, "done": True, "eval_count": 7}
    found = build(dumps(ASKED), (dumps(answer),), kind="ollama", target=b"/api/chat")
    usage = found["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (USER_TOKENS, 7)
    assert usage["source"] == "estimated"


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
BROKEN = {"error": {"message": "broken", "type": "server_error"}}


@pytest.mark.parametrize(
    ("answers", "more"),
    [
        ((), {"answered": False, "cause": "connect_failed", "phase": "connect"}),
        ((), {"answered": False, "cause": "client_disconnected", "phase": "headers"}),
        ((dumps(BROKEN),), {"status": 500, "cause": "upstream_error"}),
        ((dumps(BROKEN),), {"status": 429, "cause": "rejected", "forwarded": False}),
        ((sse(BROKEN),), {"content_type": SSE}),
        ((sse(OVERLOADED),), {"content_type": SSE, "kind": "anthropic", "target": MESSAGES}),
        ((b": OPENROUTER PROCESSING\n\n",), CUT),
        ((b"\x89PNG",), {"content_type": b"image/png"}),
        ((b"{}",), {"target": b"/v1/images/generations"}),
        ((b"{}",), {"target": b"/v1/files"}),
        ((b'{"input_tokens": 5}',), {"target": b"/v1/messages/count_tokens", "kind": "anthropic"}),
    ],
)
def test_nothing_is_estimated_where_no_model_has_answered(answers: tuple, more: dict) -> None:
    found = build(dumps(ASKED), answers, **more)
    assert found["usage"]["source"] == "none"
    assert found["usage"]["input_tokens"] is None
    assert found["cost"] is None


def test_an_error_before_the_first_token_leaves_the_output_unknown() -> None:
    start = {"type": "message_start", "message": message({"input_tokens": 9, "output_tokens": 1})}
    stream = sse(start, OVERLOADED)
    given = {"kind": "anthropic", "target": MESSAGES, "content_type": SSE}
    found = build(dumps(ASKED), (stream,), **given)
    assert found["usage"]["input_tokens"] == 9
    assert found["usage"]["output_tokens"] is None
    assert found["cost"] is None


def test_of_a_truncated_body_nothing_is_estimated() -> None:
    """What is not there cannot be counted: unknown, not less."""
    body, answer = dumps(ASKED), streamed("b" * 40)
    known = {"wire_bytes": (len(body) + 1, len(answer) + 1), "lost": "over the limit"}
    usage = build(body, (answer,), **CUT, **known)["usage"]
    assert usage["input_tokens"] is None
    assert usage["output_tokens"] is None


def test_a_cut_stream_of_responses_is_estimated() -> None:
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0}
    started = {"type": "response.created", "response": {"model": "gpt-4o", "output": []}}
    stream = sse(started, {**delta, "delta": "b" * 40})
    usage = build(dumps({"model": "gpt-4o", "input": "a" * 40}), (stream,), target=RESPONSES, **CUT)
    assert usage["usage"]["output_tokens"] == 10
    assert usage["usage"]["input_tokens"] == 10
    assert usage["cost"]["usd"] == (10 * float(GPT_4O["input"]) + 10 * 10) / 1e6


def test_a_crashed_stream_is_estimated_too() -> None:
    found = build(dumps(ASKED), (streamed("b" * 40),), content_type=SSE, killed=True, target=CHAT)
    assert found["usage"]["output_tokens"] == 10
    assert found["usage"]["source"] == "estimated"
