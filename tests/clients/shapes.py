"""What the three providers send for the questions of the SDK tests: streamed and not.

The shapes are those on the wire of the real services, shortened. Each answer is exactly what its
events add up to, so a test can hold the one against the other. A request with tools is answered
with a tool call, any other with text.
"""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]
TEXT = "The tap runs, und läuft, and runs."
PIECES = ("The tap", " runs", ", und läuft, and", " runs.")
ARGUMENTS = {"city": "Zürich", "unit": "celsius"}
ARGUMENT_PIECES = ('{"city":', '"Zürich",', '"unit":"cel', 'sius"}')


def sse(value: object, name: str = "") -> bytes:
    event = f"event: {name}\n" if name else ""
    return f"{event}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


# --- openai: chat ---

CHAT_USAGE: Json = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 4,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_CHAT: Json = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4.1-2025-04-14",
    "service_tier": "default",
    "system_fingerprint": "fp_44709d6fcb",
}
_CALL: Json = {
    "id": "call_DdmO9pD3xa9XTPNJ32zg2hcA",
    "type": "function",
    "function": {"name": "get_weather", "arguments": "".join(ARGUMENT_PIECES)},
}


def chat(tools: bool) -> Json:
    message: Json = {"role": "assistant", "content": TEXT, "refusal": None}
    if tools:
        message |= {"content": None, "tool_calls": [_CALL]}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "tool_calls" if tools else "stop",
    }
    return _CHAT | {"choices": [choice], "usage": CHAT_USAGE}


def chat_events(tools: bool, usage: bool) -> list[bytes]:
    deltas: list[Json] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": piece} for piece in PIECES]
    if tools:
        first = _CALL | {"index": 0, "function": {"name": "get_weather", "arguments": ""}}
        deltas = [{"role": "assistant", "content": None, "tool_calls": [first], "refusal": None}]
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            for piece in ARGUMENT_PIECES
        ]
    finish = "tool_calls" if tools else "stop"
    choices: list[Json] = [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish})
    extra = {"usage": None} if usage else {}
    chunks = [_chat_chunk([choice]) | extra for choice in choices]
    if usage:
        chunks.append(_chat_chunk([]) | {"usage": CHAT_USAGE})
    return [*(sse(chunk) for chunk in chunks), b"data: [DONE]\n\n"]


def _chat_chunk(choices: list[Json]) -> Json:
    return _CHAT | {"object": "chat.completion.chunk", "choices": choices, "obfuscation": "x7Gq"}


# --- openai: responses, embeddings ---

RESPONSES_USAGE: Json = {
    "input_tokens": 37,
    "input_tokens_details": {"cached_tokens": 16},
    "output_tokens": 11,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 48,
}


def responses(tools: bool, *, status: str = "completed") -> Json:
    done = status == "completed"
    return {
        "id": "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
        "object": "response",
        "created_at": 1741476542,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "gpt-4.1-2025-04-14",
        "output": [_response_item(tools, status)] if done else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": RESPONSES_USAGE if done else None,
        "user": None,
        "metadata": {},
    }


def _response_item(tools: bool, status: str) -> Json:
    done = status == "completed"
    if tools:
        return {
            "id": "fc_67ca09c6bedc8190a7abfec07b1a1332096610f474011cc0",
            "type": "function_call",
            "status": status,
            "call_id": "call_unLAR8MvFNptuiZK6K6HCy5k",
            "name": "get_weather",
            "arguments": "".join(ARGUMENT_PIECES) if done else "",
        }
    text = {"type": "output_text", "text": TEXT, "annotations": []}
    return {
        "id": "msg_67ccd2bf17f0819081ff3bb2cf6508e60bb6a6b452d3795b",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [text] if done else [],
    }


_AT: Json = {"output_index": 0}


