"""Streams as in https://github.com/ollama/ollama/blob/main/docs/api.md."""

from __future__ import annotations

import json
from typing import Any

import pytest

from src.proxy.providers.base import ErrorInfo

from .streams import NDJSON, assembled, assert_same_however_cut

HEAD = {"model": "llama3.2", "created_at": "2023-08-04T08:52:19.385406455-07:00"}
METRICS = {
    "total_duration": 4883583458,
    "load_duration": 1334875,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 342546000,
    "eval_count": 282,
    "eval_duration": 4535599000,
}


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


def said(**message: object) -> dict[str, object]:
    return {**HEAD, "message": {"role": "assistant", **message}, "done": False}


END = {
    **HEAD,
    "created_at": "2023-08-04T19:22:45.499127Z",
    "message": {"role": "assistant", "content": ""},
    "done_reason": "stop",
    "done": True,
    **METRICS,
}
CALL = {"function": {"name": "get_weather", "arguments": {"city": "Toronto"}}}
CHAT = lines(
    said(content="", thinking="Let me "),
    said(content="", thinking="see."),
    said(content="The sky é"),
    said(content=" is", tool_calls=[CALL]),
    said(content="", tool_calls=[CALL]),
    END,
)
GENERATE = lines(
    {**HEAD, "response": "", "thinking": "Hm", "done": False},
    {**HEAD, "response": "The ", "done": False},
    {**HEAD, "response": "sky", "done": False},
    {**HEAD, "response": "", "done": True, "done_reason": "length", "context": [1, 2], **METRICS},
)


def run(stream: bytes, operation: str = "chat") -> Any:
    return assembled("ollama", operation, stream, NDJSON)


def test_chat_message_is_the_unstreamed_object():
    assert run(CHAT).message() == {
        **END,
        "message": {
            "role": "assistant",
            "content": "The sky é is",
            "thinking": "Let me see.",
            "tool_calls": [CALL, CALL],
        },
    }


def test_chat_message_stands_before_the_metrics():
    assert list(run(CHAT).message())[:3] == ["model", "created_at", "message"]


def test_generate_is_the_unstreamed_object():
    assert run(GENERATE, "generate").message() == {
        **HEAD,
        "response": "The sky",
        "thinking": "Hm",
        "done": True,
        "done_reason": "length",
        "context": [1, 2],
        **METRICS,
    }


@pytest.mark.parametrize(("operation", "stream"), [("chat", CHAT), ("generate", GENERATE)])
def test_stream_reads_the_same_however_it_is_cut(operation: str, stream: bytes):
    assert_same_however_cut("ollama", operation, stream, NDJSON)
    assert_same_however_cut("ollama", operation, stream[:-1], NDJSON)


def test_usage_end_and_model_come_with_the_last_line():
    assembler = run(CHAT)
    assert (assembler.usage.input_tokens, assembler.usage.output_tokens) == (26, 282)
    assert assembler.usage.raw == METRICS
    assert assembler.terminal
    assert assembler.model == "llama3.2"


def test_cut_stream_is_not_terminal_and_gives_what_had_arrived():
    assembler = run(CHAT[: CHAT.index(b'{"model"', 300)])
    assert not assembler.terminal
    assert assembler.usage is None
    assert assembler.message()["message"]["thinking"].startswith("Let me")
    assert assembler.message()["done"] is False


def test_prompt_count_left_out_is_unknown():
    end = {key: value for key, value in END.items() if key != "prompt_eval_count"}
    usage = run(lines(said(content="x"), end)).usage
    assert (usage.input_tokens, usage.output_tokens) == (None, 282)


def test_error_line_is_read():
    assembler = run(lines(said(content="x"), {"error": "an error was encountered"}))
    assert assembler.error == ErrorInfo(None, "an error was encountered")
    assert not assembler.terminal
    assert assembler.message()["message"]["content"] == "x"


@pytest.mark.parametrize("message", [{"content": "a"}, {"thinking": "a"}, {"tool_calls": [CALL]}])
def test_model_output_begins_with_the_first_line_that_says_something(message: dict[str, object]):
    assert run(lines(said(content=""), said(**message))).model_output
    assert not run(lines(said(content=""))).model_output


def test_nothing_received_is_no_message():
    assert run(b"").message() is None
