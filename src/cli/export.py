"""`llmtap export`: traces as files that other tools read, or as commands that ask again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO

import orjson
import typer

from .. import __version__
from ..record.folder import Folder, TraceFile
from ..record.row import Document
from .choices import named, one_of
from .chosen import chosen, end
from .exit_codes import BAD_CONFIG
from .reading import Config, TraceDir, reading
from .show import Which


class Format(StrEnum):
    """What is written."""

    JSONL = "jsonl"
    HAR = "har"
    OTLP = "otlp"
    CURL = "curl"
    PYTHON = "python"


def command(
    which: Which = None,
    trace_dir: TraceDir = None,
    config: Config = None,
    to_format: Annotated[
        Format,
        typer.Option(
            "--format",
            parser=one_of(Format),
            metavar=named(Format),
            help="jsonl: the traces. har: HTTP Archive 1.2. otlp: OpenTelemetry spans, a line each."
            " curl, python: the same request again; keys come from the environment.",
        ),
    ] = Format.JSONL,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, help="The newest so many; 0 for all.")
    ] = 0,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Of curl and python: ask here, as the client did, not the upstream."
        ),
    ] = None,
    content: Annotated[
        bool, typer.Option("--content", help="Of otlp: with what was said.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it here (0600), not to the output.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
) -> None:
    """Write traces for other tools.

    `llmtap filters` explains filters; without one all of the folder, the oldest first. Secrets are
    masked in traces, so they are in what is written.

    \b
    llmtap export --format har --output traces.har since:2h
    llmtap export --format curl ID
    llmtap export --format otlp --content 'model:gpt*'
    """
    kind = Format.JSONL if as_json else to_format
    with reading(trace_dir, config) as folder:
        files = list(islice(chosen(folder, which), limit or None))
        if not files:
            end("no trace passes")
        if kind is Format.PYTHON and len(files) > 1:
            end(f"{len(files)} traces pass, a program is made of one: add --limit 1", BAD_CONFIG)
        with _opened(output) as file:
            for piece in _pieces(folder, files, kind, to, content=content):
                file.write(piece)


@contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    """0600: a trace holds what was said."""
    if output is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        return
    try:
        output.touch(mode=0o600)
        file = output.open("wb")
    except OSError as error:
        end(f"{output}: {(error.strerror or str(error)).lower()}; give another --output")
    with file:
        yield file


def _pieces(
    folder: Folder, files: list[TraceFile], kind: Format, to: str | None, *, content: bool
) -> Iterator[bytes]:
    """One trace in memory at a time."""
    documents = (
        (document, (folder.root / file.file).parent)
        for file in sorted(files, key=lambda file: file.id)
        if (document := folder.document(file)) is not None
    )
    if kind is Format.HAR:
        yield from _archive(documents)
        return
    for document, beside in documents:
        yield _written(document, beside, kind, to, content=content)


def _archive(documents: Iterator[tuple[Document, Path]]) -> Iterator[bytes]:
    from ..views.har import entry, har  # noqa: PLC0415  not for the start

    frame = orjson.dumps(har([], __version__), option=orjson.OPT_INDENT_2)
    before, after = frame.split(b"[]")
    yield before + b"["
    for number, (document, beside) in enumerate(documents):
        yield (b"," if number else b"") + b"\n" + orjson.dumps(entry(document, beside))
    yield b"\n]" + after + b"\n"


def _written(
    document: Document, beside: Path, kind: Format, to: str | None, *, content: bool
) -> bytes:
    if kind is Format.JSONL:
        return orjson.dumps(document) + b"\n"
    if kind is Format.OTLP:
        from ..views.otlp import otlp  # noqa: PLC0415  not for the start

        return orjson.dumps(otlp(document, __version__, content=content)) + b"\n"
    from ..views.again import again  # noqa: PLC0415
    from ..views.curl import curl  # noqa: PLC0415
    from ..views.python import python  # noqa: PLC0415

    request = again(document, to, beside)
    if request.body.data is None:
        print(f"{document['id']}: {request.body.note}", file=sys.stderr)  # noqa: T201  told
    return (curl if kind is Format.CURL else python)(request).encode("utf-8", "replace")
