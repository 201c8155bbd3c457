from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from src.middlewares.chain import build_chain
from src.proxy.errors import ConnectFailed
from src.proxy.exchange import CallNext, Cause, Exchange, Response
from src.proxy.forwarder import Forwarder
from src.proxy.gateway import Gateway
from src.proxy.providers.base import Provider
from tests.proxy.kit import FakeClient, make_exchange, make_upstream

Layer = Callable[[Exchange, CallNext], Awaitable[Response]]


async def forward(exchange: Exchange) -> Response:
    return Response(200, [], b"up")


async def passes(exchange: Exchange, call_next: CallNext) -> Response:
    return await call_next(exchange)


async def run(*layers: Layer, to: CallNext = forward) -> tuple[Exchange, FakeClient]:
    """One exchange through `layers`, named a, b, …"""
    chain = build_chain([(chr(97 + n), layer) for n, layer in enumerate(layers)], to)
    exchange, client = make_exchange(), FakeClient()
    await Gateway([make_upstream()], chain, Provider()).start(exchange, client)
    return exchange, client


async def test_first_is_outermost_both_ways():
    order: list[str] = []

    def noting(name: str) -> Layer:
        async def layer(exchange: Exchange, call_next: CallNext) -> Response:
            order.append(f"{name} in")
            response = await call_next(exchange)
            order.append(f"{name} out")
            return response

        return layer

    _, client = await run(noting("1"), noting("2"))
    assert order == ["1 in", "2 in", "2 out", "1 out"]
    assert client.body == b"up"


async def test_no_layers_is_the_forwarder_itself():
    assert build_chain([], forward) is forward


@pytest.mark.parametrize("position", [0, 1])
async def test_refusal_is_credited_to_whoever_refused(position: int):
    async def refuses(exchange: Exchange, call_next: CallNext) -> Response:
        return exchange.refuse(403, "no", "no")

    layers: list[Layer] = [passes, passes]
    layers[position] = refuses
    exchange, client = await run(*layers)
    assert client.status == 403
    assert exchange.rejected_by == "ab"[position]
    assert (exchange.cause, exchange.detail) == (Cause.REJECTED, "ab"[position])


async def test_refusal_by_the_forwarder_is_no_layers():
    async def unknown(exchange: Exchange) -> Response:
        return exchange.refuse(404, "unknown_path", "no")

    exchange, _ = await run(passes, to=unknown)
    assert exchange.cause is Cause.REJECTED


async def before(exchange: Exchange, call_next: CallNext) -> Response:
    raise ValueError("before")


async def after(exchange: Exchange, call_next: CallNext) -> Response:
    await call_next(exchange)
    raise ValueError("after")


async def nothing(exchange: Exchange, call_next: CallNext) -> Response:
    await call_next(exchange)
    return None  # type: ignore[return-value]  # that is the point


async def text(exchange: Exchange, call_next: CallNext) -> Response:
    return "hello"  # type: ignore[return-value]


@pytest.mark.parametrize("broken", [before, after, nothing, text])
async def test_layer_that_breaks_is_named_and_costs_its_request_a_500(
    broken: Layer, caplog: pytest.LogCaptureFixture
):
    exchange, client = await run(passes, broken, passes)
    assert client.status == 500
    assert exchange.rejected_by == "b"
    assert exchange.detail == "middleware b failed"
    assert exchange.cause is Cause.REJECTED


async def test_second_call_next_is_an_error_of_whoever_calls(caplog: pytest.LogCaptureFixture):
    async def twice(exchange: Exchange, call_next: CallNext) -> Response:
        await call_next(exchange)
        return await call_next(exchange)

    class Once:
        calls = 0

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        async def send(self, *_: object) -> Response:
            self.calls += 1
            return Response(200, [], b"up")

    transport = Once()
    exchange, client = await run(passes, twice, to=Forwarder({"up": transport}))
    assert client.status == 500
    assert transport.calls == 1
    assert exchange.rejected_by == "b"
    assert "called twice" in caplog.text


async def test_error_of_the_upstream_is_no_fault_of_a_layer():
    async def fails(exchange: Exchange) -> Response:
        raise ConnectFailed("refused")

    exchange, client = await run(passes, to=fails)
    assert client.status == 502
    assert exchange.rejected_by is None
    assert exchange.cause is Cause.CONNECT_FAILED


async def test_layer_may_catch_an_upstreams_error_and_answer():
    async def fails(exchange: Exchange) -> Response:
        raise ConnectFailed("refused")

    async def cares(exchange: Exchange, call_next: CallNext) -> Response:
        try:
            return await call_next(exchange)
        except ConnectFailed:
            return Response(200, [], b"from elsewhere")

    _, client = await run(cares, to=fails)
    assert (client.status, client.body) == (200, b"from elsewhere")


async def test_two_rewriters_both_rewrite_the_inner_first():
    def rewriting(mark: bytes) -> Layer:
        async def layer(exchange: Exchange, call_next: CallNext) -> Response:
            response = await call_next(exchange)
            response.map_body(lambda chunk: chunk + mark)
            return response

        return layer

    _, client = await run(rewriting(b"o"), rewriting(b"i"))
    assert client.body.startswith(b"up" + b"i")
    assert client.head is not None
    assert (b"content-length", b"%d" % len(client.body)) in client.head.headers
