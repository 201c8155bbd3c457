"""A folder of traces: order, bounds, ids, and what is no trace."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from src.record.folder import Folder
from src.record.row import row_of
from src.record.skeleton import loads, skeleton, without_events

from .traces import NOON, Written, answer, chat

DAY = timedelta(days=1)


def us(at: object) -> int:
    return round(at.timestamp() * 1e6)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def test_traces_come_newest_first_whatever_their_day(written: Written) -> None:
    ages = [timedelta(seconds=5), DAY, timedelta(0), timedelta(days=400), timedelta(microseconds=1)]
    ids = [written.add(at=NOON - age) for age in ages]
    found = [file.id for file in Folder(written.root).files()]
    assert found == [ids[i] for i in (2, 4, 0, 1, 3)]


def test_bounds_hold_to_the_microsecond(written: Written) -> None:
    step = timedelta(microseconds=1)
    for at in (NOON - DAY, NOON - step, NOON, NOON + step, NOON + DAY):
        written.add(at=at)
    folder = Folder(written.root)
    rows = [folder.row(file) for file in folder.files(us(NOON), us(NOON + step))]
    assert [row.received_us for row in rows] == [us(NOON)]
    assert len(list(folder.files(us(NOON)))) == 3
    assert len(list(folder.files(None, us(NOON)))) == 2


def test_a_trace_is_found_by_its_id_and_how_it_begins(written: Written) -> None:
    first, second = written.add(at=NOON - DAY), written.add(at=NOON)
    folder = Folder(written.root)
    assert [file.id for file in folder.find(second)] == [second]
    assert [file.id for file in folder.find(first[:12].lower())] == [first]
    assert [file.id for file in folder.find(first[:3])] == [second, first]
    for none in (
        "",
        "../..",
        "*",
        "IIII",
        first + "0",
        second[:-1] + ("0" if second[-1] != "0" else "1"),
    ):
        assert folder.find(none) == []


def test_only_the_days_an_id_can_be_of_are_listed(written: Written, monkeypatch) -> None:
    written.add(at=NOON - 3 * DAY)
    identity = written.add(at=NOON)
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(Path(path).name) or listdir(path))
    assert len(Folder(written.root).find(identity)) == 1
    assert listed == [written.root.name, "2026-11-21"]


def test_an_id_that_is_of_another_time_than_its_file_is_found_all_the_same(
    written: Written,
) -> None:
    identity = written.add(at=NOON)
    (written.root / "2026-11-21").rename(written.root / "2020-01-01")
    assert [file.file[:10] for file in Folder(written.root).find(identity)] == ["2020-01-01"]


def test_copies_in_the_folder_itself_count(written: Written) -> None:
    identity = written.add()
    day = written.root / "2026-11-21"
    folder = Folder(day)
    (file,) = folder.files()
    assert (file.id, folder.row(file).file) == (identity, file.file)


def test_what_is_torn_or_foreign_is_skipped_and_named(written: Written) -> None:
    kept = written.add()
    torn, foreign, other = written.add(), written.add(), written.add()
    folder = Folder(written.root)
    paths = {file.id: written.root / file.file for file in folder.files()}
    paths[torn].write_bytes(paths[torn].read_bytes()[:-100])
    paths[foreign].write_bytes(b"[1]")
    paths[other].write_bytes(b'{"summary": null}')
    (written.root / "2026-11-21" / "notes.json").write_text("{}")
    (written.root / "2026-11-21" / "x.request.bin").write_text("")
    for hidden in (".journal", ".tmp"):
        (written.root / hidden).mkdir()
        (written.root / hidden / paths[kept].name).write_bytes(paths[kept].read_bytes())
    (written.root / "9999-99-99").write_text("no folder")
    rows = [row for file in folder.files() if (row := folder.row(file)) is not None]
    assert [row.id for row in rows] == [kept]
    assert sorted(folder.skipped) == sorted(
        [
            "2026-11-21/notes.json",
            *(path.relative_to(written.root).as_posix() for i, path in paths.items() if i != kept),
        ]
    )


def test_what_is_deleted_meanwhile_is_passed_over(written: Written) -> None:
    written.add()
    folder = Folder(written.root)
    (file,) = folder.files()
    (written.root / file.file).unlink()
    assert folder.row(file) is None
    assert folder.document(file) is None
    assert folder.skipped == []


def test_no_folder_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(Folder(tmp_path / "none").files())


# --- reading rows only -----------------------------------------------------------------------

TRICKY = [
    '\n  "stream": {\n    "events": [',
    '],\n    "terminal": true',
    '\n      "value": 1,\n      "content_type": ',
    '\n  "response": {\n  "request": {',
    "\u2028\x85\\n",
]


def _streamed(text: str) -> list[bytes]:
    pieces = [text[i : i + 3] for i in range(0, len(text), 3)]
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return [*events, b"data: [DONE]\n\n"]


@pytest.mark.parametrize("text", [*TRICKY, "".join(TRICKY)])
@pytest.mark.parametrize("size", [1, 4000])
@pytest.mark.parametrize("stream", [False, True])
def test_a_row_read_in_part_is_the_row_read_whole(
    written: Written, text: str, size: int, stream: bool
) -> None:
    body = chat("m", text * size, tools=[{"value": text, "content_type": {"request": None}}])
    if stream:
        kind = {"content_type": "text/event-stream"}
        written.add(body, _streamed(text * 20), content_type=kind["content_type"].encode())
    else:
        written.add(body, (answer(text * size),))
    folder = Folder(written.root)
    (file,) = folder.files()
    data = folder.read(file)
    whole = loads(data)
    assert folder.row(file) == row_of(whole, file.file)
    part = skeleton(data)
    assert part["response"] == whole["response"]
    cut = loads(without_events(data))
    if stream:
        assert (whole["stream"]["events"], cut["stream"]["events"]) == (
            whole["stream"]["events"],
            [],
        )
        whole["stream"]["events"] = []
    assert cut == whole


@pytest.mark.parametrize("change", [b"bodyless", b"answerless", b"compact", b"text"])
def test_odd_documents_are_read_too(written: Written, change: bytes) -> None:
    if change == b"bodyless":
        written.add(b"", method=b"GET", target=b"/v1/models", chunks=(b"x" * 40_000,))
    elif change == b"answerless":
        written.add(
            chat("m", "x" * 40_000), answered=False, cause="connect_failed", phase="connect"
        )
    else:
        written.add(b"no JSON " * 5000 if change == b"text" else chat("m", "x" * 40_000))
    folder = Folder(written.root)
    (file,) = folder.files()
    if change == b"compact":
        path = written.root / file.file
        path.write_text(json.dumps(json.loads(path.read_text())))
    assert folder.row(file) == row_of(loads(folder.read(file)), file.file)
    assert folder.skipped == []
