"""`llmtap search`: where something was said."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from ..query.excerpts import Excerpt, excerpts, searched
from ..record.row import Row
from .cells import iso, outcome_cells, time_text
from .exit_codes import BAD_CONFIG
from .reading import AsJSON, Config, Limit, TraceDir, Words, filter_of, reading, tell_none
from .screen import say_json, styled


def command(
    words: Words = None,
    trace_dir: TraceDir = None,
    config: Config = None,
    limit: Limit = 20,
    each: Annotated[
        int, typer.Option(metavar="N", min=1, help="Places shown of each word and trace.")
    ] = 2,
    as_json: AsJSON = False,
) -> None:
    """Search in what was said.

    System prompts, messages, tool calls and results, thinking and answers; the newest traces first,
    times in UTC.

    \b
    llmtap search timeout
    llmtap search '"rate limit" model:gpt*'
    llmtap search answer:sorry since:2h
    """
    node, text = filter_of(words)
    tests = searched(node)
    if not tests:
        asked = "; ls lists by fields alone" if text else ", like: llmtap search timeout"
        print(f"give words to search for{asked}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(BAD_CONFIG)
    with reading(trace_dir, config) as folder:
        from .looking import hits  # noqa: PLC0415  the providers' forms: not at the start

        number = -1
        for number, hit in enumerate(hits(folder, node, printed=True)):
            if limit and number == limit:
                print(f"the first {limit}; --limit 0 for all", file=sys.stderr)  # noqa: T201
                break
            places = list(excerpts(tests, hit.texts(), each))
            (_say_json if as_json else _say)(hit.row, places)
        if number < 0 and not as_json:
            tell_none(folder)


def _say(row: Row, places: list[Excerpt]) -> None:
    status, cause = outcome_cells(row)
    head = [(time_text(row.received_us), "dim"), ("  ", ""), (row.id, "bold"), ("  ", "")]
    styled([*head, (row.model or row.path, ""), ("  ", ""), status, (" ", ""), cause])
    lines = {(p.part, p.before + p.found + p.after): p for p in reversed(places)}
    for place in reversed(lines.values()):  # in a short text, two places have the same surroundings
        spans = [(f"  {place.part}: ", "dim"), (place.before, "")]
        styled([*spans, (place.found, "bold black on yellow"), (place.after, "")])


def _say_json(row: Row, places: list[Excerpt]) -> None:
    say_json(
        {
            "id": row.id,
            "received_at": iso(row.received_us),
            "file": row.file,
            "model": row.model,
            "session_id": row.session_id,
            "excerpts": [asdict(place) for place in places],
        }
    )
