from __future__ import annotations

from openai.types import Completion

from .streams import assembled, assert_same_however_cut, sse

HEAD = {"id": "cmpl-7iA7", "object": "text_completion", "created": 1690759702, "model": "davinci"}


def chunk(text: str, index: int = 0, finish: str | None = None, logprobs: object = None) -> object:
    choice = {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish}
    return {**HEAD, "choices": [choice]}


LOGPROBS = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{}], "text_offset": [0]}
STREAM = sse(
    chunk("This is", logprobs=LOGPROBS),
    chunk("Second", 1),
    chunk(" a test", logprobs=LOGPROBS),
    chunk("", 0, "length"),
    chunk("", 1, "stop"),
    {
        **HEAD,
        "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    },
    done=True,
)


def test_texts_are_joined_by_choice():
    assembler = assembled("openai", "completions", STREAM)
    answer = assembler.message()
    Completion.model_validate(answer, strict=True)
    assert [choice["text"] for choice in answer["choices"]] == ["This is a test", "Second"]
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["length", "stop"]
    assert answer["choices"][0]["logprobs"]["tokens"] == ["a", "a"]
    assert answer["choices"][1]["logprobs"] is None


def test_usage_end_and_model_are_read():
    assembler = assembled("openai", "completions", STREAM)
    assert assembler.usage is not None
    assert (assembler.usage.input_tokens, assembler.usage.output_tokens) == (5, 7)
    assert assembler.terminal
    assert assembler.model_output
    assert assembler.model == "davinci"


def test_stream_reads_the_same_however_it_is_cut():
    assert_same_however_cut("openai", "completions", STREAM)
