"""OpenAI's chat completions and those who speak them, Ollama's own chat among them.

Beyond OpenAI's: `reasoning_content` (DeepSeek, vLLM), `reasoning` (OpenRouter), `thinking` and
`images` (Ollama).
"""

from __future__ import annotations

from ..parts import Part, Turn
from ..reading import Json, array, dump, mapping, text
from .blocks import base64_text, block_part, content_parts, image_text, result_text, role_of

_THINKING = ("reasoning_content", "reasoning", "thinking")


def conversation(body: Json) -> tuple[tuple[Part, ...], tuple[Turn, ...]]:
    """(system, turns): system messages before the first other one are the system prompt."""
    turns = [message_turn(message) for message in array(body.get("messages"))]
    first = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
    return tuple(part for turn in turns[:first] for part in turn.parts), tuple(turns[first:])


def message_turn(message: object, otherwise: str = "user") -> Turn:
    """One message, asked or answered."""
    if not isinstance(message, dict):
        return Turn(otherwise, (Part("other", dump(message)),))
    role = role_of(message.get("role"), otherwise)
    if role == "tool":
        return Turn(role, (_result(message),))
    return Turn(role, tuple(_parts(message)))


def choices(body: Json) -> tuple[Turn, ...]:
    """The answers in `choices`: messages, or texts of the older completions."""
    found = []
    for choice in array(body.get("choices")):
        fields = mapping(choice)
        if isinstance(said := fields.get("text"), str):
            found.append(Turn("assistant", tuple(content_parts(said))))
        else:
            found.append(message_turn(fields.get("message", choice), "assistant"))
    return tuple(found)


def _result(message: Json) -> Part:
    name = text(message.get("name")) or text(message.get("tool_name"))
    content = result_text(message.get("content"))
    return Part("tool_result", content, name, text(message.get("tool_call_id")))


def _parts(message: Json) -> list[Part]:
    """In the order a model says them: thinking, text, calls."""
    parts: list[Part] = []
    for key in _THINKING:
        if thought := text(message.get(key)):
            parts.append(Part("thinking", thought))
            break
    parts += content_parts(message.get("content"))
    if refusal := text(message.get("refusal")):
        parts.append(Part("refusal", refusal))
    if transcript := text(mapping(message.get("audio")).get("transcript")):
        parts.append(Part("text", transcript))
    parts += [image_part(image) for image in array(message.get("images"))]
    if message.get("function_call"):
        parts.append(call_part(message["function_call"]))
    return parts + [call_part(call) for call in array(message.get("tool_calls"))]


def image_part(image: object) -> Part:
    """Ollama's are base64 texts, OpenRouter's are blocks."""
    if isinstance(image, str):
        data = image.startswith(("data:", "http"))
        return Part("image", image_text(image) if data else base64_text(None, image))
    return block_part(image)


def call_part(call: object) -> Part:
    """A tool call: of a function, or of a custom tool, whose input is a text."""
    outer = mapping(call)
    fields = next((mapping(outer[k]) for k in ("function", "custom") if outer.get(k)), outer)
    arguments = fields.get("arguments", fields.get("input"))
    if not fields:
        return Part("other", dump(call))
    asked = "" if arguments is None else dump(arguments)
    return Part("tool_call", asked, text(fields.get("name")), text(outer.get("id")))
