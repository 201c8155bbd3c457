"""A trace as a conversation for people."""

from __future__ import annotations

from typing import Any

from src.views.talk import talk
from tests.record.kit import body, example
from tests.support.session import Talk


def shown(trace: dict[str, Any], **options: bool) -> str:
    return "\n".join(line.text for line in talk(trace, **options))


def asking(value: dict[str, Any], message: object = None) -> dict[str, Any]:
    trace = example()
    trace["request"]["body"] = body(value)
    trace["response"]["message"] = message
    return trace


def test_the_example_reads_as_a_story() -> None:
    text = shown(example())
    places = [
        "01M7YP3ZJM4CHZY65DPDCSG3Y9",
        "POST /v1/messages?beta=true",
        "anthropic · claude-sonnet-4-5 · messages",
        "session 6f1c2b0e (x-claude-code-session-id)",
        "max_tokens=64",
        "── user\n  What is in this folder?",
        "── answer\n  → Bash toolu_01\n    command: ls -la",
        "200 ok in done",
        "took 424 ms · first token 333 ms",
        "tokens 1,812 in (1,800 from the cache), 31 out",
    ]
    assert [text.find(place) for place in places] == sorted(text.find(place) for place in places)
    assert all(place in text for place in places)


def test_results_are_named_by_their_calls() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "Grep", "input": {"pattern": "a\nb", "n": 3}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "found"}
    messages = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    text = shown(asking({"messages": messages}))
    assert "  → Grep t1\n    pattern: \n    a\n    b\n    n: 3" in text
    assert "── tool\n  ← Grep t1\n    found" in text


def test_long_parts_are_folded_with_a_count() -> None:
    trace = asking({"system": "\n".join(f"rule {n}" for n in range(100)), "messages": []})
    text = shown(trace)
    assert "rule 5" in text
    assert "rule 6\n" not in text
    assert "more characters, 94 lines" in text
    full = shown(trace, full=True)
    assert "rule 99" in full
    assert "more characters" not in full


def test_the_middle_of_a_long_session_is_counted() -> None:
    talk_ = Talk(30, 30_000)
    for number in range(30):
        trace = talk_.trace(number, None)
    text = shown(trace)
    assert "… 50 messages with 25 tool calls" in text
    assert text.count("\n── ") == 11  # system, the first, the last eight, the answer
    assert shown(trace, full=True).count("\n── ") == 61


def test_thinking_images_refusals_and_unknown_blocks() -> None:
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
        {"type": "novelty", "x": 1},
    ]
    text = shown(asking({"messages": [{"role": "user", "content": content}]}))
    assert "  [thinking]\n    hm" in text
    assert "  [image: https://x.test/a.png]" in text
    assert '  [novelty]\n    {"type":"novelty","x":1}' in text


def test_several_answers_are_numbered() -> None:
    choice = {"message": {"role": "assistant", "content": "x"}}
    text = shown(asking({"messages": []}, {"choices": [choice, choice]}))
    assert "── answer 1" in text
    assert "── answer 2" in text


def test_errors_retries_and_how_it_ended() -> None:
    trace = example()
    trace["summary"]["status"] = None
    trace["termination"] = {"cause": "connect_failed", "phase": "connect", "detail": "refused"}
    trace["error"] = {"source": "proxy", "type": None, "message": "no way", "status": 502}
    tried = {"key_label": "k1", "started_ms": 1.0, "status": None, "error": "refused", "wait_ms": 0}
    trace["upstream"]["attempts"] = [tried, tried]
    trace["response"] = trace["stream"] = None
    text = shown(trace)
    assert "no answer connect_failed in connect: refused" in text
    assert "error no way (proxy)" in text
    assert "try 2 with k1 at 1.0 ms: refused" in text


def test_an_answer_that_is_no_conversation_is_told_by_its_size() -> None:
    trace = asking({"input": "say"})
    trace["stream"] = None
    kept = {"wire_bytes": 9000, "content_type": "audio/mpeg"}
    trace["response"]["body"] = body("x.bin", "file", **kept)
    assert "── answer: audio/mpeg, 9,000 bytes (--raw response shows them)" in shown(trace)


def test_nothing_of_a_trace_moves_the_cursor() -> None:
    bad = "\x1b[2J\x9b31m\u202egnp.exe\r\x07"
    trace = asking({"system": bad, bad: bad, "messages": [{"role": bad, "content": bad}]})
    trace["request"]["path"] = trace["request"]["query"] = bad
    trace["summary"]["model"] = trace["client"]["user_agent"] = bad
    trace["error"] = {"source": "upstream", "type": bad, "message": bad, "status": 500}
    for full in (False, True):
        text = shown(trace, full=full)
        assert "\\x1b[2J" in text
        assert not set(text) & set("\x1b\x9b\u202e\r\x07")


def test_what_was_archived_is_told_as_not_kept() -> None:
    trace = asking({})
    gone = {"reason": "older than keep_bodies_days", "kept_bytes": 0}
    for side in ("request", "response"):
        trace[side]["body"] |= {"kind": "omitted", "value": None, "truncated": gone}
        trace[side]["body"]["wire_bytes"] = 1234
    text = shown(trace)
    assert "── request: 1,234 bytes, not kept: older than keep_bodies_days" in text
    assert "── answer: 1,234 bytes, not kept: older than keep_bodies_days" in text
    assert "--raw" not in text
    assert "--events" not in text
