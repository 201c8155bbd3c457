"""Which traces a command is about: by their ids or how these begin, or by a filter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NoReturn

import typer

from ..record.folder import Folder, TraceFile
from ..record.row import Document
from .exit_codes import BAD_CONFIG, NO_TRACES
from .reading import filter_of

_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{4,26}", re.IGNORECASE)
_WHOLE = 26
_NAMED = 3  # of several that an id may mean


def chosen(folder: Folder, words: Sequence[str] | None) -> Iterator[TraceFile]:
    """Traces by id in the order given, else those that pass the filter, the newest first.

    Ends the command where an id is nobody's, or begins several.
    """
    if words and all(map(_ID.fullmatch, words)):
        found = [folder.find(word) for word in words]
        if any(found) or any(len(word) == _WHOLE for word in words):
            yield from (_one(word, files) for word, files in zip(words, found, strict=True))
            return
    node, _ = filter_of(words)
    from ..query.scanning import scan  # noqa: PLC0415  not for the start

    yield from (TraceFile(hit.row.file, hit.row.id) for hit in scan(folder, node))


def document_of(folder: Folder, file: TraceFile) -> Document:
    """The trace. Ends the command where it is gone, or no trace."""
    document = folder.document(file)
    if document is None:
        end(f"{file.id}: cannot be read")
    return document


def _one(word: str, files: list[TraceFile]) -> TraceFile:
    if not files:
        end(f"{word}: no trace with this id; `llmtap ls` shows those there are")
    if len(files) > 1:
        some = ", ".join(file.id for file in files[:_NAMED])
        more = ", …" if len(files) > _NAMED else ""
        end(f"{word}: {len(files)} ids begin so ({some}{more}); give more of it", BAD_CONFIG)
    return files[0]


def end(text: str, code: int = NO_TRACES) -> NoReturn:
    """End the command with a mistake, told plainly."""
    typer.echo(text, err=True)
    raise typer.Exit(code)
