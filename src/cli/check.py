"""`llmtap check`: is this configuration good? Binds nothing, writes nothing."""

from __future__ import annotations

import typer

from .announce import facts, url_of
from .flags import Given


def command(ctx: typer.Context, given: Given) -> None:  # noqa: ARG001  typer's context
    """Check the settings: exit code 0 or 2.

    Nothing is bound or written; every mistake is told on a line of its own. Flags are those of
    llmtap itself.

    \b
    llmtap check
    llmtap check --config config.yaml
    """
    loaded = given.load()
    typer.echo(f"{loaded.config or 'the settings'}: good")
    settings = loaded.settings
    for label, text in facts(settings, url_of(settings.host, settings.port)):
        typer.echo(f"  {label:<10} {text}")
