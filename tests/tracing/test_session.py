from __future__ import annotations

import json

import pytest

from src.tracing.session import Lineage, named_session

UUID = "0d5c9c1e-7f6b-4d50-9a52-3f6e6b0b8f10"
FULL_HEADERS = {
    b"x-llmtap-session": b"ours",
    b"x-claude-code-session-id": b"claude",
    b"session-id": b"codex",
    b"session_id": b"old codex",
    b"x-session-id": b"plain",
    b"x-session-affinity": b"affine",
}
FULL_BODY = {
    "metadata": {"user_id": f"user_abc_account__session_{UUID}"},
    "prompt_cache_key": "cache",
    "conversation": {"id": "conv"},
}
ORDER = [
    ("x-llmtap-session", "ours"),
    ("x-claude-code-session-id", "claude"),
    ("metadata.user_id", UUID),
    ("session-id", "codex"),
    ("session_id", "old codex"),
    ("x-session-id", "plain"),
    ("x-session-affinity", "affine"),
    ("prompt_cache_key", "cache"),
    ("conversation", "conv"),
]


@pytest.mark.parametrize("index", range(len(ORDER)))
def test_the_first_that_is_there_names_the_session(index: int) -> None:
    missing = [source for source, _ in ORDER[:index]]
    headers = {k: v for k, v in FULL_HEADERS.items() if k.decode() not in missing}
    body = {k: v for k, v in FULL_BODY.items() if not any(m.startswith(k) for m in missing)}
    source, value = ORDER[index]
    assert named_session(headers, body) == (value, source)


def test_claude_codes_user_id_in_its_json_form() -> None:
    user = json.dumps({"device_id": "d", "session_id": UUID})
    assert named_session({}, {"metadata": {"user_id": user}}) == (UUID, "metadata.user_id")


@pytest.mark.parametrize(
    "user", ["somebody", "{not json", "{}", 7, None, '{"session_id": 5}', "_session_"]
)
def test_a_user_id_without_a_session_names_none(user: object) -> None:
    assert named_session({}, {"metadata": {"user_id": user}}) == (None, None)


@pytest.mark.parametrize("body", [None, [], "x", {"metadata": []}, {"conversation": 5}])
def test_strange_bodies_name_none(body: object) -> None:
    assert named_session({}, body) == (None, None)


def turn(role: str, text: str, **more: object) -> dict[str, object]:
    return {"role": role, "content": text, **more}


FIRST = [turn("user", "hello")]
SECOND = [*FIRST, turn("assistant", "hi"), turn("user", "more")]
THIRD = [*SECOND, turn("assistant", "ok"), turn("user", "end")]


def place(lineage: Lineage, trace: str, messages: list, client: str = "c", model: str = "m"):
    return lineage.place(client, model, {"messages": messages}, trace, None)


def test_a_request_that_continues_another_is_its_child() -> None:
    lineage = Lineage()
    assert place(lineage, "A", FIRST) == ("A", None)
    assert place(lineage, "B", SECOND) == ("A", "A")
    assert place(lineage, "C", THIRD) == ("A", "B"), "the longest prefix is the parent"


def test_the_same_first_message_does_not_make_one_session() -> None:
    lineage = Lineage()
    place(lineage, "A", FIRST)
    assert place(lineage, "B", FIRST) == ("B", None)


def test_the_latest_of_equals_is_the_parent() -> None:
    lineage = Lineage()
    place(lineage, "A", FIRST)
    place(lineage, "B", FIRST)
    assert place(lineage, "C", SECOND) == ("B", "B")


@pytest.mark.parametrize("other", [{"client": "d"}, {"model": "n"}])
def test_another_client_or_model_is_another_story(other: dict[str, str]) -> None:
    lineage = Lineage()
    place(lineage, "A", FIRST)
    assert place(lineage, "B", SECOND, **other) == ("B", None)


def test_cache_marks_move_and_do_not_matter() -> None:
    lineage = Lineage()
    place(lineage, "A", [turn("user", "hello", cache_control={"type": "ephemeral"})])
    assert place(lineage, "B", SECOND) == ("A", "A")


@pytest.mark.parametrize("field", ["messages", "input", "contents"])
def test_every_providers_list_of_messages_counts(field: str) -> None:
    lineage = Lineage()
    lineage.place("c", "m", {field: FIRST}, "A", None)
    assert lineage.place("c", "m", {field: SECOND}, "B", None) == ("A", "A")


def test_a_named_session_keeps_its_name_and_finds_its_parent() -> None:
    lineage = Lineage()
    lineage.place("c", "m", {"messages": FIRST}, "A", "named")
    assert lineage.place("c", "m", {"messages": SECOND}, "B", "named") == ("named", "A")


def test_it_remembers_a_bounded_number() -> None:
    lineage = Lineage()
    for number in range(6000):
        place(lineage, str(number), [turn("user", str(number))])
        place(lineage, "x", FIRST, client=str(number))
    assert sum(len(table) for table in lineage._clients.values()) < 2048 + 600


def test_a_message_that_is_no_json_for_orjson_is_placed_too() -> None:
    lineage = Lineage()
    assert place(lineage, "A", [{"n": 1 << 80}]) == ("A", None)
