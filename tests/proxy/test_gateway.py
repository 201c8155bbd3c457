from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from src.proxy.errors import BodyError, ConnectTimeout, PoolTimeout, ProxyError
from src.proxy.exchange import CallNext, Cause, Exchange, Phase, Response
from src.proxy.gateway import _CROWD, Gateway
from src.proxy.providers.base import Provider
from src.proxy.turns import _A_TURN

from .kit import FakeClient, Source, make_exchange, make_upstream, streamed, turns

OK = [(b"content-type", b"text/plain")]


def gateway(call_next: CallNext, **options: int) -> Gateway:
    return Gateway([make_upstream()], call_next, Provider(), ("a",), **options)


async def through(
    call_next: CallNext, exchange: Exchange | None = None
) -> tuple[Exchange, FakeClient]:
    """One exchange, seen to its end."""
    exchange, client = exchange or make_exchange(), FakeClient()
    gate = gateway(call_next)
    ends: list[Exchange] = []
    exchange.on_finish(ends.append)
    await asyncio.wait_for(gate.start(exchange, client), 2)
    assert ends == [exchange]
    assert not gate.in_flight
    assert exchange.finished
    assert exchange.t_finished is not None
    return exchange, client


def answers(status: int = 200, body: bytes = b"hi") -> CallNext:
    async def call_next(_: Exchange) -> Response:
        return Response(status, list(OK), body)

    return call_next


def raises(error: BaseException) -> CallNext:
    async def call_next(_: Exchange) -> Response:
        raise error

    return call_next


# --- answers ---


async def test_whole_answer_goes_out_with_its_length_and_is_shown_to_observers():
    exchange = make_exchange()
    seen: list[bytes] = []
    exchange.on_chunk(seen.append)
    _, client = await through(answers(body=b"hello"), exchange)
    assert client.events == ["begin", "write", "end"]
    assert client.head is not None
    assert (b"content-length", b"5") in client.head.headers
    assert seen == [b"hello"]
    assert (exchange.status, exchange.cause, exchange.phase) == (200, Cause.OK, Phase.DONE)


async def test_wrong_length_of_a_middlewares_answer_is_put_right():
    async def rewrites(_: Exchange) -> Response:
        return Response(200, [(b"Content-Length", b"999"), (b"X", b"1")], b"short")

    _, client = await through(rewrites)
    assert client.head is not None
    assert client.head.headers == [(b"X", b"1"), (b"content-length", b"5")]


async def test_head_request_keeps_the_length_it_is_told():
    async def head(_: Exchange) -> Response:
        return Response(200, [(b"content-length", b"999")], b"")

    exchange = make_exchange(b"HEAD")
    seen: list[bytes] = []
    exchange.on_chunk(seen.append)
    _, client = await through(head, exchange)
    assert client.head is not None
    assert client.head.headers == [(b"content-length", b"999")]
    assert seen == []


async def test_stream_is_pushed_timed_and_shown_and_its_head_does_not_wait_for_it():
    body = streamed()

    async def call_next(_: Exchange) -> Response:
        return Response(200, list(OK), body)

    exchange, client = make_exchange(), FakeClient()
    seen: list[bytes] = []
    exchange.on_chunk(seen.append)
    task = gateway(call_next).start(exchange, client)
    await turns()
    assert client.events == ["begin", "flush"]
    body.feed(b"1")
    body.feed(b"2")
    body.finish()
    await task
    assert client.events == ["begin", "flush", "write", "write", "end"]
    assert seen == [b"1", b"2"]
    assert exchange.t_first_byte is not None
    assert exchange.t_last_byte is not None
    assert exchange.t_first_byte <= exchange.t_last_byte
    assert exchange.max_gap > 0


