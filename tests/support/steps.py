"""The steps a script is made of. Each function returns a step: a function of the connection."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterable, Sequence

from tests.support.upstream import Connection, ScriptOver, Step, end_with_reset
from tests.support.wire import LAST_CHUNK, Ended, chunked

JSON_TYPE = (b"Content-Type", b"application/json")
SSE_TYPE = (b"Content-Type", b"text/event-stream")


def head(
    status: int = 200,
    *headers: tuple[bytes, bytes],
    reason: bytes = b"OK",
    version: bytes = b"HTTP/1.1",
) -> bytes:
    lines = [version + b" %d " % status + reason]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def send(data: bytes) -> Step:
    return lambda connection: connection.send(data)


def send_slices(data: bytes, cuts: Iterable[int], pause_s: float = 0) -> Step:
    """Sends `data` cut at the given offsets, each part in a write of its own."""

    def step(connection: Connection) -> None:
        places = [0, *sorted(c for c in set(cuts) if 0 < c < len(data)), len(data)]
        for start, stop in itertools.pairwise(places):
            connection.send(data[start:stop])
            if pause_s:
                time.sleep(pause_s)

    return step


def chunk(data: bytes) -> Step:
    return send(chunked(data))


def end_chunks() -> Step:
    return send(LAST_CHUNK)


def pause(seconds: float) -> Step:
    def step(connection: Connection) -> None:
        connection.upstream.stopping.wait(seconds)

    return step


def wait(event: threading.Event, timeout: float = 10) -> Step:
    def step(connection: Connection) -> None:
        deadline = time.monotonic() + timeout
        while not event.wait(0.02):
            if connection.upstream.stopping.is_set() or time.monotonic() > deadline:
                raise ScriptOver

    return step


def note(times: list[float]) -> Step:
    """Keeps the moment at which the script came here."""
    return lambda _: times.append(time.monotonic())


def tell(event: threading.Event) -> Step:
    return lambda _: event.set()


def read(size: int) -> Step:
    """Reads so many bytes of the body and no more."""

    def step(connection: Connection) -> None:
        data = connection.wire.exactly(size)
        request = connection.request
        request.body += data
        request.body_bytes += size
        length = request.head.one("content-length")
        request.complete = length is not None and request.body_bytes == int(length)

    return step


def read_body(*, keep: bool = True, pause_s: float = 0, slice_bytes: int = 65536) -> Step:
    return lambda connection: connection.read_body(
        keep=keep, pause_s=pause_s, slice_bytes=slice_bytes
    )


def until_closed(timeout: float = 10) -> Step:
    """Waits for the peer to end the connection; goes on when it does not."""

    def step(connection: Connection) -> None:
        deadline = time.monotonic() + timeout
        sock = connection.wire.sock
        while time.monotonic() < deadline and not connection.upstream.stopping.is_set():
            sock.settimeout(0.05)
            try:
                connection.wire.fill()
            except TimeoutError:
                continue
            finally:
                if sock.fileno() >= 0:
                    sock.settimeout(None)

    return step


def write_until_closed(data: bytes, pause_s: float = 0.01, timeout: float = 20) -> Step:
    """Sends the same bytes again and again until the peer has had enough."""

    def step(connection: Connection) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not connection.upstream.stopping.is_set():
            connection.send(data)
            if pause_s:
                time.sleep(pause_s)

    return step


def rst() -> Step:
    return end_with_reset


def fin() -> Step:
    """An orderly end: our side is shut, what the peer still sends is read, never a reset."""

    def step(connection: Connection) -> None:
        connection.end("fin")
        sock = connection.wire.sock
        try:
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(1)
            while True:
                connection.wire.fill()
        except (Ended, TimeoutError, OSError):
            pass
        raise ScriptOver

    return step


def half_close() -> Step:
    return lambda connection: connection.wire.sock.shutdown(socket.SHUT_WR)


def reply(
    status: int = 200,
    body: bytes = b'{"ok":true}',
    *headers: tuple[bytes, bytes],
    reason: bytes = b"OK",
) -> tuple[Step, ...]:
    """The whole request read, then one answer with its length; the connection stays open."""
    fields = headers or (JSON_TYPE,)
    length = (b"Content-Length", b"%d" % len(body))
    return (read_body(), send(head(status, *fields, length, reason=reason) + body))


def stream(
    events: Sequence[bytes],
    *headers: tuple[bytes, bytes],
    gap_s: float = 0,
    end: Step | None = None,
) -> tuple[Step, ...]:
    """The request read, a chunked answer with one HTTP chunk an event, then `end` (a clean one)."""
    fields = headers or (SSE_TYPE,)
    steps: list[Step] = [read_body(), send(head(200, *fields, (b"Transfer-Encoding", b"chunked")))]
    for event in events:
        if gap_s:
            steps.append(pause(gap_s))
        steps.append(chunk(event))
    return (*steps, end or end_chunks())
