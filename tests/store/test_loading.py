"""Trace files that cannot be read: gone for good, or only just now."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def test_a_trace_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    loaded = load_some(tmp_path, [("2026-11-21/101112.123456Z_X_openai_m_200.json", False)])
    assert (loaded.items, loaded.taken) == ([], 1)
