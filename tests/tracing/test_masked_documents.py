"""Documents under rules: nothing that is to be masked is anywhere in them, however it was cut."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.tracing.document import Documents
from src.tracing.rules import Masker, MaskRules
from tests.support import bodies
from tests.tracing.building import recorded

# Letters that stand nowhere else: a single one of them in a trace is a leak.
SECRET = "ЖЗИЙКЛ"
TEXT = f"write to {SECRET} now, {SECRET}!"
MASKED = "write to [REDACTED] now, [REDACTED]!"
SECRET_RULE = MaskRules(patterns=(SECRET,))

SSE, NDJSON, JSON = b"text/event-stream", b"application/x-ndjson", b"application/json"


def responses_events(words: Sequence[str]) -> list[bytes]:
    part = {"item_id": "m1", "output_index": 0, "content_index": 0}
    item = {"id": "m1", "type": "message", "role": "assistant"}
    whole = {"type": "output_text", "text": "".join(words), "annotations": []}
    done = {**item, "status": "completed", "content": [whole]}
    steps: list[tuple[str, dict[str, object]]] = [
        ("response.created", {"response": {"id": "r1", "output": []}}),
        ("response.output_item.added", {"output_index": 0, "item": {**item, "content": []}}),
        *(("response.output_text.delta", {**part, "delta": word}) for word in words),
        ("response.output_text.done", {**part, "text": "".join(words)}),
        ("response.output_item.done", {"output_index": 0, "item": done}),
        ("response.completed", {"response": {"id": "r1", "output": [done]}}),
    ]
    return [bodies.event(name, {"type": name, **value}) for name, value in steps]


def choices_events(words: Sequence[str]) -> list[bytes]:
    """Two choices that take turns: neither runs into the other."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
    return [
        bodies.data({**chunk, "choices": [{"index": n, "delta": {"content": word}}]})
        for word in words
        for n in (0, 1)
    ] + [b"data: [DONE]\n\n"]


