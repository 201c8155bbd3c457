"""Content as OpenAI and Anthropic write it: a text, or a list of typed blocks."""

from __future__ import annotations

from ..parts import Part, Tool
from ..reading import Json, array, dump, mapping, text, without

# Compatible servers leave the type out.
_TEXTS = frozenset(
    {"text", "input_text", "output_text", "summary_text", "reasoning_text", "refusal", ""}
)
_ROLES = {"developer": "system", "model": "assistant", "function": "tool", "human": "user"}
_TOOL_FIELDS = ("parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema")


def role_of(value: object, otherwise: str = "user") -> str:
    """system, user, assistant or tool; one that nobody knows stays as it is."""
    role = text(value) or otherwise
    return _ROLES.get(role, role)


def content_parts(content: object) -> list[Part]:
    """The parts of a `content`: a string, a list of strings and blocks, one block, or nothing."""
    if content is None:
        return []
    if isinstance(content, str):
        return [Part("text", content)] if content else []
    blocks = content if isinstance(content, list) else [content]
    return [block_part(block) for block in blocks]


def block_part(block: object) -> Part:
    """One block that is no tool's: text, thinking, image, or something else."""
    if isinstance(block, str):
        return Part("text", block)
    fields = mapping(block)
    kind = text(fields.get("type")) or ""
    said = fields.get("text", fields.get("refusal"))
    if isinstance(said, str) and kind in _TEXTS:
        return Part("refusal" if kind == "refusal" else "text", said)
    if kind == "thinking":  # Anthropic's a text, Mistral's a list of blocks
        return Part("thinking", result_text(fields.get("thinking")))
    if "image" in kind:
        return Part("image", _where(fields))
    return Part("other", _media(fields) or dump(block), kind or None)


def result_text(content: object) -> str:
    """What a tool gave back, as one text."""
    if isinstance(content, str) or content is None:
        return content or ""
    if not isinstance(content, list):
        return dump(content)
    parts = content_parts(content)
    return "\n".join(f"[image: {p.text}]" if p.kind == "image" else p.text for p in parts)


def image_text(url: str) -> str:
    """What to say of an image: its address, or of an inlined one its type and size."""
    head, comma, data = url.partition(",")
    if not head.startswith("data:") or not comma:
        return url
    return base64_text(head[5:].removesuffix(";base64"), data)


def base64_text(media_type: object, data: str) -> str:
    """What to say of inlined bytes instead of showing them."""
    size = len(data.rstrip("=")) * 3 // 4
    return f"{text(media_type) or 'unknown type'}, {size:,} bytes"


def _where(fields: Json) -> str:
    """Of an image block of any form."""
    source = fields.get("source", fields.get("image_url", fields.get("url")))
    if isinstance(source, str):
        return image_text(source)
    inner = mapping(source)
    if isinstance(data := inner.get("data"), str):
        return base64_text(inner.get("media_type"), data)
    if url := text(inner.get("url")):
        return image_text(url)
    return dump(inner) if inner else dump(without(fields, "type"))


def _media(fields: Json) -> str | None:
    """Of audio and documents: their text where they have one, their size where they are bytes."""
    for name in ("source", "file", "input_audio", "audio"):
        inner = mapping(fields.get(name))
        data = inner.get("data", inner.get("file_data"))
        if isinstance(data, str):
            if inner.get("type") == "text":
                return data
            kind = inner.get("media_type") or inner.get("format") or inner.get("filename")
            return image_text(data) if data.startswith("data:") else base64_text(kind, data)
    if isinstance(data := fields.get("file_data"), str):
        return image_text(data)
    return None


def offered(tools: object) -> tuple[Tool, ...]:
    """The tools of a request, in any of the flat or wrapped forms."""
    return tuple(offered_tool(entry) for entry in array(tools))


def offered_tool(entry: object) -> Tool:
    """One tool; a provider's own goes by its type."""
    outer = mapping(entry)
    wrapped = next((mapping(outer[k]) for k in ("function", "custom") if outer.get(k)), None)
    fields = wrapped or outer
    name = text(fields.get("name")) or text(outer.get("type")) or dump(entry)
    schema = next((fields[key] for key in _TOOL_FIELDS if key in fields), None)
    if schema is None:
        schema = without(fields, "name", "description")
    return Tool(name, text(fields.get("description")) or "", dump(schema))
