"""Bodies however they were kept, and whatever they hold."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.record.conversation import Conversation, Part, Turn, conversation_of
from src.record.row import row_of
from src.record.texts import texts_of
from tests.record.kit import body, document, example, read


def kept(kind: str, value: object, operation: str = "chat", **more: object) -> Conversation:
    asked = body(value, kind, **more)
    return conversation_of({"summary": {"operation": operation}, "request": {"body": asked}})


CHAT = '{"messages": [{"role": "user", "content": "hé"}]}'
SAID = (Turn("user", (Part("text", "hé"),)),)


def test_json_kept_as_text_is_read() -> None:
    """Repeated keys, NaN, integers over 64 bits."""
    assert kept("text", CHAT).turns == SAID
    odd = kept("text", CHAT[:-1] + ', "seed": 99999999999999999999999, "x": NaN}')
    assert odd.turns == SAID
    assert odd.parameters["seed"] == "99999999999999999999999"


def test_halves_of_surrogates_can_be_written() -> None:
    found = kept("text", '{"messages": [{"role": "user", "content": "a\\ud800b"}]}')
    assert texts_of(found).messages == "a\ufffdb"


def test_bytes_that_hold_json_are_read_and_others_are_nothing() -> None:
    assert kept("base64", base64.b64encode(CHAT.encode()).decode()).turns == SAID
    assert kept("base64", base64.b64encode(b"\xff\x00").decode()) == Conversation()


@pytest.mark.parametrize("kind", ["file", "omitted", "empty"])
def test_what_lies_elsewhere_is_nothing(kind: str) -> None:
    assert kept(kind, "name.bin" if kind == "file" else None) == Conversation()


def test_a_truncated_body_is_kept_as_it_is() -> None:
    cut = kept("text", CHAT[:30], truncated={"kept_bytes": 30, "reason": "over the limit"})
    assert cut.turns == (Turn("user", (Part("other", CHAT[:30]),)),)


def test_json_that_is_no_request_is_other() -> None:
    assert kept("json", [1, 2]).turns == (Turn("user", (Part("other", "[1,2]"),)),)
    assert read("other", None, {"odd": 1}).answer == (
        Turn("assistant", (Part("other", '{"odd":1}'),)),
    )


def test_the_example() -> None:
    found = conversation_of(example())
    assert found.turns[0].parts == (Part("text", "What is in this folder?"),)
    assert found.parameters["max_tokens"] == "64"
    assert row_of(example(), "x.json").tools == ("Bash",)


def test_no_request_and_no_answer() -> None:
    assert conversation_of({"summary": {}, "request": None, "response": None}) == Conversation()


# fmt: off
NAMES = st.sampled_from([
    "messages", "input", "prompt", "system", "instructions", "contents", "content", "parts", "role",
    "type", "text", "tools", "name", "function", "functions", "tool_calls", "functionCall",
    "choices", "message", "output", "candidates", "data", "images", "source", "arguments", "id",
    "response", "generationConfig", "image_url", "tool_use", "tool_result", "thinking", "requests",
])
# fmt: on
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | NAMES
)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)
OPERATIONS = st.sampled_from(
    ["chat", "messages", "responses", "generate_content", "embed_content", "generate", "other"]
)


@settings(max_examples=300, deadline=None)
@given(OPERATIONS, ANY, ANY, ANY)
def test_nothing_raises(operation: str, asked: object, answered: object, message: object) -> None:
    found = conversation_of(document(operation, asked, answered, message=message))
    for text in (texts_of(found).messages, *found.parameters.values()):
        text.encode()
    text_body = document(operation, asked, answered)
    text_body["request"]["body"] = body(json.dumps(asked), "text")
    conversation_of(text_body)


def test_nesting_without_end_is_no_error() -> None:
    deep = "[" * 900 + "]" * 900
    found = kept("text", '{"messages": [{"role": "user", "content": ' + deep + "}]}")
    assert [part.kind for part in found.turns[0].parts] == ["other"]
