"""Disks that fail: small real file systems, rights taken away, and calls that fail on order."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.tap import ROOT, LLMTap

Health = dict[str, int]
_SHIM = ROOT / "tests" / "support" / "failing"


class DiskTap(LLMTap):
    """The program on a disk of the test's choice; `prefix` runs it under another command."""

    prefix: Sequence[str] = ()

    def command(self) -> list[str]:
        return [*self.prefix, *super().command()]

    def health(self) -> Health:
        """The trace's figures."""
        told = json.loads(self.call("GET", "/health").body)
        return {key[6:]: n for key, n in told.items() if key.startswith("trace.")}

    def settled(self, timeout: float = 12) -> Health:
        """Waits until nothing is pending; the figures, which then have to add up."""
        deadline = time.monotonic() + timeout
        while (now := self.health())["pending"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not now["pending"], f"{now}\n{self.output[-3000:]}"
        assert now["accepted"] == now["written"] + now["dropped"] + now["failed"]
        return now

    def limit(self, what: int, soft: int) -> None:
        """A resource limit on the program and all its children."""
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, what, (soft, resource.prlimit(pid, what)[1]))


class Orders:
    """Has single disk calls of a program fail, by `tests/support/failing`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        folder.mkdir()

    def env(self, trace_dir: Path) -> dict[str, str]:
        path = f"{_SHIM}{os.pathsep}{ROOT}"
        return {
            "PYTHONPATH": path,
            "DISK_FAULTS": str(self._folder),
            "DISK_ROOT": str(trace_dir),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def give(self, process: str, call: str, error: str, times: int = 1) -> None:
        for _ in range(times):
            self._number += 1
            (self._folder / f"{self._number:06}.{process}.{call}.{error}").touch()

    def outstanding(self) -> int:
        return len(os.listdir(self._folder))

    def withdraw(self) -> None:
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)


def _run(*command: str) -> str | None:
    """What it says if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{command[0]}: {done.stderr.strip()}" if done.returncode else None


@contextlib.contextmanager
def small_disk(kind: str, folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, tmpfs or ext4; skips with what is missing where none can be had."""
    disk, image = folder / f"disk-{kind}", folder / f"{kind}.img"
    disk.mkdir(parents=True)
    if kind == "tmpfs":
        failed = _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk))
    else:
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        failed = _run("mkfs.ext4", "-q", "-m", "0", "-F", str(image))
        failed = failed or _run("mount", "-o", "loop", str(image), str(disk))
    if failed:
        pytest.skip(f"no {kind} to fill, which takes the right to mount: {failed}")
    try:
        yield disk
    finally:
        _run("umount", "-l", str(disk))
        image.unlink(missing_ok=True)


class Ballast:
    """A file that takes all the room of a disk but so many bytes."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def fill(self, leave_bytes: int = 0) -> None:
        """Blocks are taken, not written: that is quick."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        at, size = 0, 16 << 20
        while size >= 1024:
            try:
                os.posix_fallocate(fd, at, size)
                at += size
            except OSError:
                size //= 2
        os.truncate(fd, max(0, at - leave_bytes))
        os.close(fd)

    def throw_off(self) -> None:
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def immutable(folders: Sequence[Path]) -> Iterator[None]:
    """Nothing can be created, renamed or deleted in these, not even by root."""
    failed = _run("chattr", "+i", *map(str, folders))
    if failed:
        _run("chattr", "-i", *map(str, folders))
        pytest.skip(f"chattr +i takes CAP_LINUX_IMMUTABLE and a file system that has it: {failed}")
    try:
        yield
    finally:
        _run("chattr", "-i", *map(str, folders))


@contextlib.contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """A mounted disk turned read-only, the moment nobody has a file open for writing."""
    deadline = time.monotonic() + 5
    while failed := _run("mount", "-o", "remount,ro", str(disk)):
        assert "busy" in failed, failed
        assert time.monotonic() < deadline, failed
        time.sleep(0.01)
    try:
        yield
    finally:
        _run("mount", "-o", "remount,rw", str(disk))


# Root minds no mode bits as long as it has these.
NO_OVERRIDE = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")


@contextlib.contextmanager
def no_rights(folders: Sequence[Path]) -> Iterator[None]:
    """Folders that may be entered and read, not written, by whoever cannot override it."""
    modes = [folder.stat().st_mode & 0o777 for folder in folders]
    for folder in folders:
        folder.chmod(0o500)
    try:
        yield
    finally:
        for folder, mode in zip(folders, modes, strict=True):
            folder.chmod(mode)


def until(true: Callable[[], bool], what: str, within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"it did not come true: {what}"
        time.sleep(0.02)
