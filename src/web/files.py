"""Trace files and the bodies beside them: inside the trace folder only, whatever a row says."""

from __future__ import annotations

import base64
import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

from ..record.row import Row
from ..record.skeleton import loads, skeleton

_FILE = re.compile(
    r"(?:(\d{4}-\d\d-\d\d)/)?(\d{6}\.\d{6}Z_([0-9A-HJKMNP-TV-Z]{26})_[A-Za-z0-9._-]{1,120})\.json"
)
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
Which = Literal["request", "response"]


@dataclass(slots=True, frozen=True)
class Body:
    """One body as it was decoded, or the open file that has it. Never typed as a page: what was
    traced may be anything."""

    data: bytes | BinaryIO
    media_type: str


class NotKeptError(Exception):
    """The trace does not have it; the message says why."""


class GoneError(Exception):
    """The file is not there any more, its row is still: somebody has just deleted it."""


class TraceFiles:
    """Reads below `root`. No name leads out: day and name are matched, links are not followed.

    What lies there must be the row's trace, and `only_key`'s: rows are an index, the files are the
    truth. None for anything else. All raise GoneError."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, row: Row, only_key: str | None) -> bytes | None:
        """The trace of a row."""
        file = self._opened(row, ".json")
        if file is None:
            return None
        with file:
            data = file.read()
        return data if _is_of(data, row, only_key) else None

    def open(self, row: Row, only_key: str | None) -> BinaryIO | None:
        """The same as a file, at its beginning: nobody has to hold it while it is sent."""
        file = self._opened(row, ".json")
        if file is not None and not _is_of(file.read(), row, only_key):
            file.close()
            return None
        if file is not None:
            file.seek(0)
        return file

    def body(self, row: Row, only_key: str | None, which: Which) -> Body | None:
        """One body. Raises NotKeptError."""
        data = self.read(row, only_key)
        return self._body(row, loads(data), which) if data is not None else None

    def _body(self, row: Row, document: dict[str, Any], which: Which) -> Body:
        message = document[which]
        if message is None:
            raise NotKeptError(f"there was no {which}")
        body = message["body"]
        kind, value = body["kind"], body["value"]
        if kind == "json":
            return Body(orjson.dumps(value), "application/json")
        if kind == "text":
            return Body(value.encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8")
        if kind == "base64":
            return Body(base64.b64decode(value), "application/octet-stream")
        if kind == "empty":
            return Body(b"", "application/octet-stream")
        if kind == "file":
            beside = self._opened(row, f".{which}.bin")  # its name follows from the trace's
            if beside is not None:
                return Body(beside, "application/octet-stream")
        stream = document["stream"]
        if which == "response" and kind == "omitted" and body["truncated"] is None and stream:
            raws = "".join(event["raw"] for event in stream["events"])
            return Body(raws.encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8")
        raise NotKeptError(_why(body))

    def _opened(self, row: Row, suffix: str) -> BinaryIO | None:
        found = _FILE.fullmatch(row.file)
        if found is None or found[3] != row.id:
            return None
        try:
            return _open(self._root, found[1], found[2] + suffix)
        except FileNotFoundError:
            raise GoneError from None
        except OSError:  # a link, a folder
            return None


def _open(root: Path, day: str | None, name: str) -> BinaryIO:
    """Raises OSError."""
    with contextlib.ExitStack() as closing:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        closing.callback(os.close, folder)
        if day is not None:
            folder = os.open(day, _FLAGS | os.O_DIRECTORY, dir_fd=folder)
            closing.callback(os.close, folder)
        return os.fdopen(os.open(name, _FLAGS, dir_fd=folder), "rb")


def _is_of(data: bytes, row: Row, only_key: str | None) -> bool:
    try:
        document = skeleton(data)
        owner = document["client"]["key_label"]
        return document["id"] == row.id and (only_key is None or owner == only_key)
    except (ValueError, TypeError, KeyError):
        return False


def without_bodies(data: bytes) -> bytes:
    """The trace with null for both bodies' values, the message and the stream's events."""
    document = skeleton(data)
    for which in ("request", "response"):
        if document[which] is not None:
            document[which]["body"]["value"] = None
    if document["response"] is not None:
        document["response"]["message"] = None
    if document["stream"] is not None:
        document["stream"]["events"] = None
    return orjson.dumps(document)


def _why(body: dict[str, Any]) -> str:
    truncated = body["truncated"]
    return f"it was not kept: {truncated['reason']}" if truncated else "it was not kept"
