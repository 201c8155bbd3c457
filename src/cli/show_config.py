"""`llmtap config`: the effective settings, each with where it came from, secrets masked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import typer
from pydantic import BaseModel, SecretStr

from ..config.loading import Loaded
from ..config.settings import MiddlewareSpec
from ..utils.redaction import MASK_TEXT, is_secret_header, redact_text
from .announce import chain_of
from .flags import Given


def command(ctx: typer.Context, given: Given) -> None:  # noqa: ARG001  typer's context
    """Print the settings and their origins.

    Every effective value with where it came from: cli, environment, file or default. Secrets are
    masked. Flags are those of llmtap itself.

    \b
    llmtap config --type openai
    """
    for line in render(given.load()):
        typer.echo(line)


def render(loaded: Loaded) -> list[str]:
    """YAML lines with the origins as comments, then the chain."""
    pairs = list(_model(loaded.settings, "", loaded))
    width = max(len(text) for text, origin in pairs if origin and len(text) < 60)
    lines = [f"{text:<{width}}  # {origin}" if origin else text for text, origin in pairs]
    return [*lines, "", f"# chain: {chain_of(loaded.settings)}"]


Pair = tuple[str, str]
"""A line of YAML and where its value came from, empty for a line that only opens a group."""


def _model(model: BaseModel, at: str, loaded: Loaded, indent: str = "") -> Iterator[Pair]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        key = f"{at}{name}"
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:", ""
            yield from _model(value, f"{key}.", loaded, indent + "  ")
        elif name in {"upstreams", "prices"} and value:
            yield f"{indent}{name}:", ""
            for index, item in enumerate(value):
                yield from _item(_model(item, f"{key}.{index}.", loaded, "    "))
        elif name == "middlewares":
            yield f"{indent}{name}:{'' if value else ' []'}", loaded.origins[key]
            yield from ((f"  - {_spec(spec)}", spec.where) for spec in value)
        else:
            yield f"{indent}{name}: {_shown(name, value, key in loaded.opaque)}", loaded.origins[
                key
            ]


def _item(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """The first line of a list's item carries the dash."""
    for number, (text, origin) in enumerate(pairs):
        yield (f"  - {text.lstrip()}" if number == 0 else text), origin


def _spec(spec: MiddlewareSpec) -> str:
    return f"{spec.name}: {_dumped(_masked(spec.options))}" if spec.options else spec.name


def _shown(name: str, value: object, opaque: bool) -> str:
    if isinstance(value, SecretStr):
        return _dumped(MASK_TEXT)
    if name == "headers" and isinstance(value, Mapping):
        return _dumped(
            {k: MASK_TEXT if opaque or _secret(k) else _text(v) for k, v in value.items()}
        )
    if name == "database_url" and isinstance(value, str):
        return _dumped(_text(_PASSWORD_IN_QUERY.sub(MASK_TEXT, value)))
    if name == "proxy" and isinstance(value, str) and "@" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://{MASK_TEXT}@{rest.rpartition('@')[2]}"
    return _dumped(str(value) if isinstance(value, Path) else value)


def _secret(name: str) -> bool:
    return is_secret_header(name.lower().encode())


def _masked(options: object) -> object:
    """Options of middlewares, whose meaning is their own: masked by name, address and shape."""
    if isinstance(options, Mapping):
        return {
            key: (
                MASK_TEXT
                if isinstance(value, str) and _SECRET_OPTION.search(str(key))
                else _masked(value)
            )
            for key, value in options.items()
        }
    if isinstance(options, list | tuple):
        return [_masked(value) for value in options]
    return _text(options) if isinstance(options, str) else options


_SECRET_OPTION = re.compile(r"(?:^|[_-])(?:key|hash|password|secret|token)$", re.IGNORECASE)
_PASSWORD_IN_QUERY = re.compile(r"(?<=password=)[^&\s]+", re.IGNORECASE)
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def _text(value: str) -> str:
    return _USER_IN_URL.sub(MASK_TEXT, redact_text(value))


def _dumped(value: object) -> str:
    """A value as YAML, of which JSON is a part; plain words need no quotes."""
    if isinstance(value, str) and value and value.replace("/", "").replace(".", "").isidentifier():
        return value
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    """A Decimal as the number it is; anything else as its text."""
    return float(value) if isinstance(value, Decimal) else str(value)
