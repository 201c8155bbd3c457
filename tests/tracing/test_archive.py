"""Old traces lose what was said; what is counted, listed and filtered by stays."""

from __future__ import annotations

import errno
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from src.models.trace import TraceDocument
from src.record.folder import Folder
from src.record.row import Row
from src.tracing.archive import ARCHIVED_MODE, Archive, drop_bodies
from tests.record.traces import Written
from tests.support import bodies
from tests.tracing.building import build
from tests.tracing.support import compact

CALLS = [
    {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}},
    {"id": "2", "type": "function", "function": {"name": "write", "arguments": "{}"}},
    {"id": "3", "type": "function", "function": {"name": "look_up", "arguments": "{}"}},
]
CHAT = compact({"choices": [{"message": {"role": "assistant", "tool_calls": CALLS}}]})
CHUNKS = (
    bodies.data({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **CALLS[0]}]}}]}),
    bodies.data({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 1, **CALLS[1]}]}}]}),
    b"data: [DONE]\n\n",
)
USE = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}}
MESSAGE = compact({"type": "message", "role": "assistant", "model": "m", "content": [USE]})


def only_row(folder: Path) -> Row:
    reading = Folder(folder)
    (file,) = reading.files()
    row = reading.row(file)
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("chunks", "more", "tools"),
    [
        ((CHAT,), {}, ("look_up", "write")),
        (CHUNKS, {"content_type": b"text/event-stream"}, ("look_up", "write")),
        ((MESSAGE,), {"kind": "anthropic", "target": b"/v1/messages"}, ("Bash",)),
        ((compact({"choices": [{"message": {"content": "hi"}}]}),), {}, ()),
        ((), {"answered": False, "cause": "connect_failed"}, ()),
    ],
    ids=["chat", "stream", "messages", "no tools", "no answer"],
)
def test_an_archived_trace_has_the_row_it_had(
    tmp_path: Path, chunks: tuple[bytes, ...], more: dict[str, object], tools: tuple[str, ...]
) -> None:
    Written(tmp_path).add(b'{"model":"m","messages":[]}', chunks, **more)
    before = only_row(tmp_path)
    assert before.tools == tools
    told: list[str] = []
    Archive(tmp_path, 1, told.append).sweep(datetime.now(UTC) + timedelta(days=9))
    assert told == [before.file]
    assert only_row(tmp_path) == before
    path = tmp_path / before.file
    assert path.stat().st_mode & 0o777 == ARCHIVED_MODE
    assert b"command" not in path.read_bytes()
    TraceDocument.model_validate_json(path.read_bytes())


def test_what_others_have_left_in_ext_stays_and_a_second_time_nothing_is_lost() -> None:
    document = build(chunks=[CHAT], ext=b'{"mine":{"a":1},"trace":{"b":2}}')
    drop_bodies(document)
    drop_bodies(document)
    kept = {"b": 2, "tools": ["look_up", "write"]}
    assert document["ext"] == {"mine": {"a": 1}, "trace": kept}


def test_bodies_laid_out_by_hand_go_too_and_older_traces_get_no_new_key() -> None:
    odd = b'{"a" : "said"}'
    document, older = build(odd, chunks=[odd]), build(odd, chunks=[odd])
    for name in ("request", "response"):
        assert document[name]["body"]["raw"] is not None
        del older[name]["body"]["raw"]
    drop_bodies(document)
    drop_bodies(older)
    assert "said" not in json.dumps(document)
    assert document["request"]["body"]["raw"] is None
    assert "raw" not in older["response"]["body"]


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"response": null}', '{"response": []}'])
def test_what_is_no_trace_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "2026-01-01").mkdir()
    path = tmp_path / "2026-01-01" / "101112.123456Z_x.json"
    path.write_text(content)
    Archive(tmp_path, 1, lambda _: None).sweep(datetime.now(UTC))
    assert path.read_text() == content


def test_an_archiving_that_could_not_be_told_is_done_and_told_again(tmp_path: Path) -> None:
    """Its row would keep what was said."""
    Written(tmp_path).add(b'{"model":"m","messages":[]}', (CHAT,))
    before = only_row(tmp_path)
    later, told = datetime.now(UTC) + timedelta(days=9), []

    def full(_: str) -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        Archive(tmp_path, 1, full).sweep(later)
    archive = Archive(tmp_path, 1, told.append)
    assert (archive.sweep(later), archive.sweep(later)) == (1, 0)
    assert told == [before.file]
    assert only_row(tmp_path) == before
    assert (tmp_path / before.file).stat().st_mode & 0o777 == ARCHIVED_MODE


def test_a_clock_that_was_set_back_ends_no_archiving(tmp_path: Path) -> None:
    archive = Archive(tmp_path, 1, lambda _: None)
    now = datetime.now(UTC)
    archive.sweep(now + timedelta(days=400))
    archive.sweep(now)
    Written(tmp_path).add(b'{"model":"m","messages":[]}', (CHAT,), at=now)
    assert archive.sweep(now + timedelta(days=2)) == 1
