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
_CUT = re.compile(r"(?:(…)|)([0-9A-HJKMNP-TV-Z]{1,26})(?(1)|…)", re.IGNORECASE)
"""As a narrow terminal shows one: `01M7YP3Z…`, `…CSG3Y9`."""
_WHOLE = 26
_NAMED = 10  # of several that an id may mean


def chosen(
    folder: Folder, words: Sequence[str] | None, *, printed: bool = False
) -> Iterator[TraceFile]:
    """Traces by id in the order given, else those that pass the filter, the newest first.

    An id may be its beginning, or what a terminal has left of it, with the `…` where it was cut.
    `printed`: each at once. Ends the command where one is nobody's, or may be several.
    """
    if words and all(_ID.fullmatch(word) or _CUT.fullmatch(word) for word in words):
        found = [_found(folder, word) for word in words]
        if any(found) or any("…" in word or len(word) == _WHOLE for word in words):
            yield from (_one(word, files) for word, files in zip(words, found, strict=True))
            return
    node, _ = filter_of(words)
    from .looking import hits  # noqa: PLC0415  not for the start

    yield from (TraceFile(hit.row.file, hit.row.id) for hit in hits(folder, node, printed=printed))


def names(word: str, identity: str) -> bool:
    """Is this the id, or a part of it as `chosen` takes one?"""
    part = word.strip("…").upper()
    return identity.endswith(part) if word.startswith("…") else identity.startswith(part)


def document_of(folder: Folder, file: TraceFile) -> Document:
    """The trace. Ends the command where it is gone, or no trace."""
    document = folder.document(file)
    if document is None:
        end(f"{file.id}: cannot be read")
    return document


def _found(folder: Folder, word: str) -> list[TraceFile]:
    part = word.strip("…")
    return folder.find_ending(part) if word.startswith("…") else folder.find(part)


def _one(word: str, files: list[TraceFile]) -> TraceFile:
    if not files:
        end(f"{word}: no trace with this id; `llmtap ls` shows those there are")
    if len(files) > 1:
        how = "end" if word.startswith("…") else "begin"
        lines = [f"  {file.id}  {file.file}" for file in files[:_NAMED]]
        if len(files) > _NAMED:
            lines.append(f"  and {len(files) - _NAMED} more")
        told = f"{word}: {len(files)} ids {how} so; give more of it"
        end("\n".join([told, *lines]), BAD_CONFIG)
    return files[0]


def end(text: str, code: int = NO_TRACES) -> NoReturn:
    """End the command with a mistake, told plainly."""
    typer.echo(text, err=True)
    raise typer.Exit(code)
