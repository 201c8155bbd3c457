"""The scripted upstream: a thread per connection that does what a test's script says, byte by byte.

A script belongs to a marker, any text that stands in the request's head (a header, a query): so one
upstream and one proxy serve many tests at once. A script is a sequence of steps, plain functions of
the connection; `steps.py` has them. Everything received is kept, and how every socket ended.

    NEW → (head read) BUSY → (script done) IDLE → … → ended: peer_fin, peer_rst, fin, rst
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.wire import Ended, Head, Header, Wire, close_with_reset

Step = Callable[["Connection"], None]


class ScriptOver(Exception):
    """The script closed the connection itself."""


@dataclass(slots=True)
class Request:
    """One request as it came. `complete` once the body's own end was read."""

    head: Head
    connection: Connection
    arrived: float
    body: bytearray = field(default_factory=bytearray)
    body_bytes: int = 0
    sha256: str = ""
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def method(self) -> bytes:
        return self.head.first.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.head.first.split(b" ")[1]

    @property
    def headers(self) -> list[Header]:
        return self.head.headers


@dataclass(slots=True)
class Connection:
    number: int
    wire: Wire
    upstream: Upstream
    opened: float
    requests: list[Request] = field(default_factory=list)
    fate: str = "open"
    ended: float | None = None

    @property
    def request(self) -> Request:
        return self.requests[-1]

    @property
    def received(self) -> bytes:
        return bytes(self.wire.record or b"")

    def send(self, data: bytes) -> None:
        try:
            self.wire.sock.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            raise Ended("rst") from None

    def read_body(self, *, keep: bool = True, slice_bytes: int = 65536, pause_s: float = 0) -> None:
        """Reads the request's body by its framing; with `keep=False` only its length and hash."""
        request, digest = self.request, hashlib.sha256()
        if request.complete:
            return
        if not keep:
            self.wire.record = None

        def got(data: bytes) -> None:
            digest.update(data)
            request.body_bytes += len(data)
            if keep:
                request.body += data
            if pause_s:
                time.sleep(pause_s)

        if request.head.one("transfer-encoding") is not None:
            while data := self.wire.chunk():
                if keep:
                    request.chunks.append(data)
                got(data)
        else:
            left = int(request.head.one("content-length") or 0)
            while left:
                if not self.wire.buffer:
                    self.wire.fill(min(left, slice_bytes))
                data = self.wire.take(min(left, len(self.wire.buffer)))
                left -= len(data)
                got(data)
        request.sha256 = digest.hexdigest()
        request.complete = True
        self.upstream.changed()

    def end(self, fate: str) -> None:
        if self.fate == "open":
            self.fate, self.ended = fate, time.monotonic()
            self.upstream.changed()


class Upstream:
    """Listens on a free loopback port from `start()` to `stop()`.

    `script(marker, *steps)` says what happens to a request whose head holds the marker; said
    several times, the scripts are used in turn and the last one stays. Without one, `default` runs.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, default: tuple[Step, ...] = ()
    ) -> None:
        self.tls = tls
        self.default = default
        self.on_accept: tuple[Step, ...] = ()
        self.connections: list[Connection] = []
        self.stopping = threading.Event()
        self._scripts: list[tuple[bytes, list[tuple[Step, ...]]]] = []
        self._condition = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def start(self, port: int = 0) -> Upstream:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept)
        return self

    def stop(self) -> None:
        self.stopping.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.wire.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2)

    def __enter__(self) -> Upstream:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def script(self, marker: str, *steps: Step) -> None:
        wanted = marker.encode()
        with self._condition:
            for known, scripts in self._scripts:
                if known == wanted:
                    scripts.append(steps)
                    return
            self._scripts.append((wanted, [steps]))

    def requests(self, marker: str = "") -> list[Request]:
        wanted = marker.encode()
        with self._condition:
            return [r for c in self.connections for r in c.requests if wanted in r.head.raw]

    def request(self, marker: str, timeout: float = 5) -> Request:
        """The only request with this marker, once its head has come."""
        self.wait(lambda: bool(self.requests(marker)), timeout, f"no request with {marker}")
        found = self.requests(marker)
        assert len(found) == 1, f"{len(found)} requests with {marker}"
        return found[0]

    def hits(self, marker: str) -> int:
        return len(self.requests(marker))

    def changed(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def wait(self, until: Callable[[], bool], timeout: float = 5, what: str = "") -> None:
        deadline = time.monotonic() + timeout
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(what or "the upstream did not see it in time")
            with self._condition:
                self._condition.wait(min(left, 0.01))

    def ended(self, marker: str, timeout: float = 1) -> Connection:
        """The connection of the marker's request, once its peer has ended it."""
        connection = self.request(marker).connection
        self.wait(
            lambda: connection.fate != "open", timeout, f"upstream still open after {timeout} s"
        )
        return connection

    # --- threads ---

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None and not self.stopping.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self._spawn(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(0, Wire(sock, record=bytearray()), self, time.monotonic())
        with self._condition:
            connection.number = len(self.connections)
            self.connections.append(connection)
        self.changed()
        try:
            if self.tls is not None:
                connection.wire.sock = self._handshake(sock)
            self._run(connection, self.on_accept)
            while not self.stopping.is_set():
                self._one(connection)
        except ScriptOver:
            pass
        except Ended as end:
            connection.end(f"peer_{end.how}")
        except TimeoutError:
            connection.end("late")
        finally:
            connection.wire.sock.close()
            sock.close()
            connection.end("fin")

    def _handshake(self, sock: socket.socket) -> socket.socket:
        assert self.tls is not None
        try:
            return self.tls.wrap_socket(sock, server_side=True)
        except OSError:
            raise Ended("fin") from None

    def _one(self, connection: Connection) -> None:
        connection.wire.sock.settimeout(None)
        head = connection.wire.head()
        with self._condition:
            connection.requests.append(Request(head, connection, time.monotonic()))
            script = self._script_for(head)
        self.changed()
        self._run(connection, script)
        connection.read_body()

    def _script_for(self, head: Head) -> tuple[Step, ...]:
        for marker, scripts in self._scripts:
            if marker in head.raw:
                return scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return self.default

    def _run(self, connection: Connection, script: tuple[Step, ...]) -> None:
        for step in script:
            if self.stopping.is_set():
                raise ScriptOver
            step(connection)


def end_with_reset(connection: Connection) -> None:
    connection.end("rst")
    close_with_reset(connection.wire.sock)
    raise ScriptOver
