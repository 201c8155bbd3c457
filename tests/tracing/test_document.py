"""What a document says of an exchange."""

from __future__ import annotations

import gzip
import json
import time

import orjson
import pytest

from src.models.trace import TraceDocument
from src.tracing.document import Documents
from src.utils.redaction import MASK_TEXT
from tests.tracing.building import build, build_document, recorded
from tests.tracing.support import CHAT_ANSWER, CHAT_REQUEST, KEY, compact


def test_a_small_exchange_in_one_look() -> None:
    document = build()
    assert document["summary"] == {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "operation": "chat",
        "status": 200,
        "duration_ms": 501.0,
        "ttft_ms": None,
        "input_tokens": 12,
        "output_tokens": 34,
        "cost_usd": 0.0000222,  # 12 at $0.15 and 34 at $0.60 a million, 2026-11-21
        "cause": "ok",
    }
    assert document["response"]["body"]["value"] == CHAT_ANSWER
    assert document["request"]["body"]["value"] == CHAT_REQUEST
    assert document["tags"] == ["a tag"]


def test_it_is_indented_with_a_header_and_an_event_to_a_line() -> None:
    text = build_document().data.decode()
    assert '\n      ["Host", "127.0.0.1:3000"],\n' in text
    assert text.startswith('{\n  "schema": "llmtap/1",\n  "id": ')
    assert text.endswith("}\n")
    nested = json.dumps(CHAT_REQUEST, indent=2).replace("\n", "\n      ")
    assert nested in text, "a body is indented as deep as it stands"


@pytest.mark.parametrize(
    ("kwargs", "last"),
    [
        ({}, "200"),
        ({"status": 429, "cause": "upstream_error"}, "429"),
        ({"answered": False, "cause": "client_disconnected", "phase": "headers"}, "ERR"),
        ({"cause": "client_disconnected", "phase": "body"}, "CUT"),
        ({"cause": "upstream_reset", "phase": "body"}, "CUT"),
        ({"status": 502, "cause": "upstream_eof", "phase": "headers"}, "502"),
        ({"status": 401, "cause": "rejected"}, "401"),
        ({"killed": True}, "CUT"),
        ({"killed": True, "answered": False}, "ERR"),
    ],
)
def test_the_files_name_shows_the_failures(kwargs: dict, last: str) -> None:
    document = build_document(**kwargs)
    assert document.name.removesuffix(".json").rpartition("_")[2] == last
    assert document.day == "2026-11-18"


def test_an_answer_of_400_or_more_is_the_upstreams_error() -> None:
    answer = compact({"error": {"message": "slow down", "type": "rate_limit", "code": "x"}})
    document = build(chunks=[answer], status=429)
    assert document["termination"]["cause"] == "upstream_error"
    assert document["error"] == {
        "source": "upstream",
        "type": "rate_limit",
        "message": "slow down",
        "status": 429,
    }
    assert document["gen_ai"]["error.type"] == "rate_limit"


def test_an_error_page_without_json_is_an_error_too() -> None:
    document = build(chunks=[b"<h1>Bad gateway"], status=502, content_type=b"text/html")
    assert document["error"]["source"] == "upstream"
    assert document["error"]["status"] == 502


def test_the_proxys_own_refusal_is_told_as_such() -> None:
    error = ("proxy", "rate_limited", "too many", 429)
    document = build(status=429, cause="rejected", forwarded=False, error=error)
    assert document["summary"]["cause"] == "rejected"
    assert document["error"]["source"] == "proxy"
    assert document["forwarded"] is None
    assert document["upstream"]["request_id"] is None


def test_a_request_in_flight_when_the_proxy_was_killed() -> None:
    document = build(killed=True)
    assert document["state"] == "recovered"
    assert document["termination"]["cause"] == "crash"
    assert document["timing"]["finished_ms"] is None
    assert document["timing"]["first_byte_ms"] == 500.0


def test_overhead_is_what_the_proxy_itself_took() -> None:
    # 1 ms for the body to arrive, 8 ms to connect and 2 ms of its own until sent. The 1 ms behind
    # the last byte went by until the upstream said that it was the last.
    assert build()["timing"]["overhead_ms"] == pytest.approx(2, abs=0.01)


def test_times_are_since_the_head_was_received() -> None:
    timing = build()["timing"]
    assert timing["received_at"] == "2026-11-18T11:06:40.123456Z"
    assert timing["upstream_connect_ms"] == 10.0
    assert timing["upstream_sent_ms"] == 11.0
    assert timing["upstream_headers_ms"] == 400.0


def test_nothing_changed_but_the_host_proves_transparency() -> None:
    changes = (((b"Host", b"127.0.0.1:3000"),), ((b"Host", b"up"),), False, False, None, False)
    forwarded = build(changes=changes)["forwarded"]
    assert forwarded["changed"] is False
    assert forwarded["header_changes"] == [
        {"name": "Host", "change": "replaced", "reason": "the upstream's own"}
    ]
    assert forwarded["sha256_in"] == forwarded["sha256_out"]