async def test_observer_that_raises_is_dropped_and_the_others_see_all(
    caplog: pytest.LogCaptureFixture,
):
    body = streamed()

    async def call_next(_: Exchange) -> Response:
        return Response(200, [], body)

    calls = {"a": 0, "b": 0}

    def failing(name: str) -> Callable[[bytes], None]:
        def observe(_: bytes) -> None:
            calls[name] += 1
            raise ValueError(name)

        return observe

    exchange, client = make_exchange(), FakeClient()
    seen: list[bytes] = []
    exchange.on_chunk(failing("a"))
    exchange.on_chunk(failing("b"))
    exchange.on_chunk(seen.append)
    task = gateway(call_next).start(exchange, client)
    await turns()
    body.feed(b"1")
    body.feed(b"2")
    body.finish()
    await task
    assert seen == [b"1", b"2"]
    assert calls == {"a": 1, "b": 1}
    assert client.body == b"12"
    assert exchange.cause is Cause.OK


async def test_finish_observer_that_raises_does_not_keep_the_next_from_its_turn(
    caplog: pytest.LogCaptureFixture,
):
    exchange = make_exchange()

    def fails(_: Exchange) -> None:
        raise ValueError

    exchange.on_finish(fails)
    await through(answers(), exchange)
    assert "finish observer failed" in caplog.text


# --- what fails ---


@pytest.mark.parametrize(
    ("error", "status", "cause", "retry_after"),
    [
        (ConnectTimeout("slow"), 504, Cause.TIMEOUT, None),
        (PoolTimeout("full"), 503, Cause.REJECTED, b"1"),
    ],
)
async def test_proxy_error_is_answered_in_the_providers_shape(
    error: ProxyError, status: int, cause: Cause, retry_after: bytes | None
):
    exchange = make_exchange()
    exchange.phase = Phase.CONNECT
    _, client = await through(raises(error), exchange)
    assert client.status == exchange.status == status
    assert exchange.cause is cause
    assert exchange.phase is Phase.CONNECT, "the phase says how far it came"
    assert client.head is not None
    headers = dict(client.head.headers)
    assert headers.get(b"retry-after") == retry_after
    assert headers[b"x-llmtap-error"] == error.code.encode()
    assert client.body == Provider().error_body(status, error.code, str(error), exchange.id)


async def test_middleware_that_raises_is_a_500_for_this_request(caplog: pytest.LogCaptureFixture):
    exchange, client = await through(raises(KeyError("oops")))
    assert client.status == 500
    assert exchange.cause is Cause.REJECTED
    assert b"oops" not in client.body
    assert exchange.id.encode() in client.body


@pytest.mark.parametrize(
    "nonsense", [None, "text", Response(200, [], "text")], ids=["none", "str", "str body"]
)
async def test_nonsense_from_the_chain_is_a_500(nonsense: object, caplog: pytest.LogCaptureFixture):
    async def call_next(_: Exchange) -> Response:
        return nonsense  # type: ignore[return-value]  # that is the point

    exchange, client = await through(call_next)
    assert client.status == 500
    assert client.events == ["begin", "write", "end"]
    assert exchange.cause is Cause.REJECTED


async def test_head_the_client_cannot_take_is_a_500(caplog: pytest.LogCaptureFixture):
    class Strict(FakeClient):
        def begin(self, exchange: Exchange, response: Response) -> None:
            if response.status != 500:
                raise KeyError(response.status)
            super().begin(exchange, response)

    source = Source()
    body = streamed(source)

    async def call_next(exchange: Exchange) -> Response:
        exchange.upstream_body = body
        return Response(42, [], body)

    exchange, client = make_exchange(), Strict()
    await gateway(call_next).start(exchange, client)
    assert client.status == exchange.status == 500
    assert source.aborted


async def test_failure_after_the_head_cuts_the_client():
    """Reliability 56: no clean end for what is not whole."""
    body = streamed(None, b"1")

    async def call_next(_: Exchange) -> Response:
        return Response(500, [], body)

    exchange, client = make_exchange(), FakeClient()
    exchange.end(Cause.UPSTREAM_ERROR)
    task = gateway(call_next).start(exchange, client)
    await turns()
    body.finish(BodyError("upstream_eof", "short"))
    await task
    assert client.events[-1] == "abort"
    assert exchange.cause is Cause.UPSTREAM_EOF, "a cut error answer is a cut one"
    assert exchange.error is not None
    assert exchange.phase is Phase.REQUEST


