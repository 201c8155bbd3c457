"""The raw-socket client: sends the bytes it is told to, and tells apart a clean end and a cut."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass, field

from tests.support.wire import Ended, Head, Header, Wire, close_with_reset

Address = tuple[str, int]


@dataclass(slots=True)
class Answer:
    """`end`: `complete`, `cut` (early, `how` is fin or rst), `late`. `chunks`: (when, data)."""

    head: Head
    body: bytes = b""
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    framing: str = ""
    end: str = "complete"
    how: str = ""
    interim: list[Head] = field(default_factory=list)
    keep_alive: bool = True

    @property
    def status(self) -> int:
        return int(self.head.first.split(b" ")[1])

    @property
    def reason(self) -> bytes:
        return self.head.first.split(b" ", 2)[2]

    @property
    def headers(self) -> list[Header]:
        return self.head.headers

    def one(self, name: str) -> bytes | None:
        return self.head.one(name)

    @property
    def complete(self) -> bool:
        return self.end == "complete"


def request_bytes(
    method: str,
    target: str | bytes,
    headers: list[Header] | None = None,
    body: bytes | None = None,
    *,
    host: str = "tap.test",
) -> bytes:
    """A plain request: Host first, Content-Length last when there is a body."""
    path = target.encode("latin-1") if isinstance(target, str) else target
    lines = [method.encode() + b" " + path + b" HTTP/1.1", b"Host: " + host.encode()]
    lines += [name + b": " + value for name, value in headers or []]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


class Client:
    def __init__(self, address: Address, *, timeout: float = 10, receive_buffer: int = 0) -> None:
        self.address = address
        self.timeout = timeout
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = Wire(sock)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.wire.sock.close()

    def reset(self) -> None:
        close_with_reset(self.wire.sock)

    def half_close(self) -> None:
        self.wire.sock.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        self.wire.sock.sendall(data)

    def send_what_it_takes(self, data: bytes) -> bool:
        """Sends, and minds no peer that has closed meanwhile: it may have answered early."""
        try:
            self.wire.sock.sendall(data)
        except TimeoutError:
            return False
        except OSError:
            return False
        return True

    def request(
        self,
        method: str,
        target: str | bytes,
        headers: list[Header] | None = None,
        body: bytes | None = None,
    ) -> None:
        self.send(request_bytes(method, target, headers, body))

    def answer_head(self) -> tuple[Head, list[Head]]:
        interim = []
        while True:
            head = self.wire.head()
            status = int(head.first.split(b" ")[1])
            if status >= 200 or status == 101:
                return head, interim
            interim.append(head)

    def answer(self, method: str = "GET") -> Answer:
        """Reads one whole answer; raises `Ended` when the peer ends before the head is whole."""
        head, interim = self.answer_head()
        answer = Answer(head, interim=interim)
        connection = b",".join(head.all("connection")).lower()
        answer.keep_alive = b"close" not in connection and not head.first.startswith(b"HTTP/1.0")
        try:
            self._body(answer, method)
        except Ended as end:
            answer.end, answer.how = "cut", end.how
            answer.body += end.rest if answer.framing != "chunked" else b""
            self.wire.buffer.clear()
        except TimeoutError:
            answer.end = "late"
        if answer.framing == "chunked":
            answer.body = b"".join(data for _, data in answer.chunks)
        return answer

    def _body(self, answer: Answer, method: str) -> None:
        head = answer.head
        if method == "HEAD" or answer.status in (101, 204, 304):
            answer.framing = "none"
        elif head.one("transfer-encoding") is not None:
            assert head.one("content-length") is None, "both framings in one answer"
            answer.framing = "chunked"
            while data := self.wire.chunk():
                answer.chunks.append((time.monotonic(), data))
        elif (length := head.one("content-length")) is not None:
            answer.framing = "length"
            answer.body = self.wire.exactly(int(length))
        else:
            answer.framing = "close"
            self._until_close(answer)

    def _until_close(self, answer: Answer) -> None:
        parts = []
        try:
            while True:
                parts.append(self.wire.some())
                answer.chunks.append((time.monotonic(), parts[-1]))
        except Ended as end:
            answer.body = b"".join(parts)
            if end.how == "rst":
                raise Ended("rst") from None


def call(
    address: Address,
    method: str = "POST",
    target: str | bytes = "/v1/chat/completions",
    headers: list[Header] | None = None,
    body: bytes | None = None,
    *,
    timeout: float = 10,
) -> Answer:
    """One request on a connection of its own."""
    with Client(address, timeout=timeout) as client:
        client.request(method, target, headers, body)
        return client.answer(method)


def raw_call(address: Address, data: bytes, *, timeout: float = 3) -> tuple[bytes, str]:
    """Sends bytes as they are; what came back until the end, and how it ended: fin, rst, late."""
    with Client(address, timeout=timeout) as client:
        client.send_what_it_takes(data)
        how: str = "late"
        with contextlib.suppress(TimeoutError):
            try:
                while True:
                    client.wire.fill()
            except Ended as end:
                how = end.how
        return bytes(client.wire.buffer), how


def status_of(raw: bytes) -> int:
    """The status of raw answer bytes, 0 when there is none."""
    parts = raw.split(b" ", 2)
    return int(parts[1]) if raw.startswith(b"HTTP/1.") and len(parts) > 1 else 0
