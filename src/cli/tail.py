"""`llmtap tail`: requests as they arrive, their progress while they run, and their end.

journal (what runs) ──┐
                      ├──▶ start ──▶ progress ──▶ end, from the trace file
folder  (what is over)┘
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Annotated

import typer

from .reading import AsJSON, Config, TraceDir, Words, filter_of, reading

_NICE = 10  # whoever watches must not take the core from what is watched


def command(
    words: Words = None,
    trace_dir: TraceDir = None,
    config: Config = None,
    last: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Begin with so many that are over, as far as two seconds find them.",
        ),
    ] = 5,
    every: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.1, help="Between two lines of progress of one request."
        ),
    ] = 5.0,
    as_json: AsJSON = False,
) -> None:
    """Watch requests live, while they stream.

    Reads the folder alone and disturbs nobody. On a terminal what runs stands below, elsewhere each
    start, progress and end is a line. Times are in UTC. Ctrl-C ends it.

    \b
    llmtap tail
    llmtap tail --last 20 'model:claude*'
    llmtap tail --json 'status:>=400'
    """
    node, _ = filter_of(words)
    with reading(trace_dir, config) as folder:
        from ..live.tail import (  # noqa: PLC0415  the providers' forms and rich: not at the start
            Tail,
        )
        from .tailing_faces import face  # noqa: PLC0415

        with face(as_json=as_json) as shown, _patience():
            Tail(folder, node, shown, every_s=every).run(last)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """What is watched goes first. Afterwards, where we may, as before: we may be part of more."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, before)
