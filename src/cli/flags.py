"""The flags that every command about settings takes, declared once.

They are texts even where a number is meant: settings check them, with the same words as a file's.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from ..config.errors import ConfigError
from ..config.loading import Loaded, load_settings
from .exit_codes import BAD_CONFIG

_Config = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE", help="Settings; ./config.yaml where it exists."),
]


def _serving(
    config: _Config = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where to forward to. Replaces all upstreams of the config file by this one.",
        ),
    ] = None,
    type: Annotated[  # noqa: A002  the flag is --type
        str | None,
        typer.Option(
            metavar="TYPE",
            help="The provider: openai, anthropic, gemini, openrouter, azure, ollama, generic."
            " Enough alone where it has one public address; guessed from --base-url without it.",
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Listen here; default 127.0.0.1.")
    ] = None,
    port: Annotated[
        str | None, typer.Option(metavar="PORT", help="Listen on; default 3000, 0 for a free one.")
    ] = None,
    allow_open: Annotated[
        bool | None,
        typer.Option(
            "--allow-open", help="Listen beyond this machine though nothing asks for a key."
        ),
    ] = None,
    trace_dir: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where traces go; default ./traces.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Sent upstream in place of the client's key."
            " LLMTAP_API_KEY keeps it out of process lists.",
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info (default), warning or error.")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Processes that share the port; default 1.")
    ] = None,
    reload: Annotated[
        bool | None, typer.Option("--reload", help="Start again when code or config changes.")
    ] = None,
    quiet: Annotated[
        bool | None, typer.Option("--quiet", help="No start lines, no line per request.")
    ] = None,
) -> None:
    """Only its signature is of use."""


def _folder(
    config: _Config = None,
    trace_dir: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="The traces; else the config's trace_dir, else ./traces."
        ),
    ] = None,
) -> None:
    """Of commands that serve nothing; only its signature is of use."""


SERVING, FOLDER = _serving, _folder
"""For `takes_flags`."""


@dataclass(slots=True, frozen=True)
class Given:
    """What was given on the command line: flags by setting name, None where absent."""

    overrides: dict[str, object]
    config: Path | None

    def load(self, only: frozenset[str] | None = None) -> Loaded:
        """The settings that these flags, the environment and the file make; raises ConfigError.
        `only`: mistakes in others do not matter."""
        return load_settings(self.overrides, os.environ, self.config, only)


def tell(error: ConfigError) -> None:
    """Print every mistake: plainly, as it is not an event to be logged."""
    print(*error.lines, sep="\n", file=sys.stderr)  # noqa: T201


_CONTEXT = inspect.Parameter(
    "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
)
Command = Callable[[typer.Context, Given], None]


def takes_flags(
    command: Command, *more: inspect.Parameter, flags: Callable[..., None]
) -> Callable[..., None]:
    """`command` for typer: with these flags, and `more`, in its signature; tells mistakes.

    Flags before a subcommand count for it too; its own go over them.
    """

    own = inspect.signature(flags, eval_str=True).parameters

    def run(ctx: typer.Context, **values: object) -> None:
        outer = ctx.obj if isinstance(ctx.obj, dict) else {}
        ctx.obj = {**outer, **{k: values[k] for k in own if values[k] is not None}}
        config = ctx.obj.get("config")
        overrides = {key: value for key, value in ctx.obj.items() if key != "config"}
        given = Given(overrides, Path(str(config)) if config is not None else None)
        try:
            command(ctx, given)
        except ConfigError as error:
            tell(error)
            raise typer.Exit(BAD_CONFIG) from None

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # any function has it
        [_CONTEXT, *own.values(), *more]
    )
    run.__annotations__ = {p.name: p.annotation for p in (_CONTEXT, *own.values(), *more)}
    run.__doc__ = command.__doc__
    return cast(Callable[..., None], run)