def test_a_replaced_credential_is_a_change_without_its_value() -> None:
    gone, new = ((b"Authorization", b"\x001"),), ((b"Authorization", b"\x002"),)
    document = build(changes=(gone, new, False, False, None, False))
    assert document["forwarded"]["changed"] is True
    assert document["forwarded"]["header_changes"][0]["change"] == "replaced"


@pytest.mark.parametrize(
    "changes",
    [
        ((), ((b"X-Team", b"a"),), False, False, None, False),
        (((b"Content-Type", b"application/json"),), (), False, False, None, False),
        ((), (), True, False, None, False),
        ((), (), False, True, "0" * 64, False),
        ((), (), False, False, None, True),
    ],
    ids=["added", "removed", "repeated", "body", "path"],
)
def test_any_other_difference_is_a_change(changes: tuple) -> None:
    document = build(changes=changes)
    assert document["forwarded"]["changed"] is True


def test_an_echoed_secret_is_masked_wherever_it_turns_up() -> None:
    key = KEY.decode()
    answer = {"error": {"message": f"bad key {key}", f"{key}": 1}, "list": [key, {"a": key}]}
    document = build(
        chunks=[compact(answer)],
        status=401,
        secrets=[b"Bearer " + KEY, KEY],
        response_headers=[(b"x-echo", KEY)],
        error=("upstream", "e", f"bad key {key}", 401),
    )
    assert key not in json.dumps(document)
    assert document["error"]["message"] == f"bad key {MASK_TEXT}"
    assert "/error/message" in document["redactions"]
    assert "/response/body/value/list/1/a" in document["redactions"]
    assert ["x-echo", MASK_TEXT] in document["response"]["headers"]


def test_a_secret_that_is_written_in_other_ways_is_found_too() -> None:
    secret = b'pa"ss\\wo/rd-\xc3\xa9'
    text = orjson.dumps({"a": secret.decode(), "b": orjson.dumps(secret.decode()).decode()})
    escaped = text.replace(b"/", b"\\/")
    document = build(chunks=[escaped], secrets=[secret])
    assert "wo/rd" not in json.dumps(document)


SLASHED = b"kE9/abcdefgh+ijklmnopqrstuvwxyz="


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(
    ("secret", "spelled"),
    [
        (KEY, KEY.decode().replace("a", "\\u0061", 1)),
        (KEY, "".join(f"\\u{ord(c):04x}" for c in KEY.decode()[:15]) + KEY.decode()[15:]),
        (SLASHED, SLASHED.decode().replace("/", "\\/")),
        (SLASHED, SLASHED.decode().replace("+", "\\u002B").replace("=", "\\u003D")),
        (SLASHED, SLASHED.decode().replace("/", "\\u002f").replace("+", "\\u002b")),
    ],
)
def test_a_secret_spelled_with_escapes_in_json_within_json_is_masked(
    secret: bytes, spelled: str, depth: int
) -> None:
    arguments = f'{{"key": "{spelled}"}}'
    for _ in range(depth - 1):
        arguments = json.dumps({"inner": arguments})
    assert secret.decode() not in arguments
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answered = {"id": "c", "choices": [{"index": 0, "message": message}]}
    document = build(chunks=[compact(answered)], secrets=[b"Bearer " + secret, secret])
    body = document["response"]["body"]["value"]
    kept = body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert kept == arguments.replace(escaped(spelled, depth - 1), MASK_TEXT)
    assert MASK_TEXT in kept
    pointer = "/response/body/value/choices/0/message/tool_calls/0/function/arguments"
    assert document["redactions"] == ["/request/headers/1/1", pointer]


def escaped(text: str, times: int) -> str:
    return text if times == 0 else json.dumps(escaped(text, times - 1))[1:-1]


def test_a_secret_spelled_with_escapes_in_an_event_is_masked() -> None:
    event = b'data: {"a":"' + KEY.replace(b"k", b"\\u006b", 1) + b'"}\n\n'
    document = build(chunks=[event], content_type=b"text/event-stream", secrets=[KEY])
    assert document["stream"]["events"][0]["raw"] == 'data: {"a":"[REDACTED]"}\n\n'
    assert "/stream/events/0/raw" in document["redactions"]


def test_what_ends_as_a_secret_does_is_left_alone() -> None:
    text = "sk-" + KEY.decode()[-18:]
    document = build(chunks=[compact({"a": text})], secrets=[KEY])
    assert document["response"]["body"]["value"] == {"a": text}
    assert document["redactions"] == ["/request/headers/1/1"]


