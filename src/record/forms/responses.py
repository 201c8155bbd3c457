"""OpenAI's responses: items in, items out.

openai-python: types/responses/response_input_item.py, response_output_item.py
"""

from __future__ import annotations

from ..parts import Part, Turn
from ..reading import Json, array, dump, mapping, text, without
from .blocks import content_parts, result_text, role_of

# What a call asks for, by the type of its item; of all others it is the whole item.
_ASKED = ("arguments", "input", "action", "queries", "code", "prompt", "operation", "commands")


def conversation(body: Json) -> tuple[tuple[Part, ...], tuple[Turn, ...]]:
    """(system, turns) of `instructions` and `input`, a text or a list of items."""
    system = content_parts(body.get("instructions"))
    asked = body.get("input")
    if isinstance(asked, str):
        return tuple(system), (Turn("user", tuple(content_parts(asked))),)
    turns = [item_turn(item) for item in array(asked)]
    first = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
    system += [part for turn in turns[:first] for part in turn.parts]
    return tuple(system), tuple(turns[first:])


def output(body: Json) -> tuple[Turn, ...]:
    """The answer: one turn of all its items."""
    parts = [part for item in array(body.get("output")) for part in item_turn(item).parts]
    return (Turn("assistant", tuple(parts)),) if parts else ()


def item_turn(item: object) -> Turn:
    """One item: a message, reasoning, a call, or what a call gave."""
    fields = mapping(item)
    kind = text(fields.get("type")) or ("message" if "role" in fields else "")
    if isinstance(item, str):
        return Turn("user", tuple(content_parts(item)))
    if kind == "message":
        return Turn(role_of(fields.get("role")), tuple(content_parts(fields.get("content"))))
    if kind == "reasoning":
        return Turn("assistant", _reasoning(fields))
    if kind.endswith(("_output", "_response")):
        return Turn("tool", (_result(fields),))
    if kind.endswith("_call"):
        return Turn("assistant", _call(fields, kind))
    return Turn("user", (Part("other", dump(item), kind or None),))


def _reasoning(fields: Json) -> tuple[Part, ...]:
    """The summary, and the text where it is given; encrypted, it says nothing."""
    texts = [*content_parts(fields.get("summary")), *content_parts(fields.get("content"))]
    said = "\n".join(part.text for part in texts)
    return (Part("thinking", said),) if said else ()


def _call(fields: Json, kind: str) -> tuple[Part, ...]:
    """A call, and with it what it gave where the provider ran it."""
    asked = next((fields[name] for name in _ASKED if fields.get(name) is not None), None)
    if asked is None:
        asked = without(fields, "type", "id", "status", "call_id", "name", "result", "output")
    call_id = text(fields.get("call_id")) or text(fields.get("id"))
    name = text(fields.get("name")) or kind
    call = Part("tool_call", dump(asked), name, call_id)
    gave = fields.get("output", fields.get("outputs", fields.get("results")))
    if gave is None:
        return (call,)
    return call, Part("tool_result", result_text(gave), name, call_id)


def _result(fields: Json) -> Part:
    content = fields.get("output", fields.get("content"))
    return Part(
        "tool_result", result_text(content), text(fields.get("name")), text(fields.get("call_id"))
    )
