"""`llmtap keys`: client keys, made here and handed out; the proxy only ever keeps their hashes."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from pydantic import ValidationError

from ..config.explain import explain
from ..keys.entry import KeyEntry
from ..keys.hashing import hash_key, new_key
from .exit_codes import BAD_CONFIG

_NEW = """\
# The key, for the client. It is shown this once and kept nowhere.
{key}

# Its hash, for the keys_file of auth, or for its options in config.yaml.
keys:
  - label: {label}
    hash: {hash}
"""


def build_keys() -> typer.Typer:
    """The commands below `keys`."""
    commands = typer.Typer(help="Client keys for the auth middleware.", no_args_is_help=True)
    commands.callback()(_keys)
    commands.command("new")(new)
    return commands


def _keys() -> None:
    """Client keys for the auth middleware."""


def new(
    label: Annotated[
        str, typer.Option(metavar="NAME", help="Who gets it, as traces and limits name them.")
    ] = "change-me",
    expires: Annotated[
        str | None, typer.Option(metavar="DATE", help="2027-01-31, or with a time; UTC.")
    ] = None,
    tier: Annotated[
        str | None, typer.Option(metavar="NAME", help="A name that limits refer to.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="A model it may use; repeatable.")
    ] = None,
) -> None:
    """Make a key: prints it, its hash, and the entry to paste.

    Nothing is written anywhere.

    \b
    llmtap keys new --label alice --expires 2027-01-31 --model 'gpt-4o*'
    """
    key = new_key()
    more = {"expires": expires, "tier": tier, "models": model or None}
    _check({"label": label, "hash": hash_key(key), **more})
    text = _NEW.format(key=key, label=label, hash=hash_key(key))
    lines = [f"    {name}: {_yaml(value)}\n" for name, value in more.items() if value]
    typer.echo(text + "".join(lines), nl=False)


def _check(entry: dict[str, object]) -> None:
    """Ends the program with code 2 and a line for each value that no entry may have."""
    try:
        KeyEntry.model_validate(entry)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            flag = str(detail["loc"][0]).replace("models", "model")
            typer.echo(f"--{flag}: {explain(detail, KeyEntry)}", err=True)
        raise typer.Exit(BAD_CONFIG) from None


def _yaml(value: object) -> str:
    """JSON is YAML; a date needs no quotes."""
    return value if isinstance(value, str) else json.dumps(value)
