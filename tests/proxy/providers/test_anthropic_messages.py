"""Streams as in https://docs.anthropic.com/en/api/messages-streaming and anthropic-sdk-python's
tests, held against the SDK's own accumulator and models."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from anthropic.lib.streaming._beta_messages import accumulate_event
from anthropic.types import Message
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from pydantic import TypeAdapter

from src.proxy.providers.base import ErrorInfo

from .streams import assembled, assert_same_however_cut, sse

EVENT: TypeAdapter[Any] = TypeAdapter(BetaRawMessageStreamEvent)  # Any: a union of all events

START_USAGE = {
    "input_tokens": 472,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 2000,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 2,
    "service_tier": "standard",
}
START = {
    "type": "message_start",
    "message": {
        "id": "msg_014p7gG3wDgGV9EUtLvnow3U",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-20250514",
        "stop_sequence": None,
        "usage": START_USAGE,
        "content": [],
        "stop_reason": None,
    },
}
PING = {"type": "ping"}
STOP = {"type": "message_stop"}


def begin(at: int, **block: object) -> dict[str, object]:
    return {"type": "content_block_start", "index": at, "content_block": block}


def delta(at: int, kind: str, **fields: object) -> dict[str, object]:
    return {"type": "content_block_delta", "index": at, "delta": {"type": kind, **fields}}


def stop(at: int) -> dict[str, object]:
    return {"type": "content_block_stop", "index": at}


def end(reason: str, **usage: object) -> dict[str, object]:
    change = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": change, "usage": {"output_tokens": 89, **usage}}


TEXT = [
    START,
    begin(0, type="text", text=""),
    PING,
    delta(0, "text_delta", text="Hél"),
    delta(0, "text_delta", text="lo 😀"),
    stop(0),
    end("end_turn"),
    STOP,
]
TOOLS = [
    START,
    begin(0, type="text", text=""),
    delta(0, "text_delta", text="Let me check."),
    stop(0),
    begin(1, type="tool_use", id="toolu_1", name="get_weather", input={}),
    delta(1, "input_json_delta", partial_json=""),
    delta(1, "input_json_delta", partial_json='{"location": "San'),
    delta(1, "input_json_delta", partial_json=' Francisco", "days": [1'),
    delta(1, "input_json_delta", partial_json=", 2]}"),
    stop(1),
    begin(2, type="tool_use", id="toolu_2", name="now", input={}),
    delta(2, "input_json_delta", partial_json=""),
    stop(2),
    end("tool_use"),
    STOP,
]
THINKING = [
    START,
    begin(0, type="thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="First, "),
    delta(0, "thinking_delta", thinking="split it."),
    delta(0, "signature_delta", signature="EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk="),
    stop(0),
    begin(1, type="redacted_thinking", data="EmwKAhgBEgy3va3pzix"),
    stop(1),
    begin(2, type="text", text=""),
    delta(2, "text_delta", text="925"),
    stop(2),
    end("end_turn", output_tokens_details={"thinking_tokens": 60}),
    STOP,
]
CITATION = {
    "type": "web_search_result_location",
    "cited_text": "Sunny",
    "encrypted_index": "Eo8B",
    "title": "Weather",
    "url": "https://example.com",
}
RESULT = {
    "type": "web_search_result",
    "title": "Weather",
    "url": "https://example.com",
    "encrypted_content": "Ep0B",
    "page_age": None,
}
SERVER_TOOLS = [
    START,
    begin(0, type="server_tool_use", id="srvtoolu_1", name="web_search", input={}),
    delta(0, "input_json_delta", partial_json='{"query": "weather"}'),
    stop(0),
    begin(1, type="web_search_tool_result", tool_use_id="srvtoolu_1", content=[RESULT]),
    stop(1),
    begin(2, type="text", text="", citations=[]),
    delta(2, "citations_delta", citation=CITATION),
    delta(2, "text_delta", text="It is sunny."),
    delta(2, "citations_delta", citation=CITATION),
    stop(2),
    end(
        "end_turn",
        input_tokens=500,
        server_tool_use={"web_search_requests": 1, "web_fetch_requests": 0},
    ),
    STOP,
]
STREAMS = {"text": TEXT, "tools": TOOLS, "thinking": THINKING, "server_tools": SERVER_TOOLS}


def message(*events: dict[str, object]) -> dict[str, Any]:
    answer = assembled("anthropic", "messages", sse(*events)).message()
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("name", STREAMS)
def test_message_is_valid_for_the_sdk(name: str):
    Message.model_validate(message(*STREAMS[name]), strict=True)


@pytest.mark.parametrize("name", STREAMS)
def test_message_is_what_the_sdk_accumulates(name: str):
    snapshot, buffers = None, {}
    for event in STREAMS[name]:
        if event is not PING:
            snapshot = accumulate_event(
                event=EVENT.validate_python(json.loads(json.dumps(event))),
                current_snapshot=snapshot,
                json_bufs=buffers,
                request_headers=httpx.Headers(),
            )
    assert snapshot is not None
    theirs = snapshot.model_dump(exclude_none=True)
    ours = BetaMessage.model_validate(message(*STREAMS[name])).model_dump(exclude_none=True)
    assert ours == theirs


@pytest.mark.parametrize("name", STREAMS)
def test_stream_reads_the_same_however_it_is_cut(name: str):
    assert_same_however_cut("anthropic", "messages", sse(*STREAMS[name]))


def test_text_message_is_the_unstreamed_object():
    assert message(*TEXT) == {
        **START["message"],
        "content": [{"type": "text", "text": "Héllo 😀"}],
        "stop_reason": "end_turn",
        "usage": {**START_USAGE, "output_tokens": 89},
    }


def test_tool_input_is_parsed_and_none_is_an_empty_object():
    assert message(*TOOLS)["content"][1:] == [
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "get_weather",
            "input": {"location": "San Francisco", "days": [1, 2]},
        },
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ]


def test_tool_input_that_was_cut_off_is_kept_as_text():
    assert message(*TOOLS[:7])["content"][1]["input"] == {"INVALID_JSON": '{"location": "San'}


def test_tool_input_given_at_the_start_stays():
    block = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}
    assert message(START, begin(0, **block), stop(0))["content"] == [block]


@pytest.mark.parametrize("deltas", [[], [delta(0, "input_json_delta", partial_json=" ")]])
def test_tool_use_without_any_input_has_an_empty_object(deltas: list[dict[str, object]]):
    answer = message(START, begin(0, type="tool_use", id="t", name="n"), *deltas)
    assert answer["content"] == [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]


def test_thinking_keeps_its_signature_and_redacted_data():
    thinking, redacted, text = message(*THINKING)["content"]
    assert thinking["thinking"] == "First, split it."
    assert thinking["signature"].startswith("EqQB")
    assert redacted == {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"}
    assert text["text"] == "925"


def test_citations_grow_beside_the_text():
    text = message(*SERVER_TOOLS)["content"][2]
    assert text["citations"] == [CITATION, CITATION]
    assert text["text"] == "It is sunny."


def test_server_tool_results_stand_as_they_came():
    assert message(*SERVER_TOOLS)["content"][1]["content"] == [RESULT]


def test_blocks_interleaved_by_index_are_kept_apart():
    answer = message(
        START,
        begin(0, type="text", text=""),
        begin(1, type="text", text=""),
        delta(1, "text_delta", text="b"),
        delta(0, "text_delta", text="a"),
    )
    assert [block["text"] for block in answer["content"]] == ["a", "b"]


def test_compaction_block_is_filled():
    answer = message(
        START,
        begin(0, type="compaction", content=None),
        delta(0, "compaction_delta", content="Summary", encrypted_content="x"),
    )
    block = {"type": "compaction", "content": "Summary", "encrypted_content": "x"}
    assert answer["content"] == [block]


def test_fallback_block_names_the_model_that_served():
    block = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "claude-b"}}
    assembler = assembled("anthropic", "messages", sse(START, begin(0, **block)))
    assert assembler.model == "claude-b"
    assert assembler.message()["model"] == "claude-b"


def test_context_management_of_the_end_is_kept():
    change = {**end("end_turn"), "context_management": {"applied_edits": []}}
    assert message(START, change)["context_management"] == {"applied_edits": []}


def test_terminal_is_message_stop():
    assert assembled("anthropic", "messages", sse(*TEXT)).terminal
    assert not assembled("anthropic", "messages", sse(*TEXT[:-1])).terminal


def test_stream_cut_half_way_gives_what_had_arrived():
    assembler = assembled("anthropic", "messages", sse(*TEXT[:4]))
    assert assembler.message()["content"] == [{"type": "text", "text": "Hél"}]
    assert assembler.message()["stop_reason"] is None
    assert assembler.usage.input_tokens == 2572
    assert assembler.usage.output_tokens is None, "the start tells of the first tokens only"


def test_error_event_is_read_and_is_no_end():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assembler = assembled("anthropic", "messages", sse(*TEXT[:4], error))
    assert assembler.error == ErrorInfo("overloaded_error", "Overloaded")
    assert not assembler.terminal
    assert assembler.message() is not None


@pytest.mark.parametrize(
    ("events", "seen"),
    [
        ([START, PING, begin(0, type="text", text="")], False),
        (TEXT[:4], True),
        ([START, begin(0, type="thinking", thinking="")], False),
        (THINKING[:3], True),
        ([START, begin(0, type="tool_use", id="t", name="n", input={})], True),
        ([START, begin(0, type="redacted_thinking", data="x")], True),
    ],
)
def test_model_output_begins_with_the_first_delta(events: list[Any], seen: bool):
    assert assembled("anthropic", "messages", sse(*events)).model_output is seen


def test_nothing_received_is_no_message():
    assert assembled("anthropic", "messages", sse(PING)).message() is None
    assert assembled("anthropic", "messages", b"").usage is None