async def test_rewriter_that_raises_cuts_the_client_and_is_named(caplog: pytest.LogCaptureFixture):
    source = Source()
    body = streamed(source, b"1")
    body.map(lambda chunk: 1 / 0)  # type: ignore[arg-type,return-value]

    async def call_next(_: Exchange) -> Response:
        return Response(200, [], body)

    exchange, client = await through(call_next)
    assert client.events[-1] == "abort"
    assert exchange.cause is Cause.REJECTED
    assert exchange.detail == "internal error: ZeroDivisionError"
    assert source.aborted


# --- whoever does not read the upstream's answer lets it go ---


async def raises_after(gate: Gateway, exchange: Exchange) -> Response:
    raise ValueError


async def answers_itself(gate: Gateway, exchange: Exchange) -> Response:
    return exchange.refuse(403, "no", "no")


async def never_returns(gate: Gateway, exchange: Exchange) -> Response:
    gate.client_left(exchange)
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("then", [raises_after, answers_itself, never_returns])
async def test_upstreams_answer_that_nobody_sends_is_let_go(
    then: Callable[[Gateway, Exchange], Awaitable[Response]], caplog: pytest.LogCaptureFixture
):
    source = Source()

    async def call_next(exchange: Exchange) -> Response:
        exchange.upstream_body = streamed(source, b"1")
        return await then(gate, exchange)

    gate = gateway(call_next)
    await asyncio.wait_for(gate.start(make_exchange(), FakeClient()), 2)
    assert source.aborted
    assert not gate.in_flight


# --- ended from outside ---


async def test_client_that_leaves_stops_everything_and_is_told_apart_from_errors():
    source = Source()
    body = streamed(source, b"1")

    async def call_next(exchange: Exchange) -> Response:
        exchange.upstream_body = body
        exchange.end(Cause.UPSTREAM_ERROR)
        return Response(529, [], body)

    gate = gateway(call_next)
    exchange, client = make_exchange(), FakeClient()
    task = gate.start(exchange, client)
    await turns()
    gate.client_left(exchange)
    await task
    assert exchange.cause is Cause.CLIENT_DISCONNECTED
    assert client.events[-1] == "abort"
    assert source.aborted
    gate.client_left(exchange)  # once more does nothing
    assert not gate.in_flight


@pytest.mark.parametrize("how", ["client", "drain"])
async def test_exchange_ended_before_its_first_step_is_still_finished(how: str):
    forwarded: list[Exchange] = []

    async def call_next(exchange: Exchange) -> Response:
        if exchange.refusal is not None:
            return exchange.refuse(*exchange.refusal)
        forwarded.append(exchange)
        return Response(200, [], b"")

    gate = gateway(call_next)
    exchange, client = make_exchange(), FakeClient()
    ends: list[Exchange] = []
    exchange.on_finish(ends.append)
    task = gate.start(exchange, client)
    if how == "client":
        gate.client_left(exchange)
    else:
        await gate.drain(1)
    await asyncio.wait_for(task, 1)
    assert ends == [exchange]
    assert not gate.in_flight
    assert not forwarded
    assert exchange.cause is (Cause.CLIENT_DISCONNECTED if how == "client" else Cause.SHUTDOWN)
    assert exchange.status is None
    assert client.events == ["abort"]


async def test_exchange_ended_before_its_first_step_in_a_chain_that_waits():
    async def call_next(_: Exchange) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    gate = gateway(call_next)
    exchange = make_exchange()
    task = gate.start(exchange, FakeClient())
    gate.client_left(exchange)
    await asyncio.wait_for(task, 1)
    assert exchange.finished
    assert exchange.cause is Cause.CLIENT_DISCONNECTED


