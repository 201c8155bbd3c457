"""What each provider sends: streams as lists of events, and the JSON it would send unstreamed.

The shapes are those of the providers' documentation, shortened to what the program reads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

WORDS = ("The", " tap", " runs", ".")


def dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def data(value: object) -> bytes:
    return b"data: " + dumps(value) + b"\n\n"


def event(name: str, value: object) -> bytes:
    return b"event: " + name.encode() + b"\n" + data(value)


# --- openai ---


def chat_request(case: str = "", *, stream: bool = False, model: str = "gpt-4o") -> bytes:
    request: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": f"hello {case}"}],
    }
    if stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return dumps(request)


def chat_answer(text: str = "".join(WORDS), model: str = "gpt-4o-2024-08-06") -> bytes:
    return dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
        }
    )


def _chat_chunk(delta: object, finish: str | None = None) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        "usage": None,
    }


def chat_events(words: Sequence[str] = WORDS, *, done: bool = True) -> list[bytes]:
    events = [data(_chat_chunk({"role": "assistant", "content": ""}))]
    events += [data(_chat_chunk({"content": word})) for word in words]
    if done:
        last = _chat_chunk({}) | {
            "choices": [],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": len(words),
                "total_tokens": 9 + len(words),
                "prompt_tokens_details": {"cached_tokens": 3},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
        }
        events += [data(_chat_chunk({}, "stop")), data(last), b"data: [DONE]\n\n"]
    return events


OPENAI_ERROR = dumps(
    {"error": {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "rl"}}
)
OPENAI_STREAM_ERROR = data({"error": {"message": "it broke", "type": "server_error", "code": None}})


# --- anthropic ---


def messages_request(case: str = "", *, stream: bool = False) -> bytes:
    return dumps(
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 64,
            "messages": [{"role": "user", "content": f"hello {case}"}],
            "stream": stream,
        }
    )


def messages_events(words: Sequence[str] = WORDS, *, done: bool = True) -> list[bytes]:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 2,
            "cache_read_input_tokens": 3,
            "output_tokens": 1,
        },
    }
    block = {"type": "text", "text": ""}
    events = [
        event("message_start", {"type": "message_start", "message": message}),
        event(
            "content_block_start",
            {"type": "content_block_start", "index": 0, "content_block": block},
        ),
        event("ping", {"type": "ping"}),
    ]
    for word in words:
        delta = {"type": "text_delta", "text": word}
        events.append(
            event(
                "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
            )
        )
    if done:
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        events += [
            event("content_block_stop", {"type": "content_block_stop", "index": 0}),
            event(
                "message_delta",
                {"type": "message_delta", "delta": end, "usage": {"output_tokens": 7}},
            ),
            event("message_stop", {"type": "message_stop"}),
        ]
    return events


ANTHROPIC_STREAM_ERROR = event(
    "error",
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
)


# --- gemini ---


def gemini_request(case: str = "") -> bytes:
    return dumps({"contents": [{"role": "user", "parts": [{"text": f"hello {case}"}]}]})


def _gemini_piece(text: str, *, last: bool = False) -> dict[str, object]:
    candidate: dict[str, object] = {
        "content": {"role": "model", "parts": [{"text": text}]},
        "index": 0,
    }
    if last:
        candidate["finishReason"] = "STOP"
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 8,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 2,
            "totalTokenCount": 14,
        },
        "modelVersion": "gemini-2.5-flash",
    }


def gemini_events(words: Sequence[str] = WORDS, *, done: bool = True) -> list[bytes]:
    ends = [False] * (len(words) - 1) + [done]
    return [
        b"data: " + dumps(_gemini_piece(word, last=last)) + b"\r\n\r\n"
        for word, last in zip(words, ends, strict=True)
    ]


# --- ollama ---


def ollama_request(case: str = "") -> bytes:
    return dumps({"model": "llama3.2", "messages": [{"role": "user", "content": f"hello {case}"}]})


def ollama_lines(words: Sequence[str] = WORDS, *, done: bool = True) -> list[bytes]:
    lines: list[dict[str, object]] = [
        {
            "model": "llama3.2",
            "created_at": "2026-01-01T00:00:00Z",
            "message": {"role": "assistant", "content": word},
            "done": False,
        }
        for word in words
    ]
    if done:
        lines.append(
            {
                "model": "llama3.2",
                "created_at": "2026-01-01T00:00:01Z",
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": 11,
                "eval_count": 4,
                "total_duration": 5,
            }
        )
    return [dumps(line) + b"\n" for line in lines]
