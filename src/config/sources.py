"""Where settings come from: command line, environment, file; each a tree that knows its places."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from .document import Document
from .errors import Loc, Problem
from .settings import Section, Settings

ENV_PREFIX = "LLMTAP_"
SHORTHANDS = ("base_url", "type", "api_key")
"""Keys of the one upstream that command line and environment can describe."""


class Source(PydanticBaseSettingsSource):
    """One layer. `place(loc)`: what messages call the spot; `opaque(loc)`: never show the value."""

    def __init__(
        self,
        values: dict[str, object],
        place: Callable[[Loc], str],
        opaque: Callable[[Loc], bool] = lambda _: False,
    ) -> None:
        super().__init__(Settings)
        self.values = values
        self.place = place
        self.opaque = opaque

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """pydantic-settings' way to ask for one field; the whole tree goes by `__call__`."""
        return self.values.get(field_name), field_name, field.default_factory is not None

    def __call__(self) -> dict[str, object]:
        """The whole tree, unknown keys included: they are to be refused."""
        return self.values


def flag(key: str) -> str:
    """`trace_dir` as the flag that sets it: `--trace-dir`."""
    return "--" + key.replace("_", "-")


def command_line(overrides: Mapping[str, object]) -> Source:
    """The flags that were given; None is a flag that was not."""
    values = {k: v for k, v in overrides.items() if v is not None and k not in SHORTHANDS}
    return Source(values, lambda loc: flag(str(loc[0])) if loc else "command line")


def environment(env: Mapping[str, str], known: Iterable[str]) -> tuple[Source, list[Problem]]:
    """`LLMTAP_PORT`, `LLMTAP_TIMEOUTS__CONNECT_S`, lists as JSON; `known`: other names to let be.

    An empty variable counts as one that is not set, as containers often pass them.
    """
    values: dict[str, object] = {}
    names: dict[Loc, str] = {}
    problems: list[Problem] = []
    for name, text in sorted(env.items()):
        if not _is_ours(name, text, known):
            continue
        loc = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
        text_problem = _unknown(loc)
        if text_problem:
            problems.append(Problem(loc, text_problem, f"env {name}"))
            continue
        names[loc] = name
        try:
            _put(values, loc, _decode(text))
        except ValueError:
            problems.append(Problem(loc, "is no valid JSON; check it", f"env {name}"))
    return Source(values, lambda loc: _env_place(names, loc)), problems


def _is_ours(name: str, text: str, known: Iterable[str]) -> bool:
    """Kubernetes sets LLMTAP_PORT=tcp://… and more for a Service that is called llmtap."""
    if not name.startswith(ENV_PREFIX) or not text or name in known:
        return False
    from_kubernetes = name.startswith(("LLMTAP_SERVICE_", "LLMTAP_PORT_"))
    return not from_kubernetes and not (name == "LLMTAP_PORT" and "://" in text)


def _unknown(loc: tuple[str, ...]) -> str | None:
    head, *rest = loc
    field = Settings.model_fields.get(head)
    if field is None:
        near = get_close_matches(head, [*Settings.model_fields, *SHORTHANDS, "config"], n=1)
        hint = f"did you mean {ENV_PREFIX}{near[0].upper()}?" if near else "unset or rename it"
        return f"unknown variable; {hint}"
    if rest and not _has_parts(field):
        return f"has no parts; set {ENV_PREFIX}{head.upper()} as a whole, lists as JSON"
    return None


def _has_parts(field: FieldInfo) -> bool:
    """A group of settings, one that is absent by default included."""
    union = get_origin(field.annotation) is UnionType
    kinds = get_args(field.annotation) if union else (field.annotation,)
    return any(isinstance(kind, type) and issubclass(kind, Section) for kind in kinds)


def _decode(text: str) -> object:
    return json.loads(text) if text[0] in "[{" else text


def _put(values: dict[str, object], loc: tuple[str, ...], value: object) -> None:
    *groups, key = loc
    for group in groups:
        inner = values.get(group)
        if not isinstance(inner, dict):
            inner = values[group] = {}
        values = inner
    values[key] = value


def _env_place(names: Mapping[Loc, str], loc: Loc) -> str:
    while loc and loc not in names:
        loc = loc[:-1]
    return f"env {names[loc]}" if loc in names else "environment"


def config_file(document: Document) -> Source:
    """What stands in the file."""
    return Source(document.values, document.place, document.interpolated.__contains__)
