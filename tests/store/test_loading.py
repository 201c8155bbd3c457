"""Trace files that cannot be read: gone for good, or only just now."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from src.record.folder import Folder
from src.store.items import Put
from src.store.loading import load_some
from tests.record.traces import Written


@contextmanager
def no_file_descriptor_free() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_trace_that_cannot_be_read_just_now_is_not_passed_over(tmp_path: Path) -> None:
    """Its line would be done, and its row would never come."""
    identity = Written(tmp_path).add()
    (file,) = Folder(tmp_path).files()
    told = [(file.file, False)]
    with no_file_descriptor_free(), pytest.raises(OSError, match="Too many open files"):
        load_some(tmp_path, told)
    (item,) = load_some(tmp_path, told).items
    assert isinstance(item, Put)
    assert item.id == identity
    away = tmp_path.with_name("away")
    tmp_path.rename(away)
    with pytest.raises(FileNotFoundError):
        load_some(tmp_path, told)
    away.rename(tmp_path)
    assert len(load_some(tmp_path, told).items) == 1


@pytest.mark.parametrize(
    ("place", "value"),
    [("id", ["a"]), ("tags", [1]), ("tags", None), ("summary", {}), ("error", 5)],
    ids=str,
)
def test_what_is_no_trace_is_passed_over(tmp_path: Path, place: str, value: object) -> None:
    Written(tmp_path).add()
    (file,) = Folder(tmp_path).files()
    path = tmp_path / file.file
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), place: value}))
    loaded = load_some(tmp_path, [(file.file, False)])
    assert (loaded.items, loaded.taken) == ([], 1)


@pytest.mark.parametrize("gone", [False, True])
def test_a_line_of_a_spool_that_names_no_file_is_passed_over(tmp_path: Path, gone: bool) -> None:
    """As a power loss leaves them."""
    for file in ("2026-11-21/1\0_X.json", "\0" * 100, "2026-11-21/" + "x" * 9000 + ".json", "../a"):
        loaded = load_some(tmp_path, [(file, gone)])
        assert (loaded.items, loaded.taken) == ([], 1), file


def test_a_trace_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    loaded = load_some(tmp_path, [("2026-11-21/101112.123456Z_X_openai_m_200.json", False)])
    assert (loaded.items, loaded.taken) == ([], 1)
