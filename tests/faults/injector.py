"""A TCP fault injector: stands between a client and a server and spoils what passes.

    with Injector(upstream.address, down=Fault(stop_after=100, then="rst")) as injector:
        tap = start_tap(base_url=injector.url)

Bytes pass unchanged until the fault says otherwise, each direction by its own: `up` is from the
client, `down` to it. Two threads a connection, the loopback, a free port.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tests.support.wire import close_with_reset

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one direction of a connection.

    `latency_s` before each piece that came; `slice_bytes`: passed on in writes of at most so many,
    0 as they come; `bytes_per_s`: no faster, 0 as fast as they come. After `stop_after` bytes
    nothing more passes and `then`: "fin", the receiver sees an orderly end; "rst", both see a
    reset; "stall", nobody sees anything.
    """

    latency_s: float = 0
    slice_bytes: int = 0
    bytes_per_s: float = 0
    stop_after: int | None = None
    then: Literal["fin", "rst", "stall"] = "stall"


NONE = Fault()
Plan = Callable[[int], tuple[Fault, Fault]]


class Injector:
    """Listens from `start()` to `stop()` and passes each connection on to `target`.

    `plan(number)`, where given, tells (up, down) for each connection, counted from 0; else all get
    the same. `passed` counts the bytes that went (up, down), over all connections.
    """

    def __init__(
        self, target: Address, *, up: Fault = NONE, down: Fault = NONE, plan: Plan | None = None
    ) -> None:
        self.target = target
        self.plan: Plan = plan or (lambda _: (up, down))
        self.connections = 0
        self.passed = [0, 0]
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._links: list[_Link] = []

    @property
    def address(self) -> Address:
        assert self._listener is not None
        host, port = self._listener.getsockname()
        return host, port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    def start(self) -> Injector:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._spawn(self._accept)
        return self

    def stop(self) -> None:
        self._stopping.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._listener.close()
        for link in self._links:
            link.reset()
        for thread in self._threads:
            thread.join(2)

    def __enter__(self) -> Injector:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        assert self._listener is not None
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            up, down = self.plan(self.connections)
            self.connections += 1
            try:
                server = socket.create_connection(self.target)
            except OSError:
                close_with_reset(client)
                continue
            link = _Link(client, server)
            self._links.append(link)
            self._spawn(self._carry, link, client, server, up, 0)
            self._spawn(self._carry, link, server, client, down, 1)

    def _carry(
        self, link: _Link, source: socket.socket, sink: socket.socket, fault: Fault, way: int
    ) -> None:
        """One direction of one connection, until it ends or is made to."""
        try:
            for piece in self._pieces(source, fault):
                sink.sendall(piece)
                self.passed[way] += len(piece)
                if fault.bytes_per_s:
                    self._stopping.wait(len(piece) / fault.bytes_per_s)
        except _Cut:
            self._cut(link, source, sink, fault)
        except OSError:
            link.reset()
        else:
            if not link.broken:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)  # the source's own end, passed on
        link.one_way_done()

    def _pieces(self, source: socket.socket, fault: Fault) -> Iterator[bytes]:
        """What is to be written, write by write; raises _Cut where the fault ends it."""
        left = fault.stop_after
        if left == 0:
            raise _Cut
        while data := source.recv(65536):
            self._stopping.wait(fault.latency_s)
            data = data[:left]
            step = fault.slice_bytes or len(data)
            for start in range(0, len(data), step):
                yield data[start : start + step]
            if left is not None:
                left -= len(data)
                if not left:
                    raise _Cut

    def _cut(self, link: _Link, source: socket.socket, sink: socket.socket, fault: Fault) -> None:
        if fault.then == "rst":
            link.reset()
        elif fault.then == "fin":
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
                while source.recv(65536):
                    """What the source still sends is lost on the way."""
        else:
            link.ended.wait()


class _Cut(Exception):
    """The fault's number of bytes has passed."""


class _Link:
    """The two sockets of a connection: closed once both ways are done, or reset at once."""

    def __init__(self, *sockets: socket.socket) -> None:
        for sock in sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ended = threading.Event()
        self.broken = False
        self._sockets = sockets
        self._running = 2
        self._lock = threading.Lock()

    def one_way_done(self) -> None:
        with self._lock:
            self._running -= 1
            done = not self._running
        self.ended.set()  # a way that stalls ends with the other
        if done:
            for sock in self._sockets:
                sock.close()

    def reset(self) -> None:
        """A reset to both. The sockets are closed by the threads that read them, once both are
        woken: a number closed under a thread could be another connection's by the time it reads.
        """
        self.broken = True
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RD)
        self.ended.set()


__all__ = ["NONE", "Fault", "Injector"]
