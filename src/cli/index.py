"""`llmtap index`: makes the store from the trace files, whatever is in it already."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..config.settings import StoreSettings
from ..config.trace_folder import trace_folder
from .exit_codes import CANNOT_LISTEN, NO_TRACES
from .flags import Given

_NEEDED = frozenset({"store"})
_REMOVE_MOST = typer.Option(
    "--remove-most", help="Rows without a file go though they are more than half of all."
)
FLAG = inspect.Parameter(
    "remove_most",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, _REMOVE_MOST],
)
"""Its own, beside those that say where the traces and the store are."""


def command(ctx: typer.Context, given: Given) -> None:
    """Make the store again from the trace files.

    Newest first. Rows that are right stay, rows without a file go, unless these are most of them; a
    feeder may run beside it, and one that was stopped goes on where it was when it is started
    again. Where the store is, the config says (`store.database_url`); else it is SQLite beside the
    traces.

    \b
    llmtap index
    llmtap index --trace-dir traces
    """
    import asyncio  # noqa: PLC0415  with the store's libraries, only for this command

    from ..store.engine import StoreError  # noqa: PLC0415
    from ..store.indexing import index  # noqa: PLC0415

    store = given.load(only=_NEEDED).settings.store or StoreSettings()
    named = given.overrides.get("trace_dir")
    folder = trace_folder(Path(str(named)) if named else None, given.config, os.environ)
    try:
        indexed = index(
            Path.cwd() / folder, store.database_url, _progress, remove_most=ctx.params[FLAG.name]
        )
        done = asyncio.run(indexed)
    except StoreError as error:
        _end_line()
        typer.echo(str(error), err=True)
        raise typer.Exit(CANNOT_LISTEN) from None
    except OSError as error:
        from .reading import unreadable  # noqa: PLC0415  the filters: not for each start

        _end_line()
        typer.echo(unreadable(error, folder), err=True)
        raise typer.Exit(NO_TRACES) from None
    _end_line()
    typer.echo(
        f"{done.files:,} traces: {done.written:,} rows written, {done.same:,} as they were,"
        f" {done.removed:,} without a file removed, {done.unread:,} files are no traces"
    )


def _progress(done: int, total: int, per_s: float) -> None:
    """One line that changes on a terminal, a line now and then elsewhere."""
    text = f"{done:,} of {total:,} traces, {per_s:,.0f}/s"
    if sys.stderr.isatty():
        print(f"\r{text}   ", end="", file=sys.stderr, flush=True)  # noqa: T201  progress
    elif done == total or done % 20_000 < 200:
        print(text, file=sys.stderr, flush=True)  # noqa: T201  progress


def _end_line() -> None:
    if sys.stderr.isatty():
        print(file=sys.stderr)  # noqa: T201  the progress line stays
