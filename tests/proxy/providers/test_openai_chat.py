"""Streams as in https://platform.openai.com/docs/api-reference/chat-streaming and openai-python's
tests, held against the SDK's own accumulator and models."""

from __future__ import annotations

import json

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from src.proxy.providers.base import ErrorInfo

from .streams import assembled, assert_same_however_cut, sse

HEAD = {
    "id": "chatcmpl-9lMgfRSWPHcw51s6wxKT1YEO2CKpd",
    "object": "chat.completion.chunk",
    "created": 1721075653,
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "system_fingerprint": "fp_e1a05a1dce",
}


def chunk(*choices: object, **extra: object) -> dict[str, object]:
    return {**HEAD, "choices": list(choices), **extra}


def choice(delta: object, index: int = 0, finish: str | None = None, **extra: object) -> object:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish, **extra}


def call(index: int, arguments: str, **extra: object) -> dict[str, object]:
    function = {"arguments": arguments}
    if "name" in extra:
        function = {"name": extra.pop("name"), **function}
    return {"index": index, **extra, "function": function}


TOKEN = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
USAGE = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
}

TEXT = sse(
    chunk(choice({"role": "assistant", "content": "", "refusal": None}), obfuscation="x9"),
    chunk(choice({"content": "Hé"}), usage=None, obfuscation="abc"),
    chunk(choice({"content": "llo 😀"}), usage=None),
    chunk(choice({}, finish="stop"), usage=None),
    chunk(usage=USAGE),
    done=True,
)

TOOLS = sse(
    chunk(
        choice(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [call(0, "", id="call_a", type="function", name="GetWeather")],
            }
        )
    ),
    chunk(choice({"tool_calls": [call(0, '{"city": "Edin')]})),
    chunk(choice({"tool_calls": [call(0, 'burgh"}')]})),
    chunk(
        choice({"tool_calls": [call(1, "", id="call_b", type="function", name="get_stock_price")]})
    ),
    chunk(choice({"tool_calls": [call(1, '{"ticker":"AAPL"}')]})),
    chunk(choice({}, finish="tool_calls")),
    done=True,
)

MANY = sse(
    chunk(choice({"role": "assistant", "content": ""}, 0)),
    chunk(choice({"role": "assistant", "content": ""}, 1)),
    chunk(choice({"content": "a"}, 0)),
    chunk(choice({"content": "x"}, 1), choice({"content": "b"}, 0)),
    chunk(choice({}, 1, "stop")),
    chunk(choice({}, 0, "stop")),
    done=True,
)

LOGPROBS = sse(
    chunk(choice({"role": "assistant", "content": ""}, logprobs={"content": [], "refusal": None})),
    chunk(choice({"content": "Hi"}, logprobs={"content": [TOKEN], "refusal": None})),
    chunk(choice({"content": "Hi"}, logprobs={"content": [TOKEN], "refusal": None})),
    chunk(choice({}, finish="stop")),
    done=True,
)

REFUSAL = sse(
    chunk(choice({"role": "assistant", "content": None, "refusal": ""})),
    chunk(choice({"refusal": "I'm "}, logprobs={"content": None, "refusal": [TOKEN]})),
    chunk(choice({"refusal": "sorry."}, logprobs={"content": None, "refusal": [TOKEN]})),
    chunk(choice({}, finish="stop")),
    done=True,
)

STREAMS = {"text": TEXT, "tools": TOOLS, "many": MANY, "logprobs": LOGPROBS, "refusal": REFUSAL}


def message(stream: bytes) -> dict[str, object]:
    answer = assembled("openai", "chat", stream).message()
    assert isinstance(answer, dict)
    return answer


def first(stream: bytes) -> dict[str, object]:
    return message(stream)["choices"][0]["message"]


@pytest.mark.parametrize("name", STREAMS)
def test_message_is_valid_for_the_sdk(name: str):
    ChatCompletion.model_validate(message(STREAMS[name]), strict=True)


@pytest.mark.parametrize("name", STREAMS)
def test_message_is_what_the_sdk_accumulates(name: str):
    state = ChatCompletionStreamState()
    for block in STREAMS[name].decode().split("\n\n"):
        data = block.removeprefix("data: ")
        if data.startswith("{"):
            state.handle_chunk(ChatCompletionChunk.model_validate_json(data))
    theirs = state.get_final_completion().model_dump(exclude_none=True)
    ours = ChatCompletion.model_validate(message(STREAMS[name])).model_dump(exclude_none=True)
    for entry in theirs["choices"]:
        for tool_call in entry["message"].get("tool_calls", []):
            tool_call.pop("index")
            tool_call["function"].pop("parsed_arguments", None)
        entry["message"].pop("parsed", None)
        if not any(entry.get("logprobs", {}).values()):
            entry.pop("logprobs", None)
    assert {**ours, "choices": None} == {**theirs, "choices": None, "object": "chat.completion"}
    for mine, other in zip(ours["choices"], theirs["choices"], strict=True):
        assert mine == other