def arguments_events(words: Sequence[str]) -> list[bytes]:
    """A tool call whose arguments come in pieces: JSON within JSON."""
    text = json.dumps({"to": "".join(words)}, ensure_ascii=False)
    cuts = [0, *range(3, len(text), max(1, len(text) // (len(words) or 1))), len(text)]
    block = {"type": "tool_use", "id": "t", "name": "mail", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": text[a:b]} for a, b in pairwise(cuts)]
    steps: list[dict[str, object]] = [
        {"type": "message_start", "message": {"role": "assistant", "content": [], "usage": {}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    return [bodies.event(str(step["type"]), step) for step in steps]


Events = Callable[[Sequence[str]], list[bytes]]
STREAMS: dict[str, tuple[str, bytes, bytes, Events]] = {
    "chat": ("openai", b"/v1/chat/completions", SSE, bodies.chat_events),
    "choices": ("openai", b"/v1/chat/completions", SSE, choices_events),
    "responses": ("openai", b"/v1/responses", SSE, responses_events),
    "messages": ("anthropic", b"/v1/messages", SSE, bodies.messages_events),
    "arguments": ("anthropic", b"/v1/messages", SSE, arguments_events),
    "gemini": ("gemini", b"/v1beta/models/g:streamGenerateContent", SSE, bodies.gemini_events),
    "ollama": ("ollama", b"/api/chat", NDJSON, bodies.ollama_lines),
    "unknown": ("generic", b"/x", SSE, lambda words: [bodies.data({"t": w}) for w in words]),
    "no json": ("generic", b"/x", SSE, lambda words: [f"data: {w}\n\n".encode() for w in words]),
    "bare lines": ("generic", b"/x", NDJSON, lambda words: [f"{w}\n".encode() for w in words]),
}


def build(rules: MaskRules, *args: object, **kwargs: object) -> tuple[str, dict]:
    made = recorded(*args, **kwargs)
    made.masker = Masker(rules)
    text = Documents().build(made).data.decode()
    return text, json.loads(text)


def leaked(text: str) -> set[str]:
    """Which letters of the secret the document holds, as they are or escaped."""
    lower = text.lower()
    return {x for x in SECRET if x in text or f"u{ord(x):04x}" in lower}


def words_of(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]
    return [text[a:b] for a, b in pairwise(places)]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(places) if a < b]


SPLITS_LINES = {"no json", "bare lines"}  # there a match would be cut by what frames the lines


@pytest.mark.parametrize("name", STREAMS)
@given(words=st.lists(st.integers(0, 40), max_size=12), chunks=st.lists(st.integers(0, 9999)))
def test_stream_leaks_no_letter_however_it_is_cut(
    name: str, words: list[int], chunks: list[int]
) -> None:
    kind, target, content_type, events = STREAMS[name]
    data = b"".join(events(words_of(TEXT, [] if name in SPLITS_LINES else words)))
    text, document = build(
        SECRET_RULE,
        chunks=pieces(data, chunks),
        kind=kind,
        target=target,
        content_type=content_type,
    )
    assert not leaked(text)
    assert "[REDACTED]" in "".join(event["raw"] for event in document["stream"]["events"])
    assert any(pointer.startswith("/stream/events/") for pointer in document["redactions"])
    if name not in {"unknown", *SPLITS_LINES}:
        message = json.dumps(document["response"]["message"], ensure_ascii=False)
        assert message.count("[REDACTED]") >= 2
        assert "now, " in message
        assert document["response"]["body"]["sha256"]
        assert document["response"]["body"]["wire_bytes"] == len(data)


@pytest.mark.parametrize("name", ["chat", "messages", "gemini", "ollama", "responses"])
def test_masked_events_still_add_up(name: str) -> None:
    kind, target, content_type, events = STREAMS[name]
    _, document = build(
        SECRET_RULE,
        chunks=events(words_of(TEXT, list(range(40)))),
        kind=kind,
        target=target,
        content_type=content_type,
    )
    assert MASKED in json.dumps(document["response"]["message"])
    assert document["termination"]["cause"] == "ok"
    assert document["stream"]["terminal"]


def test_stream_without_a_match_is_as_it_was() -> None:
    events = bodies.chat_events()
    _, document = build(SECRET_RULE, chunks=events, content_type=SSE)
    assert "".join(e["raw"] for e in document["stream"]["events"]).encode() == b"".join(events)
    assert not [pointer for pointer in document["redactions"] if "stream" in pointer]


def test_compressed_stream_is_masked_too() -> None:
    data = gzip.compress(b"".join(bodies.chat_events(list(TEXT))))
    text, document = build(
        SECRET_RULE,
        chunks=[data],
        content_type=SSE,
        response_headers=[(b"content-encoding", b"gzip")],
    )
    assert not leaked(text)
    assert MASKED in json.dumps(document["response"]["message"])


def test_path_into_a_streamed_message_hides_its_events() -> None:
    rules = MaskRules(paths=("choices[*].message.content",))
    text, document = build(rules, chunks=bodies.chat_events(list(TEXT)), content_type=SSE)
    assert not leaked(text)
    assert {event["raw"] for event in document["stream"]["events"]} == {"[REDACTED]"}
    assert len({event["t"] for event in document["stream"]["events"]}) > 1
    assert document["response"]["message"]["choices"][0]["message"]["content"] == "[REDACTED]"


def test_path_into_an_event_hides_that_alone() -> None:
    rules = MaskRules(paths=("choices[*].delta.content",))
    text, document = build(rules, chunks=bodies.chat_events(list(TEXT)), content_type=SSE)
    assert not leaked(text)
    assert "chat.completion.chunk" in text
    assert document["stream"]["terminal"]


ANSWER = json.dumps({"id": "x", "choices": [{"message": {"content": TEXT}}], "n": 1}).encode()


@pytest.mark.parametrize("escaped", [True, False])
def test_bodies_headers_address_errors_and_ext(escaped: bool) -> None:
    body = json.dumps(
        {"model": f"m-{SECRET}", "metadata": {"user_id": SECRET}, "messages": [{"content": TEXT}]},
        ensure_ascii=escaped,
    ).encode()
    text, document = build(
        SECRET_RULE,
        body,
        [ANSWER],
        target=f"/v1/chat/completions?who={SECRET}".encode(),
        request_headers=[(b"X-Who", SECRET.encode())],
        response_headers=[(b"X-Who", SECRET.encode())],
        error=("upstream", "x", f"no {SECRET}", 400),
        ext=json.dumps({"mine": {"who": SECRET}}).encode(),
    )
    shown = [pointer for pointer in document["redactions"] if "body" in pointer]
    assert "/request/body/value/messages/0/content" in shown
    assert "/response/body/value/choices/0/message/content" in shown
    assert document["summary"]["model"] == "m-[REDACTED]"
    assert document["ext"] == {"mine": {"who": "[REDACTED]"}}
    # Headers and addresses are bytes, which a trace shows as Latin-1: another text.
    for part in ("request", "response"):
        document[part]["headers"] = document[part].get("headers") and []
    assert not leaked(json.dumps({**document, "request": document["request"]["body"]}))
    assert text.startswith("{\n")


def test_headers_and_address_in_plain_letters() -> None:
    rules = MaskRules(kinds=("email",))
    text, document = build(
        rules,
        target=b"/v1/chat/completions?who=jane@example.com",
        request_headers=[(b"X-Who", b"jane@example.com")],
    )
    assert "jane" not in text
    assert ["X-Who", "[REDACTED]"] in document["request"]["headers"]
    assert document["request"]["query"] == "who=[REDACTED]"


def test_path_reaches_what_is_made_of_a_body() -> None:
    user = "user_ab_account__session_0f0f0f0f-1111-2222-3333-444455556666"
    body = json.dumps({"model": "m", "metadata": {"user_id": user}}).encode()
    rules = MaskRules(paths=("metadata.user_id",))
    text, document = build(rules, body, kind="anthropic", target=b"/v1/messages")
    assert "0f0f0f0f" not in text
    assert document["session"]["id"] is None
    assert document["redactions"].count("/request/body/value/metadata/user_id") == 1


@pytest.mark.parametrize(
    ("body", "encoding", "rules"),
    [
        (b'{"a": "cut', None, MaskRules(paths=("a",))),
        (TEXT.encode(), b"rot13", SECRET_RULE),
        (b"\x1f\x8b broken", b"gzip", SECRET_RULE),
    ],
)
def test_what_cannot_be_looked_through_is_left_out(
    body: bytes, encoding: bytes | None, rules: MaskRules
) -> None:
    headers = [(b"content-encoding", encoding)] if encoding else []
    text, document = build(rules, body, request_headers=headers)
    shown = document["request"]["body"]
    assert shown["kind"] == "omitted"
    assert "looked through" in shown["truncated"]["reason"]
    assert shown["sha256"]
    assert not leaked(text)


def test_binary_beside_the_trace_is_masked() -> None:
    body = b"\xff" * 70_000 + b"\0jane@example.com" + b"\xfe" * 9
    made = recorded(body, content_type=JSON)
    made.masker = Masker(MaskRules(kinds=("email",)))
    ((_, data),) = Documents().build(made).files
    assert b"jane" not in data
    assert data.startswith(b"\xff" * 70_000)
