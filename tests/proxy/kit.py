"""What the tests of the data plane are built of: transports, clients and upstreams without I/O."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

from src.proxy.bodies import RequestBody, ResponseBody
from src.proxy.counts import ServerCounts
from src.proxy.exchange import CallNext, Exchange, Response, Upstream
from src.proxy.gateway import Gateway
from src.proxy.limits import ServerLimits
from src.proxy.providers.base import Provider
from src.proxy.server import ServerProtocol
from src.utils.tasks import Sweeper
from src.utils.ulid import ULIDs

Header = tuple[bytes, bytes]
_numbers = itertools.count(1)


async def turns(count: int = 8) -> None:
    """Let everything that is ready run; nothing here needs more than a few turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


class Wire:
    """A transport that writes into `sent`. Closing tells the protocol in the next turn."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.writes: list[bytes] = []
        self.reading = True
        self.closed = self.aborted = self.ended = False
        self.stuck = False  # the peer reads nothing: a close never gets to its end
        self.lost = False

    @property
    def sent(self) -> bytes:
        return b"".join(self.writes)

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if not self.lost:
            self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        if not self.stuck:
            asyncio.get_running_loop().call_soon(self.lose, None)

    def abort(self) -> None:
        self.closed = self.aborted = True
        asyncio.get_running_loop().call_soon(self.lose, None)

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.closed = True
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(error)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 5) if name == "peername" else default


class Source:
    """Where a body comes from: notes what it is told."""

    def __init__(self) -> None:
        self.reading = True
        self.aborted = False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True


class FakeClient:
    """The gateway's view of a client: notes what it is given, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.head: Response | None = None
        self.body = b""

    def begin(self, exchange: Exchange, response: Response) -> None:
        self.events.append("begin")
        self.head = response

    def flush(self) -> None:
        self.events.append("flush")

    def write(self, chunk: bytes) -> None:
        self.events.append("write")
        self.body += chunk

    def end(self) -> None:
        self.events.append("end")

    def abort(self) -> None:
        self.events.append("abort")

    @property
    def status(self) -> int | None:
        return self.head.status if self.head else None


def make_upstream(base_path: bytes = b"", **changes: Any) -> Upstream:
    fields: dict[str, Any] = {
        "name": "up",
        "provider": Provider(),
        "base_url": "http://up.test:81" + base_path.decode(),
        "prefix": b"",
        "scheme": "http",
        "host": "up.test",
        "port": 81,
        "host_header": b"up.test:81",
        "base_path": base_path,
        "api_key": None,
        "key_label": None,
        "extra_headers": (),
    }
    return Upstream(**{**fields, **changes})


def make_exchange(
    method: bytes = b"POST",
    target: bytes = b"/v1/x",
    headers: tuple[Header, ...] = ((b"Host", b"tap"),),
    body: bytes | None = b"",
    *,
    version: bytes = b"1.1",
    upstream: Upstream | None = None,
    limit: int = 1 << 20,
    replay: int = 1 << 16,
    source: Any = None,
) -> Exchange:
    """An exchange as a gateway has routed it. `body` None: nothing of it has come yet."""
    request_body = RequestBody(source or Source(), limit, replay)
    exchange = Exchange(
        f"{next(_numbers):026}", method, target, version, headers, "127.0.0.1:5", request_body
    )
    exchange.upstream = upstream or make_upstream()
    exchange.provider = exchange.upstream.provider
    exchange.forward_path = exchange.path
    if body is not None:
        if body:
            request_body.feed(body)
        request_body.end()
    return exchange


def streamed(source: Any = None, *chunks: bytes) -> ResponseBody:
    """A response body with these chunks in it, not ended."""
    body = ResponseBody(source or Source())
    for chunk in chunks:
        body.feed(chunk)
    return body


class Served:
    """An application with nothing but a chain: what ServerProtocol serves."""

    def __init__(self, call_next: CallNext, limits: ServerLimits, in_flight: int) -> None:
        self.gateway = Gateway([make_upstream()], call_next, Provider(), ("t",), in_flight)
        self.server_limits = limits
        self.server_counts = ServerCounts()
        self.new_id = ULIDs()
        self.sweeper = Sweeper()
        self.own_answers: dict[bytes, Any] = {b"/health": lambda: (200, b'{"status":"ok"}')}
        self.state = SimpleNamespace(connections=set(), tasks=set())
        self.finished: list[Exchange] = []

    def connect(self) -> tuple[ServerProtocol, Wire]:
        """A new client connection."""
        config: Any = SimpleNamespace(loaded_app=self)
        protocol = ServerProtocol(config, self.state, {})
        wire = Wire()
        wire.protocol = protocol
        protocol.connection_made(wire)  # type: ignore[arg-type]  # as much of one as is used
        return protocol, wire


def serve(call_next: CallNext, *, in_flight: int = 100, **limits: Any) -> Served:
    served = Served(call_next, ServerLimits(**limits), in_flight)

    async def noted(exchange: Exchange) -> Response:
        exchange.on_finish(served.finished.append)
        return await call_next(exchange)

    served.gateway._call_next = noted
    return served


def request(
    method: str = "POST",
    target: str = "/v1/x",
    *headers: bytes,
    body: bytes | None = None,
    version: str = "1.1",
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}".encode(), b"Host: tap", *headers]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")