def responses_events(tools: bool) -> list[bytes]:
    begun = {"response": responses(tools, status="in_progress")}
    events: list[tuple[str, Json]] = [
        ("response.created", begun),
        ("response.in_progress", begun),
        ("response.output_item.added", _AT | {"item": _response_item(tools, "in_progress")}),
        *(_call_events() if tools else _text_events()),
        ("response.output_item.done", _AT | {"item": _response_item(tools, "completed")}),
        ("response.completed", {"response": responses(tools)}),
    ]
    return [
        sse({"type": name, "sequence_number": number, **rest}, name)
        for number, (name, rest) in enumerate(events)
    ]


def _call_events() -> list[tuple[str, Json]]:
    item = _AT | {"item_id": _response_item(True, "completed")["id"]}
    name = "response.function_call_arguments"
    deltas = [(f"{name}.delta", item | {"delta": piece}) for piece in ARGUMENT_PIECES]
    return [*deltas, (f"{name}.done", item | {"arguments": "".join(ARGUMENT_PIECES)})]


def _text_events() -> list[tuple[str, Json]]:
    at = _AT | {"item_id": _response_item(False, "completed")["id"], "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    return [
        ("response.content_part.added", at | {"part": part}),
        *(("response.output_text.delta", at | {"delta": p, "logprobs": []}) for p in PIECES),
        ("response.output_text.done", at | {"text": TEXT, "logprobs": []}),
        ("response.content_part.done", at | {"part": part | {"text": TEXT}}),
    ]


EMBEDDINGS: Json = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 5, "total_tokens": 5},
}


# --- anthropic ---

MESSAGES_USAGE: Json = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 3,
    "cache_read_input_tokens": 20,
    "output_tokens": 9,
}
COUNT_TOKENS: Json = {"input_tokens": 35}


def messages(tools: bool) -> Json:
    content: list[Json] = [{"type": "text", "text": TEXT}]
    if tools:
        content.append(_TOOL_USE | {"input": ARGUMENTS})
    return _message(content, "tool_use" if tools else "end_turn", MESSAGES_USAGE)


_TOOL_USE: Json = {
    "type": "tool_use",
    "id": "toolu_01A09q90qw90lq917835lq9",
    "name": "get_weather",
    "input": {},
}


def _message(content: list[Json], stop: str | None, usage: Json) -> Json:
    return {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }


def messages_events(tools: bool) -> list[bytes]:
    first = _message([], None, MESSAGES_USAGE | {"output_tokens": 1})
    events: list[Json] = [{"type": "message_start", "message": first}]
    texts = [{"type": "text_delta", "text": piece} for piece in PIECES]
    events += _block(0, {"type": "text", "text": ""}, texts)
    events.insert(2, {"type": "ping"})
    if tools:
        pieces = ("", *ARGUMENT_PIECES)
        parts = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        events += _block(1, _TOOL_USE, parts)
    stop = {"stop_reason": "tool_use" if tools else "end_turn", "stop_sequence": None}
    events.append({"type": "message_delta", "delta": stop, "usage": MESSAGES_USAGE})
    events.append({"type": "message_stop"})
    return [sse(event, event["type"]) for event in events]


def _block(index: int, start: Json, deltas: list[Json]) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


# --- gemini ---

GEMINI_USAGE: Json = {
    "promptTokenCount": 14,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 6,
    "totalTokenCount": 27,
    "cachedContentTokenCount": 4,
}


def generate(tools: bool) -> Json:
    return _piece([_function_call()] if tools else [{"text": TEXT}], "STOP", GEMINI_USAGE)


def _function_call() -> Json:
    return {"functionCall": {"name": "get_weather", "args": ARGUMENTS}}


def _piece(parts: list[Json], finish: str | None, usage: Json) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate | {"index": 0}],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-flash",
        "responseId": "kOYraOe_NbiNz7IPgsCvyAo",
    }


def generate_events(tools: bool) -> list[bytes]:
    if tools:
        return [sse(generate(True))]
    so_far = {"promptTokenCount": 14, "totalTokenCount": 14}
    pieces = [_piece([{"text": text}], None, so_far) for text in PIECES[:-1]]
    pieces.append(_piece([{"text": PIECES[-1]}], "STOP", GEMINI_USAGE))
    return [sse(piece) for piece in pieces]
