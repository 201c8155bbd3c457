"""An exchange of which the recorder dies costs its own trace and no other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from src.tracing.reading import JournalReader
from src.tracing.set_aside import FOLDER
from tests.support.disk import DiskTap, until
from tests.support.tap import ROOT, settings
from tests.support.upstream import Upstream

# Python's own start hook: in the recorder, the body that kills it.
DEADLY = """
import os, signal, sys
if any("tracing.recorder" in word for word in sys.orig_argv):
    from src.tracing.document import Documents
    build = Documents.build
    def deadly(self, recorded, *args):
        if b"poison" in recorded.request_body()[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return build(self, recorded, *args)
    Documents.build = deadly
elif "src.main" in sys.orig_argv:
    from src.tracing import child
    child._RESTART_PAUSE_S = 0.1
"""


@pytest.fixture
def deadly(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "sitecustomize.py").write_text(DEADLY)
    return {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


def ask(tap: DiskTap, text: str) -> None:
    body = b'{"text":"%b"}' % text.encode()
    assert (
        tap.call("POST", headers=[(b"Content-Type", b"application/json")], body=body).status == 200
    )


def test_three_recorders_died_of_it_then_it_is_set_aside(
    upstream: Upstream, tmp_path: Path, deadly: dict[str, str]
) -> None:
    tap = DiskTap(tmp_path / "tap", base_url=upstream.url, env=deadly)
    try:
        tap.start()
        for text in ("before", "poison", "after"):
            ask(tap, text)
        now = tap.settled()
        assert (now["written"], now["failed"], now["dropped"]) == (2, 1, 0)
        ask(tap, "later")
        assert tap.settled()["written"] == 3
        assert tap.stop() == 0
    finally:
        tap.kill9(group=True)
    assert [len(tap.documents(text)) for text in ("before", "after", "later", "poison")] == [
        1,
        1,
        1,
        0,
    ]
    assert tap.output.count("recorder died of a trace") == 1
    assert tap.output.count("recorder died (") == 3
    (kept,) = (tap.trace_dir / FOLDER).iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert readable(kept, tmp_path / "again") == b'{"text":"poison"}'


def readable(kept: Path, folder: Path) -> bytes:
    """The request's body, read as from any journal."""
    folder.mkdir()
    shutil.copy(kept, folder / "000000.seg")
    reader = JournalReader(folder, {})
    (exchange,) = reader.scan(None)
    body = reader.read(exchange).request_body()[0]
    reader.close()
    return body


def test_left_behind_by_the_dead_it_is_set_aside_at_the_next_start(
    upstream: Upstream, tmp_path: Path, deadly: dict[str, str]
) -> None:
    """Both die with it in the journal; the deaths of before count."""
    tap = DiskTap(tmp_path / "tap", base_url=upstream.url, env=deadly)
    try:
        tap.start()
        for text in ("before", "poison", "after"):
            ask(tap, text)
        until(lambda: "recorder died (" in tap.output, "a first death")
        tap.kill9(group=True)
        tap.start()
        until(lambda: tap.health()["recovered"] == 2, "what lay behind it")
        assert tap.stop() == 0
    finally:
        tap.kill9(group=True)
    assert [len(tap.documents(text)) for text in ("before", "after", "poison")] == [1, 1, 0]
    assert len(list((tap.trace_dir / FOLDER).iterdir())) == 1
    assert list((tap.trace_dir / ".journal").iterdir()) == []


def test_what_is_to_be_redacted_is_not_kept(
    upstream: Upstream, tmp_path: Path, deadly: dict[str, str]
) -> None:
    config = settings(upstream.url, middlewares=["trace", {"redact": {"kinds": ["email"]}}])
    tap = DiskTap(tmp_path / "tap", config=config, env=deadly)
    try:
        tap.start()
        ask(tap, "poison a@b.example")
        assert tap.settled()["failed"] == 1
        assert tap.stop() == 0
    finally:
        tap.kill9(group=True)
    assert not (tap.trace_dir / FOLDER).exists()
    assert "not kept" in tap.output
