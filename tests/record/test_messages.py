"""Anthropic's messages."""

from __future__ import annotations

from src.record.conversation import Part, Tool, Turn
from tests.record.kit import read


def test_system_as_text_and_as_blocks() -> None:
    assert read("messages", {"system": "a", "messages": []}).system == (Part("text", "a"),)
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": {}}]
    found = read("messages", {"system": blocks, "messages": []})
    assert found.system == (Part("text", "a"), Part("text", "b"))


def test_thinking_calls_and_results() -> None:
    said = [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "xx"},
                {"type": "text", "text": "looking"},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [
                        {"type": "text", "text": "a.py"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                        },
                    ],
                }
            ],
        },
    ]
    found = read("messages", {"messages": said})
    assert found.turns == (
        Turn(
            "assistant",
            (
                Part("thinking", "hm"),
                Part("text", "looking"),
                Part("tool_call", '{"command":"ls"}', "Bash", "t1"),
            ),
        ),
        Turn("tool", (Part("tool_result", "a.py\n[image: image/png, 3 bytes]", None, "t1"),)),
    )


def test_a_result_beside_a_text_is_the_users_turn() -> None:
    content = [
        {"type": "tool_result", "tool_use_id": "t", "content": "x"},
        {"type": "text", "text": "and now?"},
    ]
    (turn,) = read("messages", {"messages": [{"role": "user", "content": content}]}).turns
    assert turn.role == "user"
    assert [part.kind for part in turn.parts] == ["tool_result", "text"]


def test_images_and_documents() -> None:
    content = [
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"},
        },
    ]
    (turn,) = read("messages", {"messages": [{"role": "user", "content": content}]}).turns
    assert turn.parts == (
        Part("image", "https://x.test/a.png"),
        Part("other", "application/pdf, 3 bytes", "document"),
        Part("other", "words", "document"),
    )


def test_server_tools_in_the_answer() -> None:
    answer = {
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]},
            {"type": "redacted_thinking", "data": "xx"},
        ],
    }
    (turn,) = read("messages", {"messages": []}, answer).answer
    assert turn.parts == (
        Part("tool_call", '{"query":"q"}', "web_search", "s"),
        Part("tool_result", '{"url":"u"}', None, "s"),
        Part("other", '{"type":"redacted_thinking","data":"xx"}', "redacted_thinking"),
    )


def test_tools_with_their_schema_and_the_providers_own() -> None:
    tools = [
        {"name": "Bash", "description": "runs", "input_schema": {"type": "object"}},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
    ]
    assert read("messages", {"messages": [], "tools": tools}).tools == (
        Tool("Bash", "runs", '{"type":"object"}'),
        Tool("web_search", "", '{"type":"web_search_20250305","max_uses":5}'),
    )
