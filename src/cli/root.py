"""`llmtap`: serves when no command is named. A new command is one module and one line here."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from . import check, index, show_config
from .flags import FOLDER, SERVING, Given, takes_flags
from .keys import build_keys

COMMANDS = {
    "check": check.command,
    "config": show_config.command,
    "index": index.command,
}
_FLAGS = {"index": (FOLDER, (index.FLAG,))}  # the others take those of serving
# They read a folder of traces: no server, no database, and no setting but the folder. Modules by
# name, imported when they are named: together they would make each start slower by a quarter.
READERS = {
    name: f".{name}"
    for name in ("ls", "search", "show", "diff", "stats", "tail", "export", "filters")
}

_HELP = """The tap on the wire between any LLM client and any LLM API.

Listens on http://127.0.0.1:3000, forwards to the given upstreams, and writes every request down as
a JSON file that a person can read. Flags go over LLMTAP_… variables, these over config.yaml.

\b
llmtap --type openai
llmtap --base-url http://127.0.0.1:11434 --type ollama --port 3000
llmtap --config config.yaml
"""


def build_cli() -> typer.Typer:
    """The command line with all its commands."""
    cli = typer.Typer(
        cls=_Commands,
        help=_HELP,
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    cli.callback()(takes_flags(_serve, _version_flag(), flags=SERVING))
    for name, command in COMMANDS.items():
        flags, more = _FLAGS.get(name, (SERVING, ()))
        cli.command(name)(takes_flags(command, *more, flags=flags))
    cli.add_typer(build_keys(), name="keys")
    return cli


class _Commands(TyperGroup):
    """All commands, those of READERS made when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  click's, carried by typer
        return [*super().list_commands(ctx), *READERS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  as above
        if cmd_name not in READERS:
            return super().get_command(ctx, cmd_name)
        context = import_module(".reading", __package__).CONTEXT
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        reader = import_module(READERS[cmd_name], __package__).command
        alone.command(cmd_name, context_settings=context)(reader)
        return typer.main.get_command(alone)


def _serve(ctx: typer.Context, given: Given) -> None:
    if ctx.invoked_subcommand is not None:
        ctx.default_map = dict.fromkeys(READERS, _folder_of(given))
        return
    from .serve import serve  # noqa: PLC0415  uvicorn and the data plane: only for serving

    raise typer.Exit(serve(given.load(), given))


def _folder_of(given: Given) -> dict[str, object]:
    """Flags before a command that reads traces count for it, too."""
    flags = {"config": given.config, "trace_dir": given.overrides.get("trace_dir")}
    return {name: str(value) for name, value in flags.items() if value is not None}


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
