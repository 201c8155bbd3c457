"""Streams as in https://platform.openai.com/docs/api-reference/responses-streaming, each event held
against the SDK's model of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from src.proxy.providers.base import ErrorInfo

from .streams import assembled, assert_same_however_cut, sse

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)  # Any: the SDK's union of all events

BASE: dict[str, object] = {
    "id": "resp_67c9fdcecf488190bdd9a0409de3a1ec",
    "object": "response",
    "created_at": 1741290958,
    "status": "in_progress",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "model": "gpt-4.1-2025-04-14",
    "output": [],
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "usage": None,
    "metadata": {},
}
USAGE = {
    "input_tokens": 37,
    "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 5},
    "output_tokens": 11,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 48,
}
ITEM = {"item_id": "i", "output_index": 0}


def event(kind: str, **fields: object) -> dict[str, object]:
    return {"type": kind, "sequence_number": 1, **fields}


def added(item: dict[str, object], at: int = 0) -> dict[str, object]:
    return event("response.output_item.added", output_index=at, item=item)


def done(item: dict[str, object], at: int = 0) -> dict[str, object]:
    return event("response.output_item.done", output_index=at, item=item)


CREATED = event("response.created", response=BASE)
PART = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
MESSAGE = {
    "id": "i",
    "type": "message",
    "status": "in_progress",
    "role": "assistant",
    "content": [],
}
URL = {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 2}
WHOLE = {
    **MESSAGE,
    "status": "completed",
    "content": [{**PART, "text": "Hi there", "annotations": [URL]}],
}


def text_delta(delta: str) -> dict[str, object]:
    return event(
        "response.output_text.delta",
        **ITEM,
        content_index=0,
        delta=delta,
        logprobs=[],
        obfuscation="zZ",
    )


PIECES = [
    CREATED,
    event("response.in_progress", response=BASE),
    added(MESSAGE),
    event("response.content_part.added", **ITEM, content_index=0, part=PART),
    text_delta("Hi"),
    text_delta(" there"),
    event(
        "response.output_text.annotation.added",
        **ITEM,
        content_index=0,
        annotation_index=0,
        annotation=URL,
    ),
]
FINAL = {**BASE, "status": "completed", "output": [WHOLE], "usage": USAGE}
ENDING = [
    event("response.output_text.done", **ITEM, content_index=0, text="Hi there", logprobs=[]),
    event("response.content_part.done", **ITEM, content_index=0, part=WHOLE["content"][0]),
    done(WHOLE),
    event("response.completed", response=FINAL),
]
TEXT = sse(*PIECES, *ENDING)


def message(*events: object) -> dict[str, Any]:
    answer = assembled("openai", "responses", sse(CREATED, *events)).message()
    assert isinstance(answer, dict)
    return answer


def item(*events: object) -> dict[str, Any]:
    return message(*events)["output"][0]


@pytest.mark.parametrize("payload", [*PIECES, *ENDING], ids=lambda p: p["type"])
def test_the_events_of_these_tests_are_the_sdk_s(payload: dict[str, object]):
    EVENT.validate_python(json.loads(json.dumps(payload)))


def test_message_is_the_response_of_the_end():
    assembler = assembled("openai", "responses", TEXT)
    assert assembler.message() == FINAL
    assert assembler.terminal
    assert assembler.error is None
    assert assembler.model == "gpt-4.1-2025-04-14"
    Response.model_validate(assembler.message())


def test_usage_comes_with_the_end():
    usage = assembled("openai", "responses", TEXT).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (37, 11, 8)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (30, 5)
    assert assembled("openai", "responses", sse(*PIECES)).usage is None


def test_stream_reads_the_same_however_it_is_cut():
    assert_same_however_cut("openai", "responses", sse(CREATED, *PIECES[2:], done(WHOLE)))


def test_cut_stream_gives_what_had_arrived():
    assembler = assembled("openai", "responses", sse(*PIECES))
    part = {**PART, "text": "Hi there", "annotations": [URL]}
    assert assembler.message() == {**BASE, "output": [{**MESSAGE, "content": [part]}]}
    assert not assembler.terminal
    assert assembler.model_output
    Response.model_validate(assembler.message())


def test_finished_items_stand_as_they_were_sent():
    assert message(*PIECES[2:], *ENDING[:-1])["output"] == [WHOLE]


@pytest.mark.parametrize("output", [[], None])
def test_end_without_output_is_filled_from_the_items(output: object):
    end = event("response.completed", response={**FINAL, "output": output})
    assert message(*PIECES[2:], *ENDING[:-1], end)["output"] == [WHOLE]


def test_items_stand_by_their_index():
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "n", "arguments": ""}
    answer = message(
        added(call, 1),
        added({"type": "reasoning", "id": "r", "summary": []}, 0),
        event("response.function_call_arguments.delta", item_id="f", output_index=1, delta='{"a"'),
        event("response.function_call_arguments.delta", item_id="f", output_index=1, delta=":1}"),
    )
    assert answer["output"] == [
        {"type": "reasoning", "id": "r", "summary": []},
        {**call, "arguments": '{"a":1}'},
    ]
    Response.model_validate(answer)


def test_reasoning_summary_and_text_are_joined():
    def summary(at: int, delta: str) -> object:
        kind = "response.reasoning_summary_text.delta"
        return event(kind, **ITEM, summary_index=at, delta=delta)

    reasoning = {"type": "reasoning", "id": "r", "summary": [], "content": []}
    built = item(
        added(reasoning),
        event(
            "response.reasoning_summary_part.added",
            **ITEM,
            summary_index=0,
            part={"type": "summary_text", "text": ""},
        ),
        summary(0, "**First"),
        summary(0, "**"),
        summary(1, "Then"),
        event("response.reasoning_text.delta", **ITEM, content_index=0, delta="raw "),
        event("response.reasoning_text.delta", **ITEM, content_index=0, delta="thought"),
    )
    assert built["summary"] == [
        {"type": "summary_text", "text": "**First**"},
        {"type": "summary_text", "text": "Then"},
    ]
    assert built["content"] == [{"type": "reasoning_text", "text": "raw thought"}]


def test_refusal_is_joined():
    built = item(
        added(MESSAGE),
        event("response.refusal.delta", **ITEM, content_index=0, delta="I can"),
        event("response.refusal.delta", **ITEM, content_index=0, delta="not"),
    )
    assert built["content"] == [{"type": "refusal", "refusal": "I cannot"}]


@pytest.mark.parametrize(
    ("kind", "type_name", "field"),
    [
        ("response.mcp_call_arguments.delta", "mcp_call", "arguments"),
        ("response.custom_tool_call_input.delta", "custom_tool_call", "input"),
        ("response.code_interpreter_call_code.delta", "code_interpreter_call", "code"),
    ],
)
def test_tool_inputs_are_joined(kind: str, type_name: str, field: str):
    built = item(event(kind, **ITEM, delta="print("), event(kind, **ITEM, delta="1)"))
    assert built == {"id": "i", "type": type_name, field: "print(1)"}


def test_shell_commands_are_joined_by_their_index():
    shell = {"type": "shell_call", "id": "s", "call_id": "c", "action": {"commands": []}}
    kind = "response.shell_call_command.delta"
    built = item(
        added(shell),
        event(kind, output_index=0, command_index=0, delta="ls"),
        event(kind, output_index=0, command_index=1, delta="pwd"),
        event(kind, output_index=0, command_index=0, delta=" -l"),
    )
    assert built["action"] == {"commands": ["ls -l", "pwd"]}


def test_partial_image_is_kept_until_the_whole_comes():
    image = {"type": "image_generation_call", "id": "ig", "status": "in_progress", "result": None}
    partial = event(
        "response.image_generation_call.partial_image",
        **ITEM,
        partial_image_index=0,
        partial_image_b64="iVBO",
    )
    built = item(added(image), partial)
    assert built == {**image, "partial_image_b64": "iVBO"}
    finished = {**image, "status": "completed", "result": "iVBORw0KGgo"}
    assert item(added(image), partial, done(finished)) == finished
    assert assembled("openai", "responses", sse(partial)).model_output


def test_status_events_tell_how_far_a_tool_is():
    search = {"type": "web_search_call", "id": "ws", "status": "in_progress"}
    built = item(added(search), event("response.web_search_call.searching", **ITEM))
    assert built["status"] == "searching"


def test_status_after_the_item_is_done_changes_nothing():
    search = {"type": "web_search_call", "id": "ws", "status": "completed"}
    assert item(done(search), event("response.web_search_call.searching", **ITEM)) == search


def test_failed_response_is_an_end_and_an_error():
    failed = {**BASE, "status": "failed", "error": {"code": "server_error", "message": "Oops"}}
    stream = sse(*PIECES, event("response.failed", response=failed))
    assembler = assembled("openai", "responses", stream)
    assert assembler.terminal
    assert assembler.error == ErrorInfo("server_error", "Oops", "server_error")
    assert assembler.message()["output"][0]["content"][0]["text"] == "Hi there"


def test_failed_response_without_a_reason_is_an_error():
    end = event("response.failed", response={**BASE, "status": "failed"})
    assert assembled("openai", "responses", sse(end)).error == ErrorInfo(None, None)


def test_incomplete_response_is_an_end_without_an_error():
    details = {"reason": "max_output_tokens"}
    response = {**FINAL, "status": "incomplete", "incomplete_details": details}
    stream = sse(CREATED, event("response.incomplete", response=response))
    assembler = assembled("openai", "responses", stream)
    assert assembler.terminal
    assert assembler.error is None
    assert assembler.usage is not None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"code": "rate_limit_exceeded", "message": "Slow down", "param": None},
            ErrorInfo("rate_limit_exceeded", "Slow down", "rate_limit_exceeded"),
        ),
        (
            {"error": {"type": "invalid_request_error", "code": "x", "message": "No"}},
            ErrorInfo("invalid_request_error", "No", "x"),
        ),
    ],
)
def test_error_event_is_an_end(fields: dict[str, object], expected: ErrorInfo):
    assembler = assembled("openai", "responses", sse(CREATED, event("error", **fields)))
    assert assembler.error == expected
    assert assembler.terminal


def test_lifecycle_events_are_no_model_output():
    stream = sse(CREATED, event("response.queued", response=BASE), added(MESSAGE))
    assert not assembled("openai", "responses", stream).model_output


def test_unknown_events_are_ignored():
    assert message(event("response.from_the_future", x=1), event("keepalive")) == BASE


def test_far_index_takes_no_memory():
    built = item(event("response.output_text.delta", **ITEM, content_index=10**12, delta="x"))
    assert built["content"] == [{"type": "output_text", "text": "x"}]
    assert built["role"] == "assistant"