@pytest.mark.parametrize("how", ["client", "drain", "cancel"])
@pytest.mark.parametrize("waits", [False, True], ids=["refused", "chain_waits"])
async def test_exchange_ended_while_it_waits_for_its_turn_passes_the_chain(how: str, waits: bool):
    seen: list[Exchange] = []

    async def call_next(exchange: Exchange) -> Response:
        seen.append(exchange)
        if exchange.refusal is None or waits:
            await asyncio.Event().wait()
        assert exchange.refusal is not None
        return exchange.refuse(*exchange.refusal)

    gate = gateway(call_next)
    crowd = [make_exchange() for _ in range(_CROWD + 3 * _A_TURN)]
    tasks = [gate.start(exchange, FakeClient()) for exchange in crowd]
    await asyncio.sleep(0)
    last = crowd[-1]
    assert last not in seen
    if how == "client":
        gate.client_left(last)
        await asyncio.wait_for(tasks[-1], 1)
    elif how == "cancel":
        tasks[-1].cancel()
        await asyncio.wait_for(tasks[-1], 1)
    await gate.drain(1)
    assert all(exchange in seen for exchange in crowd)
    assert all(exchange.finished for exchange in crowd)
    assert last.cause is (Cause.CLIENT_DISCONNECTED if how == "client" else Cause.SHUTDOWN)
    assert not gate.in_flight


async def test_drain_cuts_what_is_in_flight_and_waits_for_its_end():
    sources = [Source() for _ in range(3)]
    bodies = [streamed(source, b"1") for source in sources]

    async def call_next(exchange: Exchange) -> Response:
        exchange.upstream_body = exchange.ext["body"]  # type: ignore[assignment]
        return Response(200, [], exchange.ext["body"])  # type: ignore[arg-type]

    gate = gateway(call_next)
    exchanges = [make_exchange() for _ in bodies]
    for exchange, body in zip(exchanges, bodies, strict=True):
        exchange.ext["body"] = body
        gate.start(exchange, FakeClient())
    await turns()
    await gate.drain(1)
    assert not gate.in_flight
    assert not gate.ready
    assert all(source.aborted for source in sources)
    assert {exchange.cause for exchange in exchanges} == {Cause.SHUTDOWN}
    await gate.drain(1)  # once more does nothing


async def test_over_the_limit_in_flight_is_refused_and_counted():
    release = asyncio.Event()

    async def call_next(exchange: Exchange) -> Response:
        if exchange.refusal is not None:
            return exchange.refuse(*exchange.refusal)
        await release.wait()
        return Response(200, [], b"")

    gate = gateway(call_next, max_in_flight=1)
    first, second = make_exchange(), make_exchange()
    one = gate.start(first, FakeClient())
    assert not gate.ready
    client = FakeClient()
    await gate.start(second, client)
    assert client.status == 503
    assert second.cause is Cause.REJECTED
    release.set()
    await one
    assert gate.ready
    assert gate.accepted == 2


# --- routing ---


@pytest.mark.parametrize(
    ("path", "name", "rest"),
    [
        (b"/v1/x", "plain", b"/v1/x"),
        (b"/a/v1/x", "a", b"/v1/x"),
        (b"/a/b/v1", "ab", b"/v1"),
        (b"/a", "a", b"/"),
        (b"/ab", "plain", b"/ab"),
        (b"/A/v1", "plain", b"/A/v1"),
        (b"/%61/v1", "plain", b"/%61/v1"),
    ],
)
async def test_longest_prefix_serves_a_path(path: bytes, name: str, rest: bytes):
    ups = [
        make_upstream(name="a", prefix=b"/a"),
        make_upstream(name="ab", prefix=b"/a/b"),
        make_upstream(name="plain"),
    ]
    gate = Gateway(ups, answers(), Provider())
    exchange = make_exchange(target=path + b"?q=1")
    await gate.start(exchange, FakeClient())
    assert exchange.upstream is not None
    assert (exchange.upstream.name, exchange.forward_path) == (name, rest)


async def test_path_that_nobody_serves_has_no_upstream_but_a_language():
    gate = Gateway([make_upstream(prefix=b"/a")], answers(), Provider())
    exchange = make_exchange()
    exchange.upstream = None
    await gate.start(exchange, FakeClient())
    assert exchange.upstream is None
    assert exchange.provider.type == "generic"
