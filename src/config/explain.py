"""pydantic's errors in the words of this program: `problem; what to do`.

pydantic's own messages may repeat the input, which may be a secret: none of them is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ..utils.suggesting import did_you_mean
from .errors import Loc

_KEY_LIKE = re.compile(r"[A-Za-z]{2,4}[-_]|AIza|eyJ|Bearer ", re.IGNORECASE)
_SECRET_WORDS = ("key", "secret", "token", "password", "headers", "proxy", "url")

_EXPECTED = {
    "int": "give a whole number",
    "float": "give a number",
    "decimal": "give a number",
    "too": "give fewer",
    "finite": "give a finite number",
    "bool": "give true or false",
    "string": "give text, in quotes where YAML would read it otherwise",
    "tuple": "give a list, each item on a line that begins with a dash",
    "list": "give a list, each item on a line that begins with a dash",
    "set": "give a list, each item on a line that begins with a dash",
    "frozen": "give a list, each item on a line that begins with a dash",
    "model": "give a mapping, indented key: value lines",
    "dict": "give a mapping, indented key: value lines",
    "mapping": "give a mapping, indented key: value lines",
    "path": "give the path of a file that exists",
}
"""By the first word of pydantic's error type: `int_parsing` and `int_from_float` are one."""


def explain(error: ErrorDetails, model: type[BaseModel], *, opaque: bool = False) -> str:
    """What is wrong and what to do. `opaque`: the value is not to be shown."""
    kind = error["type"]
    loc = error["loc"]
    ctx = error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(loc, model)
    if kind == "missing":
        return "is missing; it has no default"
    if kind == "value_error":
        return str(ctx["error"])
    shown = show(error["input"], opaque=opaque or _is_secret(loc))
    if kind in {"literal_error", "enum"}:
        return f"is {shown}; give {str(ctx['expected']).replace(chr(39), '')}"
    bound = _bound(kind, ctx)
    if bound:
        return f"is {shown}; {bound}"
    return f"is {shown}; {_EXPECTED.get(kind.partition('_')[0], 'see its description')}"


def show(value: object, *, opaque: bool = False) -> str:
    """A value for a message: short and harmless ones as they are, others by their kind."""
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    if isinstance(value, str):
        hidden = opaque or len(value) > 24 or not value.isprintable() or _KEY_LIKE.match(value)
        return f"a text of {len(value)} characters" if hidden else f"'{value}'"
    if isinstance(value, int | float):
        return "a number" if opaque else str(value)
    return "a mapping" if isinstance(value, Mapping) else "a list"


def _is_secret(loc: Loc) -> bool:
    return any(word in str(part) for part in loc for word in _SECRET_WORDS)


def _bound(kind: str, ctx: Mapping[str, object]) -> str | None:
    words = {"greater_than": "more than", "less_than": "less than"}
    words |= {"greater_than_equal": "at least", "less_than_equal": "at most"}
    if kind not in words:
        return None
    (limit,) = ctx.values()
    return f"give {words[kind]} {limit:g}" if isinstance(limit, int | float) else "out of range"


_A_SLIP = 0.85  # of likeness: meant here, whoever else has a key of that name


def _unknown_key(loc: Loc, model: type[BaseModel]) -> str:
    key = str(loc[-1])
    owner = model_at(model, loc[:-1])
    if owner is None:
        return "unknown key; take it out"
    if get_close_matches(key, owner.model_fields, n=1, cutoff=_A_SLIP):
        return f"unknown key; {did_you_mean(key, owner.model_fields)}"
    for name, section in sections(model):
        if key in section.model_fields and section is not owner:
            return f"unknown key here; it belongs under {name}"
    return f"unknown key; {did_you_mean(key, owner.model_fields)}"


def model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """The model that holds the setting at `loc`; list indices are stepped over."""
    for part in loc:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = next(_models(field.annotation), None) if field else None
        if inner is None:
            return None
        model = inner
    return model


def sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The groups of settings inside `model`, with their names."""
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield name, inner


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
