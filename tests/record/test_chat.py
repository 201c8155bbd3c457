"""Chat completions and those who speak them."""

from __future__ import annotations

from src.record.conversation import Part, Tool, Turn
from tests.clients import shapes
from tests.record.kit import read

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


def test_leading_system_and_developer_messages_are_the_system_prompt() -> None:
    said = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "hello"},
        {"role": "system", "content": "late"},
    ]
    found = read("chat", {"messages": said})
    assert found.system == (Part("text", "one"), Part("text", "two"))
    assert found.turns == (
        Turn("user", (Part("text", "hello"),)),
        Turn("system", (Part("text", "late"),)),
    )


def test_calls_and_their_results() -> None:
    said = [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        {"role": "function", "name": "old", "content": "43"},
    ]
    found = read("chat", {"messages": said})
    assert found.turns == (
        Turn("assistant", (Part("tool_call", '{"a":1}', "f", "call_1"),)),
        Turn("tool", (Part("tool_result", "42", None, "call_1"),)),
        Turn("tool", (Part("tool_result", "43", "old"),)),
    )


def test_older_function_calls_and_custom_tools() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "grep", "input": "x.*y"}}
    said = [
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "tool_calls": [custom]},
    ]
    first, second = read("chat", {"messages": said}).turns
    assert first.parts == (Part("tool_call", "{}", "f"),)
    assert second.parts == (Part("tool_call", "x.*y", "grep", "c"),)


def test_images_and_files_are_told_not_shown() -> None:
    content = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
    ]
    (turn,) = read("chat", {"messages": [{"role": "user", "content": content}]}).turns
    assert turn.parts == (
        Part("text", "see"),
        Part("image", "image/png, 3,000 bytes"),
        Part("image", "https://x.test/a.png"),
        Part("other", "wav, 3 bytes", "input_audio"),
        Part("other", "application/pdf, 3 bytes", "file"),
    )


def test_tools_in_each_form() -> None:
    schema = {"type": "object"}
    function = {"name": "f", "description": "does", "parameters": schema}
    tools = [
        {"type": "function", "function": function},
        {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}},
    ]
    found = read("chat", {"messages": [], "tools": tools})
    assert found.tools == (
        Tool("f", "does", '{"type":"object"}'),
        Tool("c", "", '{"format":{"type":"text"}}'),
    )
    assert read("chat", {"messages": [], "functions": [function]}).tools == found.tools[:1]


def test_parameters_are_all_that_is_left() -> None:
    asked = {"model": "m", "messages": [], "tools": [], "temperature": 0.5, "stop": ["a"]}
    assert read("chat", asked).parameters == {
        "model": '"m"',
        "temperature": "0.5",
        "stop": '["a"]',
    }


def test_answers_are_one_turn_a_choice() -> None:
    choices = [
        {"message": {"role": "assistant", "content": "yes", "reasoning_content": "hm"}},
        {"message": {"role": "assistant", "content": None, "refusal": "no"}},
        {"message": {"role": "assistant", "tool_calls": [CALL]}},
    ]
    assert read("chat", {}, {"choices": choices}).answer == (
        Turn("assistant", (Part("thinking", "hm"), Part("text", "yes"))),
        Turn("assistant", (Part("refusal", "no"),)),
        Turn("assistant", (Part("tool_call", '{"a":1}', "f", "call_1"),)),
    )


def test_answer_of_the_wire() -> None:
    (turn,) = read("chat", {}, message=shapes.chat(tools=True)).answer
    arguments = "".join(shapes.ARGUMENT_PIECES)
    name, call_id = "get_weather", "call_DdmO9pD3xa9XTPNJ32zg2hcA"
    assert turn.parts == (Part("tool_call", arguments, name, call_id),)


def test_audio_answers_by_their_transcript() -> None:
    message = {"role": "assistant", "content": None, "audio": {"transcript": "hey", "data": "AA"}}
    (turn,) = read("chat", {}, {"choices": [{"message": message}]}).answer
    assert turn.parts == (Part("text", "hey"),)


def test_ollama_chat() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    said = [
        {"role": "user", "content": "see", "images": ["AAAA"]},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "f", "content": "2"},
    ]
    answer = {"message": {"role": "assistant", "thinking": "hm", "content": "ok"}, "done": True}
    asked = {"messages": said, "options": {"seed": 7}, "think": True}
    found = read("chat", asked, answer)
    assert found.turns == (
        Turn("user", (Part("text", "see"), Part("image", "unknown type, 3 bytes"))),
        Turn("assistant", (Part("tool_call", '{"a":1}', "f"),)),
        Turn("tool", (Part("tool_result", "2", "f"),)),
    )
    assert found.answer == (Turn("assistant", (Part("thinking", "hm"), Part("text", "ok"))),)
    assert found.parameters == {"options.seed": "7", "think": "true"}
