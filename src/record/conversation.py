"""The conversation in a trace, whatever the provider calls its parts.

    document ──▶ body ──▶ its form, by operation and shape ──▶ Conversation

A form is told by what the body holds, so that gateways and servers that speak another's language
are read as that. What is not understood is kept, as `other`; nothing raises.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .forms import blocks, chat, contents, messages, prompts, responses
from .parts import Conversation, Part, PartKind, Tool, Turn
from .reading import Json, dump, loads, mapping, text

__all__ = [
    "Conversation",
    "Part",
    "PartKind",
    "Tool",
    "Turn",
    "answer_of",
    "conversation_of",
    "said_in",
]

_NESTED = ("generationConfig", "generation_config", "options")
_VECTORS = frozenset({"embeddings", "embed_content", "batch_embed_contents", "models"})


@dataclass(slots=True, frozen=True)
class _Form:
    """How a request reads, and which of its fields are no parameters then."""

    read: Callable[[Json], tuple[tuple[Part, ...], tuple[Turn, ...]]]  # (system, turns)
    fields: frozenset[str]
    tools: Callable[[object], tuple[Tool, ...]] = blocks.offered


_TOOLS = ("tools", "functions")
_CHAT = _Form(chat.conversation, frozenset({"messages", *_TOOLS}))
_MESSAGES = _Form(messages.conversation, frozenset({"system", "messages", *_TOOLS}))
_RESPONSES = _Form(responses.conversation, frozenset({"instructions", "input", *_TOOLS}))
_CONTENTS = _Form(contents.conversation, contents.FIELDS | {"tools"}, contents.offered)
_PROMPTS = _Form(prompts.conversation, frozenset({"system", "images", *prompts.INPUTS, *_TOOLS}))


def conversation_of(document: Mapping[str, Any]) -> Conversation:
    """What was asked and answered, of a parsed trace. Never raises on what bodies hold."""
    body = _asked(document)
    said = _said(document, body)
    if not isinstance(body, dict):
        return said
    form = _form_of(body, _operation(document))
    tools = form.tools(body.get("tools", body.get("functions")))
    return replace(said, tools=tools, parameters=_parameters(body, form.fields))


def said_in(document: Mapping[str, Any]) -> Conversation:
    """The same without the tools offered and the parameters, which may be most of a request."""
    return _said(document, _asked(document))


def _said(document: Mapping[str, Any], body: object | None) -> Conversation:
    answer = answer_of(document)
    if not isinstance(body, dict):
        unread = Turn("user", (Part("other", dump(body)),))
        return Conversation(turns=() if body is None else (unread,), answer=answer)
    system, turns = _form_of(body, _operation(document)).read(body)
    return Conversation(system, turns, answer=answer)


def _asked(document: Mapping[str, Any]) -> object | None:
    return body_value(mapping(document.get("request")).get("body"))


def answer_of(document: Mapping[str, Any]) -> tuple[Turn, ...]:
    """What was answered alone, one turn a choice."""
    response = mapping(document.get("response"))
    body = response.get("message")
    if body is None:
        body = body_value(response.get("body"))
    if body is None:
        return ()
    if not isinstance(body, dict):
        return (Turn("assistant", (Part("other", dump(body)),)),)
    if found := _answered(body):
        return found
    if _operation(document) in _VECTORS or found == ():
        return ()
    return (Turn("assistant", (Part("other", dump(body)),)),)


def body_value(body: object) -> object | None:
    """A traced body's JSON value where it has one; else its text; None where there is nothing.

    Binary bodies are None too: of those the trace says more than a text could.
    """
    fields = mapping(body)
    value, kind = fields.get("value"), fields.get("kind")
    if kind == "text" and isinstance(value, str):
        parsed = loads(value) if value.lstrip("\ufeff \t\r\n")[:1] in {"{", "["} else None
        return value if parsed is None else parsed
    if kind == "base64" and isinstance(value, str):
        return _decoded(value)
    return value if kind == "json" else None


def _decoded(value: str) -> object | None:
    try:
        return loads(base64.b64decode(value).decode())
    except ValueError:
        return None


def _operation(document: Mapping[str, Any]) -> str:
    return text(mapping(document.get("summary")).get("operation")) or ""


def _form_of(body: Json, operation: str) -> _Form:
    if "contents" in body or operation in {"embed_content", "batch_embed_contents"}:
        return _CONTENTS
    if "messages" in body:
        anthropic = operation in {"messages", "count_tokens"} or "system" in body
        return _MESSAGES if anthropic else _CHAT
    if operation in {"responses", "compact", "count_tokens"} or "instructions" in body:
        return _RESPONSES
    return _PROMPTS


def _answered(body: Json) -> tuple[Turn, ...] | None:
    """None: this is no answer of a form that is known."""
    if isinstance(body.get("choices"), list):
        return chat.choices(body)
    if isinstance(body.get("output"), list):
        return responses.output(body)
    if "candidates" in body or "promptFeedback" in body:
        return contents.candidates(body)
    if body.get("type") == "message" and "content" in body:
        return (messages.message_turn(body, "assistant"),)
    if isinstance(message := body.get("message"), dict):
        return (chat.message_turn(message, "assistant"),)
    return prompts.said(body) or prompts.drawn(body) or None


def _parameters(body: Json, taken: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in body.items():
        if name in _NESTED and isinstance(value, dict):
            found |= {f"{name}.{inner}": _written(each) for inner, each in value.items()}
        elif name not in taken:
            found[name] = _written(value)
    return found


def _written(value: object) -> str:
    """As JSON, texts too: `"5"` is not `5`."""
    return dump([value])[1:-1]
