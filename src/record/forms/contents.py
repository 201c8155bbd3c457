"""Gemini's contents. Its REST interface takes names in camelCase and in snake_case.

https://ai.google.dev/api/caching#Content
"""

from __future__ import annotations

from ..parts import Part, Tool, Turn
from ..reading import Json, array, dump, mapping, text, without
from .blocks import base64_text, offered_tool, role_of

FIELDS = frozenset({"systemInstruction", "system_instruction", "contents", "content", "requests"})


def conversation(body: Json) -> tuple[tuple[Part, ...], tuple[Turn, ...]]:
    """(system, turns) of `systemInstruction` and `contents`, or of what is to be embedded."""
    system = body.get("systemInstruction", body.get("system_instruction"))
    contents = body.get("contents")
    if contents is None:
        contents = [mapping(request).get("content") for request in array(body.get("requests"))]
        contents = contents or [body.get("content")]
    turns = [content_turn(content) for content in _listed(contents) if content is not None]
    return content_turn(system).parts if system is not None else (), tuple(turns)


def candidates(body: Json) -> tuple[Turn, ...]:
    """The answers."""
    found = [mapping(candidate).get("content") for candidate in array(body.get("candidates"))]
    return tuple(content_turn(content, "assistant") for content in found if content is not None)


def content_turn(content: object, otherwise: str = "user") -> Turn:
    """One content: a role and parts."""
    if isinstance(content, str):
        return Turn(otherwise, (Part("text", content),))
    if not isinstance(content, dict):
        return Turn(otherwise, (Part("other", dump(content)),))
    parts = tuple(_part(part) for part in _listed(content.get("parts")))
    role = role_of(content.get("role"), otherwise)
    if role == "user" and parts and all(part.kind == "tool_result" for part in parts):
        role = "tool"
    return Turn(role, parts)


def offered(tools: object) -> tuple[Tool, ...]:
    """Declared functions one by one, the provider's own tools by their field's name."""
    found: list[Tool] = []
    for entry in _listed(tools):
        for name, value in mapping(entry).items():
            if name in {"functionDeclarations", "function_declarations"}:
                found += [offered_tool(declared) for declared in array(value)]
            else:
                found.append(Tool(name, "", dump(value)))
    return tuple(found)


def _listed(value: object) -> list[object]:
    """Where one may stand for a list of one, as its SDKs allow."""
    return [value] if isinstance(value, dict | str) else array(value)


def _part(part: object) -> Part:
    fields = mapping(part)
    if isinstance(part, str):
        return Part("text", part)
    if isinstance(said := fields.get("text"), str):
        return Part("thinking" if fields.get("thought") is True else "text", said)
    for name, value in fields.items():
        if isinstance(value, dict) and (read := _READERS.get(name.replace("_", "").lower())):
            return read(value)
    return Part("other", dump(part))


def _call(call: Json) -> Part:
    return Part("tool_call", dump(call.get("args", {})), text(call.get("name")), _id(call))


def _response(response: Json) -> Part:
    gave = dump(response.get("response", {}))
    return Part("tool_result", gave, text(response.get("name")), _id(response))


def _inline(blob: Json) -> Part:
    media = text(blob.get("mimeType")) or text(blob.get("mime_type")) or ""
    said = base64_text(media, text(blob.get("data")) or "")
    return Part("image", said) if media.startswith("image/") else Part("other", said, "inlineData")


def _file(data: Json) -> Part:
    media = text(data.get("mimeType")) or text(data.get("mime_type")) or ""
    uri = text(data.get("fileUri")) or text(data.get("file_uri")) or dump(data)
    return Part("image", uri) if media.startswith("image/") else Part("other", uri, "fileData")


def _code(code: Json) -> Part:
    return Part("tool_call", dump(code.get("code", "")), "executableCode", _id(code))


def _code_result(result: Json) -> Part:
    gave = result.get("output")
    said = gave if isinstance(gave, str) else dump(without(result, "id"))
    return Part("tool_result", said, "executableCode", _id(result))


def _id(fields: Json) -> str | None:
    return text(fields.get("id"))


_READERS = {
    "functioncall": _call,
    "functionresponse": _response,
    "inlinedata": _inline,
    "filedata": _file,
    "executablecode": _code,
    "codeexecutionresult": _code_result,
}
