"""Old traces without their bodies: what was said goes, what was measured stays."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from .files import TEMP_FOLDER

ARCHIVED_MODE = 0o400
"""A trace that can only be read is one whose bodies are gone: no second look into it."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d$")
_REASON = "older than keep_bodies_days"
_TEMP_NAME = "archive"


class Archive:
    """Drops the bodies of traces older than `days`. `rewritten`: told of each, its path below the
    folder, after it lies there anew."""

    def __init__(self, trace_dir: Path, days: float, rewritten: Callable[[str], None]) -> None:
        self._root = trace_dir
        self._days = days
        self._rewritten = rewritten
        self._seen = ""  # all before it has been looked at

    def sweep(self, now: datetime) -> int:
        """Every trace that has grown old since the last sweep; their number. Raises OSError."""
        oldest = (now - timedelta(days=self._days)).astimezone(UTC).strftime("%Y-%m-%d/%H%M%S")
        done = 0
        for file in self._between(self._seen, oldest):
            done += self._archive(file)
        self._seen = oldest  # a clock that was set back looks again
        return done

    def _between(self, first: str, last: str) -> Iterator[str]:
        for day in sorted(filter(_DAY.match, os.listdir(self._root))):  # noqa: PTH208  names only
            if first[:10] <= day <= last[:10]:
                for name in sorted(os.listdir(self._root / day)):  # noqa: PTH208  names only
                    file = f"{day}/{name}"
                    if name.endswith(".json") and first <= file < last:
                        yield file

    def _archive(self, file: str) -> bool:
        path = self._root / file
        try:
            if path.stat().st_mode & 0o777 == ARCHIVED_MODE:
                return False
            document = orjson.loads(path.read_bytes())
            beside = drop_bodies(document)
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError, AttributeError):  # no trace of ours: left alone
            return False
        data = orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
        self._write(path, data, [path.parent / name for name in beside if "/" not in name])
        self._rewritten(file)
        path.chmod(ARCHIVED_MODE)  # last: until all of this is done, it is done again
        return True

    def _write(self, path: Path, data: bytes, beside: list[Path]) -> None:
        folder = self._root / TEMP_FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        draft = folder / _TEMP_NAME  # one process at a time sweeps
        draft.unlink(missing_ok=True)
        try:
            draft.write_bytes(data)
            for body in beside:
                body.unlink(missing_ok=True)
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


def drop_bodies(document: dict[str, Any]) -> list[str]:
    """Take out of a parsed trace what was said, in place, but for the names of the tools it called;
    returns the names of files that lie beside it. Raises KeyError, TypeError or
    AttributeError for what is no trace."""
    from ..record.row import keep_tools  # noqa: PLC0415  few recorders archive: not at the start

    keep_tools(document)
    beside = []
    response = document["response"]
    for body in (document["request"]["body"], response and response["body"]):
        if body and body["kind"] != "empty":
            if body["kind"] == "file":
                beside.append(str(body["value"]))
            truncated = {"kept_bytes": 0, "reason": _REASON}
            body.update(kind="omitted", value=None, truncated=truncated)
            if "raw" in body:
                body["raw"] = None
    if response:
        response["message"] = None
    if document["stream"]:
        document["stream"]["events"] = []
    return beside
