"""Anthropic's messages.

anthropic-sdk-python: types/content_block_param.py, content_block.py
"""

from __future__ import annotations

from ..parts import Part, Turn
from ..reading import Json, array, dump, mapping, text
from .blocks import block_part, content_parts, result_text, role_of

_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def conversation(body: Json) -> tuple[tuple[Part, ...], tuple[Turn, ...]]:
    """(system, turns)."""
    turns = tuple(message_turn(message) for message in array(body.get("messages")))
    return tuple(content_parts(body.get("system"))), turns


def message_turn(message: object, otherwise: str = "user") -> Turn:
    """One message. One of tool results alone is the tool's, though the wire calls it the user's."""
    if not isinstance(message, dict):
        return Turn(otherwise, (Part("other", dump(message)),))
    content = message.get("content")
    blocks = content if isinstance(content, list) else None
    parts = content_parts(content) if blocks is None else [_part(block) for block in blocks]
    role = role_of(message.get("role"), otherwise)
    if role == "user" and parts and all(part.kind == "tool_result" for part in parts):
        role = "tool"
    return Turn(role, tuple(parts))


def _part(block: object) -> Part:
    fields = mapping(block)
    kind = text(fields.get("type")) or ""
    if kind in _CALLS:
        return Part("tool_call", dump(fields.get("input")), text(fields.get("name")), _id(fields))
    if kind.endswith("tool_result"):  # and web_search_tool_result, mcp_tool_result, …
        return Part("tool_result", result_text(fields.get("content")), None, _id(fields))
    return block_part(block)


def _id(fields: Json) -> str | None:
    return text(fields.get("tool_use_id")) or text(fields.get("id"))