@pytest.mark.parametrize("name", STREAMS)
def test_stream_reads_the_same_however_it_is_cut(name: str):
    assert_same_however_cut("openai", "chat", STREAMS[name])


def test_text_message_is_the_unstreamed_object():
    assert message(TEXT) == {
        **HEAD,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Héllo 😀"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }


def test_tool_calls_join_their_arguments():
    calls = first(TOOLS)["tool_calls"]
    assert [json.loads(c["function"]["arguments"]) for c in calls] == [
        {"city": "Edinburgh"},
        {"ticker": "AAPL"},
    ]
    assert calls[0] == {
        "id": "call_a",
        "type": "function",
        "function": {"name": "GetWeather", "arguments": '{"city": "Edinburgh"}'},
    }
    assert first(TOOLS)["content"] is None


def test_tool_call_name_repeated_in_each_piece_stands_once():
    stream = sse(
        chunk(choice({"tool_calls": [call(0, "{", id="c", type="function", name="f")]})),
        chunk(choice({"tool_calls": [call(0, "}", id="c", type="function", name="f")]})),
    )
    assert first(stream)["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]


def test_tool_call_name_in_pieces_is_joined():
    stream = sse(
        chunk(choice({"tool_calls": [call(0, "", id="c", type="function", name="get_")]})),
        chunk(choice({"tool_calls": [call(0, "{}", name="weather")]})),
    )
    assert first(stream)["tool_calls"][0]["function"]["name"] == "get_weather"


def test_tool_calls_without_an_index_are_told_apart_by_id():
    pieces = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    stream = sse(*(chunk(choice({"tool_calls": [piece]})) for piece in pieces))
    assert first(stream)["tool_calls"] == pieces


def test_custom_tool_calls_join_their_input():
    begin = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "sql", "input": "SEL"}}
    stream = sse(
        chunk(choice({"tool_calls": [begin]})),
        chunk(choice({"tool_calls": [{"index": 0, "custom": {"input": "ECT 1"}}]})),
    )
    assert first(stream)["tool_calls"][0]["custom"] == {"name": "sql", "input": "SELECT 1"}


def test_choices_are_kept_apart():
    answers = message(MANY)["choices"]
    assert [(c["message"]["content"], c["finish_reason"]) for c in answers] == [
        ("ab", "stop"),
        ("x", "stop"),
    ]


def test_logprobs_are_concatenated():
    assert message(LOGPROBS)["choices"][0]["logprobs"] == {
        "content": [TOKEN, TOKEN],
        "refusal": None,
    }
    assert message(REFUSAL)["choices"][0]["logprobs"]["refusal"] == [TOKEN, TOKEN]


def test_refusal_is_joined():
    assert first(REFUSAL)["refusal"] == "I'm sorry."


def test_audio_joins_data_and_transcript_and_keeps_the_rest():
    stream = sse(
        chunk(choice({"role": "assistant", "audio": {"id": "audio_1", "transcript": "He"}})),
        chunk(choice({"audio": {"data": "AAAA"}})),
        chunk(choice({"audio": {"transcript": "y", "data": "BBBB"}})),
        chunk(choice({"audio": {"expires_at": 1729268602}}, finish="stop")),
        done=True,
    )
    assert first(stream)["audio"] == {
        "id": "audio_1",
        "transcript": "Hey",
        "data": "AAAABBBB",
        "expires_at": 1729268602,
    }
    ChatCompletion.model_validate(message(stream))


def test_old_function_call_joins_its_arguments():
    stream = sse(
        chunk(choice({"role": "assistant", "function_call": {"name": "f", "arguments": ""}})),
        chunk(choice({"function_call": {"arguments": '{"a"'}})),
        chunk(choice({"function_call": {"arguments": ": 1}"}}, finish="function_call")),
    )
    assert first(stream)["function_call"] == {"name": "f", "arguments": '{"a": 1}'}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "anything_new"])
def test_unknown_texts_of_compatible_servers_are_joined(field: str):
    stream = sse(chunk(choice({field: "Let "})), chunk(choice({field: "me", "content": "Yes"})))
    assert first(stream)[field] == "Let me"
    assert first(stream)["content"] == "Yes"


def test_unknown_values_of_compatible_servers_are_kept_as_last_seen():
    stream = sse(chunk(choice({"score": 1})), chunk(choice({"score": {"x": 2}})))
    assert first(stream)["score"] == {"x": 2}


def test_reasoning_details_are_joined_by_index():
    def detail(**fields: object) -> dict[str, object]:
        return chunk(choice({"reasoning_details": [{"format": "anthropic-claude-v1", **fields}]}))

    stream = sse(
        detail(type="reasoning.text", index=0, text="Think", signature=None),
        detail(type="reasoning.text", index=0, text="ing.", signature=None),
        detail(type="reasoning.text", index=0, signature="sig=="),
        detail(type="reasoning.encrypted", index=1, data="abc", id="r1"),
        detail(type="reasoning.summary", index=2, summary="In "),
        detail(type="reasoning.summary", index=2, summary="short."),
    )
    shared = {"format": "anthropic-claude-v1"}
    assert first(stream)["reasoning_details"] == [
        {**shared, "type": "reasoning.text", "index": 0, "text": "Thinking.", "signature": "sig=="},
        {**shared, "type": "reasoning.encrypted", "index": 1, "data": "abc", "id": "r1"},
        {**shared, "type": "reasoning.summary", "index": 2, "summary": "In short."},
    ]


