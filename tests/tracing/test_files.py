from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from src.tracing.files import TraceFolder, safe_model, trace_name
from src.tracing.retention import Retention, sweep

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("gpt-4o", "gpt-4o"),
        ("meta-llama/Llama-3.1:free", "meta-llama-llama-3.1-free"),
        ("../../etc/passwd", "etc-passwd"),
        ("x" * 300, "x" * 40),
        ("\x00\x1b[31m", "31m"),
        ("模型", "-"),
        ("", "-"),
        (None, "-"),
    ],
)
def test_a_models_name_is_safe_in_a_files(model: str | None, written: str) -> None:
    assert safe_model(model) == written


def test_the_name_tells_the_story() -> None:
    name = trace_name("101112.123456Z", "01ABC", "openai", "gpt-4o", "200")
    assert name == "101112.123456Z_01ABC_openai_gpt-4o_200"


def test_a_file_is_written_whole_and_replaced_whole(tmp_path: Path) -> None:
    folder = TraceFolder(tmp_path, "me")
    folder.write("2026-11-21", "a.json", b"one")
    folder.write("2026-11-21", "a.json", b"two")
    assert (tmp_path / "2026-11-21" / "a.json").read_bytes() == b"two"
    assert list((tmp_path / ".tmp").iterdir()) == []
    folder.close()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    folder = TraceFolder(tmp_path, "me")
    with pytest.raises(OSError, match="No space"):
        folder.write("2026-11-21", "a.json", b"one")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    folder.close()


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:2]))
    folder = TraceFolder(tmp_path, "me")
    folder.write("2026-11-21", "a.json", b"seven77")
    assert (tmp_path / "2026-11-21" / "a.json").read_bytes() == b"seven77"
    folder.close()


def fill(root: Path, *names: str, size: int = 10) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * size)


def left(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.glob("????-??-??/*"))


DAYS = [f"2026-11-{day:02}/1{hour}0000.000000Z_x.json" for day in (18, 19, 20) for hour in (0, 5)]


def test_old_traces_go_by_age(tmp_path: Path) -> None:
    fill(tmp_path, *DAYS)
    assert sweep(tmp_path, Retention(days=2), NOW) == 3
    assert left(tmp_path) == DAYS[3:]
    assert not (tmp_path / "2026-11-18").exists(), "an empty folder goes too"


def test_old_traces_go_by_number_the_oldest_first(tmp_path: Path) -> None:
    fill(tmp_path, *DAYS)
    sweep(tmp_path, Retention(count=4), NOW)
    assert left(tmp_path) == DAYS[2:]


def test_old_traces_go_by_size(tmp_path: Path) -> None:
    fill(tmp_path, *DAYS, size=100)
    sweep(tmp_path, Retention(total_bytes=250), NOW)
    assert left(tmp_path) == DAYS[4:]


def test_a_traces_own_files_go_with_it(tmp_path: Path) -> None:
    image = DAYS[0].replace(".json", ".request.bin")
    fill(tmp_path, *DAYS, image)
    sweep(tmp_path, Retention(count=5), NOW)
    assert left(tmp_path) == DAYS[1:]


def test_only_day_folders_are_touched(tmp_path: Path) -> None:
    fill(tmp_path, *DAYS)
    fill(tmp_path, "notes/a.json", ".journal/x")
    sweep(tmp_path, Retention(count=1), NOW)
    assert (tmp_path / "notes/a.json").exists()
    assert (tmp_path / ".journal/x").exists()


def test_a_clock_that_has_leapt_ahead_makes_nothing_old_for_an_hour(tmp_path: Path) -> None:
    fill(tmp_path, *DAYS)
    keep, doubts = Retention(days=30), []
    hour, year = timedelta(hours=1), timedelta(days=365)

    def swept(now: datetime, keep: Retention = keep) -> int:
        return sweep(tmp_path, keep, now, doubting=lambda: doubts.append(now))

    assert swept(NOW) == 0
    assert swept(NOW + year) == 0
    assert swept(NOW + year + hour / 2) == 0
    assert len(doubts) == 1
    assert swept(NOW + hour) == 0, "it was wrong"
    assert swept(NOW + year + 2 * hour) == 0, "and is wrong again: a new hour begins"
    assert len(doubts) == 2
    assert swept(NOW + year + 2 * hour, Retention(days=30, count=5)) == 1, "other limits hold"
    assert swept(NOW + year + 3 * hour) == 5
    assert left(tmp_path) == []


def test_a_clock_that_goes_on_a_day_at_a_time_is_believed(tmp_path: Path) -> None:
    fill(tmp_path, *DAYS)
    assert sweep(tmp_path, Retention(days=2), NOW - timedelta(hours=23)) == 1
    assert sweep(tmp_path, Retention(days=2), NOW) == 2
    assert (
        sweep(tmp_path, Retention(days=2), NOW - timedelta(days=900)) == 0
    ), "back: nothing is old"


@pytest.mark.parametrize("odd", [b"", b"x y", b"\x00\xff", b"nan 1", b"1e400"])
def test_a_retention_file_that_tells_nothing_stops_nothing(tmp_path: Path, odd: bytes) -> None:
    fill(tmp_path, *DAYS)
    (tmp_path / ".retention").write_bytes(odd)
    assert sweep(tmp_path, Retention(days=2), NOW) == 3


def test_what_a_wrong_clock_has_dated_ahead_takes_nobodys_place(tmp_path: Path) -> None:
    ahead = [f"2027-0{month}-18/100000.000000Z_x.json" for month in (1, 2, 3)]
    fill(tmp_path, *ahead, *DAYS)
    sweep(tmp_path, Retention(count=7), NOW)
    assert left(tmp_path) == [*DAYS, ahead[2]], "of these, too, the oldest go first"
    sweep(tmp_path, Retention(count=4), NOW)
    assert left(tmp_path) == DAYS[2:]
    assert not list(tmp_path.glob("2027-*"))
    soon = NOW + timedelta(minutes=9)
    fill(tmp_path, f"{soon:%Y-%m-%d/%H%M%S}.000000Z_x.json")
    sweep(tmp_path, Retention(count=1), NOW)
    assert left(tmp_path) == [f"{soon:%Y-%m-%d/%H%M%S}.000000Z_x.json"]


def test_on_a_full_disk_what_goes_makes_room_to_tell_of_it(tmp_path: Path) -> None:
    """Else a full disk could never be emptied: a trace goes only after its row was told to."""
    fill(tmp_path, *DAYS)
    (tmp_path / DAYS[0]).chmod(0o400)
    told: list[str] = []

    def tell(files: list[str]) -> None:
        if sum(path.stat().st_size for path in tmp_path.glob("*/*.json")) > 55:
            raise OSError(errno.ENOSPC, "full")
        told.extend(files)

    assert sweep(tmp_path, Retention(count=4), NOW, tell) == 2
    assert (sorted(told), left(tmp_path)) == (DAYS[:2], DAYS[2:])


def test_where_it_cannot_be_told_nothing_is_deleted(tmp_path: Path) -> None:
    fill(tmp_path, *DAYS)

    def refuse(_: list[str]) -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        sweep(tmp_path, Retention(count=4), NOW, refuse)
    assert left(tmp_path) == DAYS
    assert sweep(tmp_path, Retention(count=4), NOW, lambda _: None) == 2
