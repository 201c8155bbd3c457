"""What the commands share that read a folder of traces: their options, and what is told."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..config.errors import ConfigError
from ..config.trace_folder import trace_folder
from ..query.errors import FilterError
from ..query.parser import parse
from ..query.tree import Node
from ..record.folder import Folder
from ..utils.inert import inert_line
from .exit_codes import BAD_CONFIG, INTERRUPTED, NO_TRACES

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILTER", help="'model:claude* status:>=400 …'; `llmtap filters` explains it."
    ),
]
TraceDir = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="The traces; else the config's trace_dir, else ./traces."),
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Settings; ./config.yaml where it exists.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Limit = Annotated[int, typer.Option(metavar="N", min=0, help="At most so many; 0 for all.")]

CONTEXT = {"ignore_unknown_options": True}
"""For typer: `-path:/models` is a part of the filter. Commands with it take no one-letter options.
"""

_QUOTED_BY_SHELL = re.compile(r'(-*(?:[A-Za-z_]+:)?)([^\s"():-][^"():]*\s[^"():]*)')
_SHORT_OPTION = re.compile(r"-[A-Za-z]")
_KEYWORD = re.compile(r"(?:^|\s)(?:OR|AND|NOT|-\S+)(?:\s|$)")


@contextmanager
def reading(trace_dir: Path | None, config: Path | None) -> Iterator[Folder]:
    """The folder; what was skipped in it is told at the end, what is wrong ends the command."""
    try:
        folder = Folder(trace_folder(trace_dir, config, os.environ))
        yield folder
    except ConfigError as error:
        _end("\n".join(error.lines), BAD_CONFIG)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        _end(unreadable(error, trace_dir), NO_TRACES)
    else:
        _tell_skipped(folder)


def unreadable(error: OSError, trace_dir: Path | None) -> str:
    """What is told of a folder that cannot be read."""
    place = inert_line(str(error.filename or trace_dir))
    hint = "; give another by --trace-dir" if isinstance(error, FileNotFoundError) else ""
    return f"{place}: {(error.strerror or str(error)).lower()}{hint}"


def filter_of(words: Sequence[str] | None) -> tuple[Node, str]:
    """The filter of the arguments, and its text. A mistake in it ends the command."""
    arguments = list(words or ())
    for word in arguments:
        if word.startswith("--"):
            raise typer.BadParameter(f"No such option: {word}")
        if _SHORT_OPTION.fullmatch(word):  # or `-c FILE` would silently leave out what says "c"
            raise typer.BadParameter(
                f"No such option: {word}; a word to leave out is -body:{word[1]}"
            )
    text = " ".join(map(_quoted_again, arguments))
    try:
        return parse(text, time.time_ns() // 1000), text
    except FilterError as error:
        _end(error.shown(text), BAD_CONFIG)


def tell_none(folder: Folder) -> None:
    """Beside the result, which is empty: a wrong folder looks like a filter that nothing passes."""
    empty = next(iter(folder.files()), None) is None
    said = f"there are no traces in {inert_line(str(folder.root))}" if empty else "no trace passes"
    print(said, file=sys.stderr)  # noqa: T201


def _quoted_again(word: str) -> str:
    """`body:"two words"` reaches us without the quotes."""
    found = _QUOTED_BY_SHELL.fullmatch(word)
    if found is None or _KEYWORD.search(found[2]):
        return word
    return f'{found[1]}"{found[2]}"'


def _tell_skipped(folder: Folder) -> None:
    if folder.skipped:
        first, more = inert_line(folder.skipped[0]), len(folder.skipped) - 1
        others = f" and {more} more" if more else ""
        print(f"skipped, as they are no traces: {first}{others}", file=sys.stderr)  # noqa: T201


def _end(text: str, code: int) -> NoReturn:
    print(text, file=sys.stderr)  # noqa: T201  a mistake, told plainly
    raise typer.Exit(code) from None
