"""`llmtap show`: one trace as a conversation, as its document, its bodies, or its stream."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from ..record.folder import Folder, TraceFile
from ..record.row import Document
from .choices import named, one_of
from .chosen import chosen, document_of, end
from .exit_codes import NO_TRACES
from .reading import Config, TraceDir, reading

Which = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID|FILTER", help="Ids, their beginnings (a … at the cut may stand), or a filter."
    ),
]


class Side(StrEnum):
    """Whose body."""

    REQUEST = "request"
    RESPONSE = "response"


def command(
    which: Which = None,
    trace_dir: TraceDir = None,
    config: Config = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of a filter, the newest so many.")
    ] = 1,
    full: Annotated[bool, typer.Option("--full", help="Fold nothing.")] = False,
    raw: Annotated[
        Side | None,
        typer.Option(
            parser=one_of(Side),
            metavar=named(Side),
            help="The body as it was on the wire, decoded if compressed.",
        ),
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="The stream's events with their times.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The trace as it is.")] = False,
) -> None:
    """Show a trace as a conversation.

    The newest one where none is named; `llmtap filters` explains filters. Piped, bodies and traces
    come out byte for byte.

    \b
    llmtap show
    llmtap show ID
    llmtap show --raw request ID
    llmtap show --events cause:upstream_eof
    """
    with reading(trace_dir, config) as folder:
        files = list(_some(folder, which, limit))
        if not files:
            end("no trace passes")
        for number, file in enumerate(files):
            if as_json:
                _print_file(folder, file, alone=len(files) == 1)
                continue
            document = document_of(folder, file)
            if raw is not None:
                _print_body(document, raw, (folder.root / file.file).parent)
            elif events:
                _print_events(document)
            else:
                _print_talk(document, full=full, another=number > 0)


def _some(folder: Folder, which: list[str] | None, limit: int) -> Iterator[TraceFile]:
    for number, file in enumerate(chosen(folder, which, printed=True)):
        if number >= limit and len(which or ()) < number + 1:
            return
        yield file


def _print_file(folder: Folder, file: TraceFile, *, alone: bool) -> None:
    """As it lies on the disk; of several each on a line."""
    from .printing import print_bytes  # noqa: PLC0415  not for the start

    data = folder.read(file)
    if data is None:
        end(f"{file.id}: cannot be read")
    print_bytes(data if alone else orjson.dumps(orjson.loads(data)) + b"\n")


def _print_talk(document: Document, *, full: bool, another: bool) -> None:
    from ..views.lines import Line  # noqa: PLC0415  not for the start
    from ..views.talk import talk  # noqa: PLC0415
    from .printing import print_lines  # noqa: PLC0415

    print_lines([*([Line("")] if another else []), *talk(document, full=full)])


def _print_body(document: Document, side: Side, beside: Path) -> None:
    from ..views.har import stream_bytes  # noqa: PLC0415  not for the start
    from ..views.wire import sent  # noqa: PLC0415
    from .printing import print_bytes  # noqa: PLC0415

    part = document[side.value]
    if part is None:
        end("there was no answer")
    if side is Side.RESPONSE and document["stream"] is not None:
        print_bytes(stream_bytes(document["stream"]))
        return
    body = sent(part["body"], beside)
    if body.note is not None:
        print(body.note, file=sys.stderr)  # noqa: T201  beside the result, not in it
    if body.data is None:
        raise typer.Exit(NO_TRACES)
    print_bytes(body.data)


def _print_events(document: Document) -> None:
    from ..views.events import event_lines  # noqa: PLC0415  not for the start
    from .printing import print_lines  # noqa: PLC0415

    if document["stream"] is None:
        end("its answer was no stream")
    print_lines(event_lines(document["stream"]))
