"""A keys file that may change while it is in use: read again without a restart, off the loop.

A bad file changes nothing, so the keys of the last good one stay; each state of it is told once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import orjson

from .keyring import ClientKey
from .reading import BAD_FILE, read_row

log = logging.getLogger("llmtap.keys")

Stamp = tuple[int, int, int] | None
"""Inode, size and time of change of the file as it was last seen; None: it is not there."""

_READ_S = 60.0
_ROWS_AT_ONCE = 500


class KeysFileWatch:
    """Looks at the file every `interval_s`, and hands new keys to `apply`. `read`: its last state
    that was.

    A change is read when the file has been the same for two looks: one that is being written is
    left alone until it is whole.
    """

    def __init__(
        self,
        path: Path,
        apply: Callable[[list[ClientKey]], None],
        read: Stamp = None,
        interval_s: float = 0.5,
    ) -> None:
        self._path = path
        self._apply = apply
        self._interval_s = interval_s
        self._read = self._seen = read

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.look()

    async def look(self) -> None:
        """Look once; read the file where it has changed and settled."""
        now = await asyncio.to_thread(stamp, self._path)  # a network's file system may take long
        settled, self._seen = now == self._seen, now
        if not settled or now == self._read:
            return
        self._read = now
        try:
            keys = await read_apart(self._path)
        except KeysNotRead as error:
            log.warning("%s stays as it was: %s", self._path.name, error)
            return
        self._apply(keys)
        log.info("%s was read again: %d keys", self._path.name, len(keys))


class KeysNotRead(Exception):
    """The file could not be read, or holds mistakes; the message names them."""


def stamp(path: Path) -> Stamp:
    """What tells one state of the file from another; through links, as secrets are mounted."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


async def read_apart(path: Path) -> list[ClientKey]:
    """The keys in the file, read by a process of its own. Raises `KeysNotRead`."""
    name, env = _module("keys.reading")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", name, str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=env,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _READ_S)
    except TimeoutError:
        raise KeysNotRead(f"reading it took more than {_READ_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    lines = out.split(b"\n") if out else []
    if process.returncode == BAD_FILE and lines:
        raise KeysNotRead("; ".join(orjson.loads(line) for line in lines))
    if process.returncode != 0:
        raise KeysNotRead(f"its reader ended with {process.returncode}")
    return await _rows(lines)


async def _rows(lines: list[bytes]) -> list[ClientKey]:
    """In slices: ten thousand at once would hold the streams up for 20 ms."""
    keys: list[ClientKey] = []
    for at in range(0, len(lines), _ROWS_AT_ONCE):
        keys += [read_row(line) for line in lines[at : at + _ROWS_AT_ONCE]]
        await asyncio.sleep(0)
    return keys


def _module(name: str) -> tuple[str, dict[str, str]]:
    """A module of this package by the name of the folder it lies in, and an environment that finds
    it: in a bare checkout (`src`), an editable install, a wheel."""
    package = Path(__file__).resolve().parents[1]
    path = [str(package.parent), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    return f"{package.name}.{name}", env
