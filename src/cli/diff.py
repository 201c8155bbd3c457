"""`llmtap diff`: what changed from one request to the next."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from ..record.folder import Folder, TraceFile
from ..record.row import Document
from .chosen import chosen, document_of, end, names
from .exit_codes import BAD_CONFIG
from .reading import Config, TraceDir, reading

Which = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID|FILTER",
        help="One, against its predecessor, or two, the former first; of a filter"
        " (`llmtap filters`) the newest.",
    ),
]
_LOOKED_AT = 2_000  # traces before one, for its predecessor


def command(
    which: Which = None,
    trace_dir: TraceDir = None,
    config: Config = None,
    full: Annotated[bool, typer.Option("--full", help="Fold nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what changed between two requests.

    System, tools, parameters, headers and messages, and where their common beginning ends: what
    comes after it no provider can read from its cache. One alone is compared with the request that
    it continues, else with the one before it in its session.

    \b
    llmtap diff
    llmtap diff ID
    llmtap diff ID ID
    """
    with reading(trace_dir, config) as folder:
        before, after = _pair(folder, which)
        from ..views.comparison import comparison  # noqa: PLC0415  difflib: not for the start
        from ..views.difference import difference  # noqa: PLC0415
        from .printing import print_lines  # noqa: PLC0415
        from .screen import say_json  # noqa: PLC0415

        found = difference(before, after)
        if as_json:
            say_json(found.as_json())
        else:
            print_lines(comparison(found, before, after, full=full))


def _pair(folder: Folder, which: list[str] | None) -> tuple[Document, Document]:
    files = list(islice(chosen(folder, which), 3))
    if not files:
        end("no trace passes")
    ids = len(which or ()) == len(files) and all(
        names(word, file.id) for word, file in zip(which or (), files, strict=True)
    )
    if ids and len(files) > 2:
        end("two traces can be compared, not three", BAD_CONFIG)
    documents = [document_of(folder, file) for file in files[: 2 if ids else 1]]
    if len(documents) == 2:
        return documents[0], documents[1]
    after = documents[0]
    return document_of(folder, _predecessor(folder, after)), after


def _predecessor(folder: Folder, after: Document) -> TraceFile:
    """The request it continues; else the one before it in its session of the same kind."""
    session = after["session"]
    if session["parent_id"] and (found := folder.find(session["parent_id"])):
        return found[0]
    if session["id"] is None:
        end(f"{after['id']} is of no session; name the other one, too")
    from ..record.row import microseconds  # noqa: PLC0415

    operation = after["summary"]["operation"]
    until = microseconds(after["timing"]["received_at"])
    for file in islice(folder.files(None, until), _LOOKED_AT):
        row = folder.row(file)
        if row is not None and row.session_id == session["id"] and row.operation == operation:
            return file
    return end(f"{after['id']} is the first of its session; name another one to compare with")