def test_annotations_grow():
    stream = sse(chunk(choice({"annotations": [{"a": 1}]})), chunk(choice({"annotations": [2]})))
    assert first(stream)["annotations"] == [{"a": 1}, 2]


def test_usage_comes_with_a_last_chunk_without_choices():
    usage = assembled("openai", "chat", TEXT).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (19, 10)
    assert (usage.cache_read_tokens, usage.reasoning_tokens) == (16, 4)
    assert usage.raw == USAGE


def test_usage_is_unknown_if_it_was_not_asked_for():
    assert assembled("openai", "chat", TOOLS).usage is None
    assert "usage" not in message(TOOLS)


def test_last_usage_that_is_not_null_counts_field_by_field():
    stream = sse(
        chunk(choice({"content": "a"}), usage={"prompt_tokens": 3, "completion_tokens": 1}),
        chunk(choice({"content": "b"}), usage={"prompt_tokens": None, "completion_tokens": 2}),
        chunk(choice({}, finish="stop"), usage=None),
        chunk(usage={"cost": 0.5}),
    )
    usage = assembled("openai", "chat", stream).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cost_usd) == (3, 2, 0.5)


def test_usage_after_a_stream_that_ends_without_done():
    stream = sse(chunk(choice({"content": "a"}, finish="stop")), chunk(usage=USAGE))
    assembler = assembled("openai", "chat", stream)
    assert assembler.terminal
    assert assembler.usage is not None


def test_terminal_is_done_or_all_choices_finished():
    cut = TEXT[: TEXT.index(b'data: {"id"', 10)]
    assert not assembled("openai", "chat", cut).terminal
    assert assembled("openai", "chat", b"data: [DONE]\n\n").terminal
    half = sse(chunk(choice({"content": "a"}, 0, "stop")), chunk(choice({"content": "b"}, 1)))
    assert not assembled("openai", "chat", half).terminal
    assert not assembled("openai", "chat", b"").terminal


def test_incomplete_last_block_is_not_read():
    assembler = assembled("openai", "chat", sse(chunk(choice({"content": "a"})))[:-1])
    assert assembler.message() is None
    assert not assembler.model_output


def test_model_output_begins_with_the_first_delta_of_any_kind():
    begin = sse(chunk(choice({"role": "assistant", "content": ""})))
    assert not assembled("openai", "chat", begin).model_output
    for delta in ({"content": "a"}, {"reasoning": "a"}, {"refusal": "a"}, {"tool_calls": [{}]}):
        assert assembled("openai", "chat", begin + sse(chunk(choice(delta)))).model_output


def test_model_is_the_one_the_chunks_name():
    assert assembled("openai", "chat", TEXT).model == "gpt-4o-2024-08-06"
    assert assembled("openai", "chat", b"").model is None


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            {"error": {"message": "Boom", "type": "server_error", "code": None, "param": None}},
            ErrorInfo("server_error", "Boom"),
        ),
        (
            chunk(choice({}, finish="error"), error={"code": 502, "message": "Gone"}),
            ErrorInfo(None, "Gone", "502"),
        ),
        (
            {"object": "error", "message": "Bad", "type": "BadRequestError", "code": 400},
            ErrorInfo("BadRequestError", "Bad", "400"),
        ),
        ({"error": "plain"}, ErrorInfo(None, "plain")),
    ],
)
def test_error_inside_the_stream(payload: object, expected: ErrorInfo):
    stream = sse(chunk(choice({"content": "a"}))) + sse(payload)
    assert assembled("openai", "chat", stream).error == expected
    assert first(stream)["content"] == "a"


def test_empty_fields_of_filter_chunks_replace_nothing():
    """Azure's asynchronous filter sends chunks without id and model at both ends."""
    empty = {"id": "", "object": "", "created": 0, "model": ""}
    results = [{"prompt_index": 0, "content_filter_results": {}}]
    stream = sse(
        {**empty, "choices": [], "prompt_filter_results": results},
        chunk(choice({"content": "a"}, finish="stop")),
        {
            **empty,
            "choices": [{"index": 0, "content_filter_results": {"hate": {"filtered": False}}}],
        },
        done=True,
    )
    answer = message(stream)
    assert (answer["id"], answer["model"]) == (HEAD["id"], HEAD["model"])
    assert answer["prompt_filter_results"] == results
    assert answer["choices"][0]["content_filter_results"] == {"hate": {"filtered": False}}
    ChatCompletion.model_validate(answer)


def test_emoji_cut_between_its_surrogates_is_whole():
    halves = b'{"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}', b"\\ude00"
    stream = b"data: " + halves[0] + b"\n\ndata: " + halves[0].replace(b"\\ud83d", halves[1])
    assert first(stream + b"\n\n")["content"] == "😀"