def test_escapes_by_the_megabyte_hold_nobody_up() -> None:
    body = compact({"a": KEY.decode()[1:], "b": "\\" * 500_000, "c": "\\u0073" * 100_000})
    secrets = [b"%s-%d" % (KEY, n) for n in range(100)] + [KEY[:9] + b"x" * 60_000, KEY]
    started = time.process_time()
    build(body, secrets=secrets)
    assert time.process_time() - started < 2


def test_a_masked_document_still_reads_well() -> None:
    data = build_document(chunks=[compact({"a": KEY.decode()})], secrets=[KEY]).data.decode()
    assert '\n      ["Host", "127.0.0.1:3000"],\n' in data


def test_a_secret_that_is_a_word_of_ours_does_not_break_the_trace() -> None:
    document = build(secrets=[b'"status"', b"complete", b"llmtap/1", b"recovered"])
    assert document["schema"] == "llmtap/1"
    assert document["state"] == "complete"


@pytest.mark.parametrize(
    "word", ["truncated", "content_type", "http_version", "anthropic", "rejected"]
)
def test_a_secret_that_is_a_word_of_the_schema_leaves_it_valid(word: str) -> None:
    error = ("proxy", word, word, 401)
    document = build(
        compact({"a": {word: word}}),
        secrets=[word.encode()],
        error=error,
        kind="anthropic",
        cause="rejected",
        ext=compact({"mine": {word: 1}}),
    )
    TraceDocument.model_validate(document)
    assert document["request"]["body"]["value"] == {"a": {MASK_TEXT: MASK_TEXT}}
    assert document["ext"] == {"mine": {MASK_TEXT: 1}}
    assert (document["error"]["type"], document["error"]["source"]) == (MASK_TEXT, "proxy")


def test_a_compressed_body_is_left_out_where_it_cannot_be_searched() -> None:
    packed = gzip.compress(b'{"a":1}')
    document = build(
        chunks=[packed], response_headers=[(b"content-encoding", b"gzip")], searchable=False
    )
    body = document["response"]["body"]
    assert body["kind"] == "omitted"
    assert "secrets" in body["truncated"]["reason"]
    assert body["sha256"]


@pytest.mark.parametrize(
    "answer",
    [
        {"usage": {"prompt_tokens": 1 << 70}},
        {"usage": "none"},
        {"choices": "x", "usage": None},
        [],
        {"choices": [None], "model": 5},
        {"usage": {"prompt_tokens": -1, "completion_tokens": 1.5}},
    ],
)
def test_strange_answers_make_a_document(answer: object) -> None:
    assert build(chunks=[json.dumps(answer).encode()])["summary"]["status"] == 200


@pytest.mark.parametrize(
    "text",
    [b'{"usage":{"prompt_tokens":3,"x":NaN}}', b'{"usage":{"prompt_tokens":3,"s":"\\ud800"}}'],
)
def test_usage_is_read_from_answers_that_are_only_nearly_json(text: bytes) -> None:
    document = build(chunks=[text])
    assert document["summary"]["input_tokens"] == 3
    assert document["response"]["body"]["value"].encode() == text


def test_gen_ai_attributes_have_the_names_of_the_conventions() -> None:
    asked = {**CHAT_REQUEST, "stop": "x", "top_p": 0.5, "seed": 3, "n": 2, "stream": False}
    attributes = build(compact(asked))["gen_ai"]
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "openai"
    assert attributes["gen_ai.request.max_tokens"] == 256
    assert attributes["gen_ai.request.stop_sequences"] == ["x"]
    assert attributes["gen_ai.request.choice.count"] == 2
    assert attributes["gen_ai.response.id"] == "chatcmpl-AbC123"
    assert attributes["gen_ai.usage.output_tokens"] == 34


def test_middlewares_additions_stand_under_ext() -> None:
    assert build(ext=b'{"auth": {"user": "u1"}}')["ext"] == {"auth": {"user": "u1"}}


def test_bodies_can_be_left_out_with_a_reason() -> None:
    document = json.loads(Documents().build(recorded(), "no room").data)
    body = document["request"]["body"]
    assert (body["kind"], body["value"]) == ("omitted", None)
    assert body["truncated"]["reason"] == "no room"
    assert body["wire_bytes"] > 1000


def test_a_conversation_is_followed_from_request_to_request() -> None:
    documents = Documents()
    first = json.loads(documents.build(recorded()).data)
    more = {"role": "assistant", "content": "x"}
    asked = {**CHAT_REQUEST, "messages": [*CHAT_REQUEST["messages"], more, more]}
    second = json.loads(documents.build(recorded(compact(asked))).data)
    assert second["session"] == {
        "id": first["id"],
        "source": "lineage",
        "parent_id": first["id"],
    }


def test_other_paths_than_inference_have_no_lineage() -> None:
    session = build(b"", method=b"GET", target=b"/v1/models")["session"]
    assert session == {"id": None, "source": None, "parent_id": None}
