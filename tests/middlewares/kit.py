"""A middleware through its own door: an exchange made by hand, and a lambda behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from src.config.middlewares import inspect_middleware
from src.config.settings import MiddlewareSpec
from src.middlewares.base import Middleware, Services
from src.proxy.bodies import RequestBody
from src.proxy.exchange import Exchange, Response, Upstream
from src.proxy.forwarder import outgoing
from src.proxy.providers import get_provider
from src.proxy.transport.base import Outgoing
from src.utils.ulid import ULIDs

Pair = tuple[bytes, bytes]
_new_id = ULIDs()


class Still:
    """A connection on which nothing more comes."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...


def upstream(kind: str = "openai", *, name: str = "", api_key: str | None = None) -> Upstream:
    return Upstream(
        name=name or kind,
        provider=get_provider(kind),
        base_url="http://up.test",
        prefix=b"",
        scheme="http",
        host="up.test",
        port=80,
        host_header=b"up.test",
        base_path=b"",
        api_key=api_key,
        key_label="config" if api_key else None,
        extra_headers=(),
    )


def exchange(
    *headers: Pair,
    method: bytes = b"POST",
    target: bytes = b"/v1/chat/completions",
    body: bytes | None = None,
    to: Upstream | None = None,
    whole: bool = True,
) -> Exchange:
    """A request as the gateway would hand it on. `whole` False: its body has not arrived."""
    arriving = RequestBody(Still(), 64 << 20, 1 << 20)
    if body is not None:
        headers = (*headers, (b"Content-Length", b"%d" % len(body)))
        if whole and body:
            arriving.feed(body)
    if whole:
        arriving.end()
    made = Exchange(_new_id(), method, target, b"1.1", headers, "127.0.0.1:5", arriving)
    made.upstream = to or upstream()
    made.provider = made.upstream.provider
    made.forward_path = made.path
    return made


def make(name: str, options: dict[str, object], folder: Path = Path("traces")) -> Middleware:
    """The middleware from its raw options, as the config makes it; a mistake fails the test."""
    found, checked, problems = inspect_middleware(MiddlewareSpec(name, options))
    assert found is not None, problems
    assert not problems, [problem.text for problem in problems]
    build = cast("Callable[[object, Services], Middleware]", found)
    return build(checked, Services(trace_dir=folder))


def problems(name: str, options: dict[str, object]) -> list[str]:
    """What the config says about these options: `key: problem; what to do`."""
    found = inspect_middleware(MiddlewareSpec(name, options))[2]
    return [f"{'.'.join(map(str, problem.loc[1:]))}: {problem.text}" for problem in found]


class Forward:
    """The end of the chain: notes what would be sent, answers 200."""

    def __init__(self, answer: Callable[[Exchange], Awaitable[Response]] | None = None) -> None:
        self.sent: list[Outgoing] = []
        self._answer = answer

    async def __call__(self, exchange: Exchange) -> Response:
        assert exchange.upstream is not None
        self.sent.append(outgoing(exchange, exchange.upstream))
        if self._answer is not None:
            return await self._answer(exchange)
        return Response(200, [(b"content-type", b"application/json")], b"{}")
