"""Prompts to complete or draw, texts to embed or speak."""

from __future__ import annotations

from src.record.conversation import Part, Turn
from tests.clients import shapes
from tests.record.kit import read


def user(*texts: str) -> tuple[Turn, ...]:
    return (Turn("user", tuple(Part("text", text) for text in texts)),)


def assistant(text: str) -> tuple[Turn, ...]:
    return (Turn("assistant", (Part("text", text),)),)


def test_completions() -> None:
    found = read("completions", {"prompt": "a"}, {"choices": [{"text": "b"}, {"text": "c"}]})
    assert found.turns == user("a")
    assert found.answer == assistant("b") + assistant("c")


def test_ollama_generate() -> None:
    asked = {"prompt": "a", "system": "s", "images": ["AAAA"], "context": [1, 2]}
    found = read("generate", asked, {"response": "b", "thinking": "hm", "done": True})
    assert found.system == (Part("text", "s"),)
    (turn,) = found.turns
    assert turn.parts == (Part("text", "a"), Part("image", "unknown type, 3 bytes"))
    assert found.answer == (Turn("assistant", (Part("thinking", "hm"), Part("text", "b"))),)
    assert found.parameters == {"context": "[1,2]"}


def test_embeddings_are_asked_and_not_answered() -> None:
    found = read("embeddings", {"input": ["a", "b"], "model": "m"}, shapes.EMBEDDINGS)
    assert found.turns == user("a", "b")
    assert found.answer == ()
    assert found.parameters == {"model": '"m"'}


def test_tokens_are_no_text() -> None:
    (turn,) = read("embeddings", {"input": [[1, 2], [3]]}).turns
    assert turn.parts == (Part("other", "[[1,2],[3]]", "tokens"),)


def test_speech_images_and_transcriptions() -> None:
    assert read("speech", {"input": "say", "voice": "x"}).turns == user("say")
    drawn = {"data": [{"b64_json": "AAAA", "revised_prompt": "a cat, oil"}, {"url": "https://i"}]}
    found = read("images", {"prompt": "a cat"}, drawn)
    assert found.turns == user("a cat")
    (turn,) = found.answer
    assert [(part.kind, part.text) for part in turn.parts] == [
        ("text", "a cat, oil"),
        ("image", "image, 3 bytes"),
        ("image", "https://i"),
    ]
    assert read("transcriptions", None, {"text": "heard"}).answer == assistant("heard")
