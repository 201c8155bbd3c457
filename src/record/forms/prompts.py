"""What has no messages: prompts to complete or draw, texts to embed, speak or judge."""

from __future__ import annotations

from ..parts import Part, Turn
from ..reading import Json, array, dump, mapping, text
from .blocks import base64_text, content_parts
from .chat import image_part

INPUTS = ("prompt", "input", "inputs", "texts", "query", "documents", "suffix")


def conversation(body: Json) -> tuple[tuple[Part, ...], tuple[Turn, ...]]:
    """(system, turns): one turn for each of the inputs; several texts are its parts."""
    turns = []
    for name in INPUTS:
        parts = _parts(body.get(name))
        if name == "prompt":
            parts += [image_part(image) for image in array(body.get("images"))]
        if parts:
            turns.append(Turn("user", tuple(parts)))
    return tuple(content_parts(body.get("system"))), tuple(turns)


def _parts(value: object) -> list[Part]:
    if isinstance(value, list) and any(isinstance(entry, int | float | list) for entry in value):
        return [Part("other", dump(value), "tokens")]
    return content_parts(value)


def drawn(body: Json) -> tuple[Turn, ...]:
    """Images in `data`, each with the prompt that was made of the one asked."""
    parts = []
    for entry in array(body.get("data")):
        fields = mapping(entry)
        if revised := text(fields.get("revised_prompt")):
            parts.append(Part("text", revised))
        if isinstance(data := fields.get("b64_json"), str):
            parts.append(Part("image", base64_text("image", data)))
        elif url := text(fields.get("url")):
            parts.append(Part("image", url))
    return (Turn("assistant", tuple(parts)),) if parts else ()


def said(body: Json) -> tuple[Turn, ...] | None:
    """Ollama's generate, older completions, transcriptions: the answer is one field."""
    for name in ("response", "completion", "text"):
        if isinstance(answer := body.get(name), str):
            thought = text(body.get("thinking"))
            parts = [Part("thinking", thought)] if thought else []
            return (Turn("assistant", (*parts, *content_parts(answer))),)
    return None
