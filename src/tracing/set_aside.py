"""Exchanges of which recorders have died: kept as they are in the journal, so that all others can
be written, and whoever mends the recorder has what killed it."""

from __future__ import annotations

from pathlib import Path

from .lines import Lines
from .reading import JournalReader, OpenExchange
from .segments import SUFFIX

FOLDER = ".set-aside"


class SetAside:
    """A folder beside the days; each file is a segment that `JournalReader` reads."""

    def __init__(self, trace_dir: Path, lines: Lines) -> None:
        self._folder = trace_dir / FOLDER
        self._lines = lines

    def put(self, reader: JournalReader, exchange: OpenExchange, *, last_try: bool) -> None:
        """Keep the records and say so. `last_try`: even that was died of, so only say so. Never
        raises: what cannot be kept is given up."""
        kept = "its records could not be read"
        if reader.keeps_secrets:
            kept = "its records are not kept: they hold what is to be redacted"
        elif not last_try:
            try:
                kept = f"its records: {self._keep(reader, exchange)}"
            except OSError as error:
                kept = f"its records are not kept: {error}"
        self._lines.note("error", "the recorder died of a trace, which is given up", kept)

    def _keep(self, reader: JournalReader, exchange: OpenExchange) -> Path:
        data = reader.copy(exchange)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / f"{reader.name}-{exchange.number}{SUFFIX}"
        draft = path.with_suffix(".new")
        try:
            draft.write_bytes(data)
            draft.chmod(0o600)
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        return path
