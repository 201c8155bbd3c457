"""`llmtap`: serves when no command is named. A new command is one module and one line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from . import check, diff, export, filters, ls, search, show, show_config, stats, tail
from .flags import Given, takes_flags
from .keys import build_keys
from .reading import CONTEXT

COMMANDS = {
    "check": check.command,
    "config": show_config.command,
}
# They read a folder of traces: no server, no database, and no setting but the folder.
READERS: dict[str, Callable[..., None]] = {
    "ls": ls.command,
    "search": search.command,
    "show": show.command,
    "diff": diff.command,
    "stats": stats.command,
    "tail": tail.command,
    "export": export.command,
    "filters": filters.command,
}

_HELP = """The tap on the wire between any LLM client and any LLM API.

Listens on http://127.0.0.1:3000, forwards to the given upstreams, and writes every request down as
a JSON file that a person can read. Flags go over LLMTAP_… variables, these over config.yaml."""


def build_cli() -> typer.Typer:
    """The command line with all its commands."""
    cli = typer.Typer(
        help=_HELP,
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    cli.callback()(takes_flags(_serve, _version_flag()))
    for name, command in COMMANDS.items():
        cli.command(name)(takes_flags(command))
    for name, reader in READERS.items():
        cli.command(name, context_settings=CONTEXT)(reader)
    cli.add_typer(build_keys(), name="keys")
    return cli


def _serve(ctx: typer.Context, given: Given) -> None:
    if ctx.invoked_subcommand is not None:
        return
    from .serve import serve  # noqa: PLC0415  uvicorn and the data plane: only for serving

    raise typer.Exit(serve(given.load(), given))


def _version_flag() -> inspect.Parameter:
    option = typer.Option(
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and end.",
    )
    return inspect.Parameter(
        "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llmtap {__version__}")
        raise typer.Exit
