"""The Responses form."""

from __future__ import annotations

from src.record.conversation import Part, Tool, Turn
from tests.clients import shapes
from tests.record.kit import read


def test_a_text_as_input_and_instructions() -> None:
    found = read("responses", {"input": "hello", "instructions": "be brief", "prompt": {"id": "p"}})
    assert found.system == (Part("text", "be brief"),)
    assert found.turns == (Turn("user", (Part("text", "hello"),)),)
    assert found.parameters == {"prompt": '{"id":"p"}'}


def test_items_are_turns() -> None:
    items = [
        {"role": "developer", "content": "rules"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "id": "fc", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "*** Begin"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "done"}],
        },
    ]
    found = read("responses", {"input": items})
    assert found.system == (Part("text", "rules"),)
    assert found.turns == (
        Turn("user", (Part("text", "go"),)),
        Turn("assistant", (Part("thinking", "hm"),)),
        Turn("assistant", (Part("tool_call", "{}", "f", "c1"),)),
        Turn("tool", (Part("tool_result", "42", None, "c1"),)),
        Turn("assistant", (Part("tool_call", "*** Begin", "patch", "c2"),)),
        Turn("tool", (Part("tool_result", "done", None, "c2"),)),
    )


def test_what_the_provider_ran_is_a_call_with_its_result() -> None:
    items = [
        {"type": "web_search_call", "id": "ws", "action": {"type": "search", "query": "q"}},
        {"type": "code_interpreter_call", "id": "ci", "code": "1+1", "outputs": [{"logs": "2"}]},
        {"type": "mcp_call", "id": "m", "name": "find", "arguments": "{}", "output": "found"},
        {"type": "file_search_call", "id": "fs", "queries": ["a"], "results": None},
    ]
    (turn,) = read("responses", {}, {"output": items}).answer
    assert turn.parts == (
        Part("tool_call", '{"type":"search","query":"q"}', "web_search_call", "ws"),
        Part("tool_call", "1+1", "code_interpreter_call", "ci"),
        Part("tool_result", '{"logs":"2"}', "code_interpreter_call", "ci"),
        Part("tool_call", "{}", "find", "m"),
        Part("tool_result", "found", "find", "m"),
        Part("tool_call", '["a"]', "file_search_call", "fs"),
    )


def test_answers_of_the_wire() -> None:
    (said,) = read("responses", {}, message=shapes.responses(tools=False)).answer
    assert said == Turn("assistant", (Part("text", shapes.TEXT),))
    (called,) = read("responses", {}, message=shapes.responses(tools=True)).answer
    assert [(p.kind, p.name, p.id) for p in called.parts] == [
        ("tool_call", "get_weather", "call_unLAR8MvFNptuiZK6K6HCy5k")
    ]


def test_flat_tools_and_the_providers_own() -> None:
    tools = [
        {"type": "function", "name": "f", "description": "d", "parameters": {}, "strict": True},
        {"type": "web_search", "search_context_size": "low"},
    ]
    assert read("responses", {"input": "", "tools": tools}).tools == (
        Tool("f", "d", "{}"),
        Tool("web_search", "", '{"type":"web_search","search_context_size":"low"}'),
    )


def test_encrypted_reasoning_says_nothing_and_unknown_items_are_other() -> None:
    items = [
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {"type": "item_reference", "id": "x"},
    ]
    first, second = read("responses", {"input": items}).turns
    assert first == Turn("assistant", ())
    assert second.parts == (Part("other", '{"type":"item_reference","id":"x"}', "item_reference"),)
