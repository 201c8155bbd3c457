from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from src.proxy.errors import (
    BodyError,
    ConnectFailed,
    ConnectTimeout,
    HeadersTimeout,
    PayloadTooLarge,
    ProxyError,
    TLSFailed,
    UpstreamClosed,
)
from src.proxy.exchange import Cause, Exchange, Phase, Response, Upstream
from src.proxy.forwarder import Forwarder, TimeLimit, outgoing
from src.proxy.transport.base import Outgoing

from .kit import Header, Source, make_exchange, make_upstream, streamed, turns


class Scripted:
    """A transport that answers from a list: an exception is raised, all else is returned."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.sent: list[Outgoing] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, exchange: Exchange, upstream: Upstream, out: Outgoing) -> Response:
        self.sent.append(out)
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, Response)
        return step


def forwarder(*script: object, retries: int = 2) -> tuple[Forwarder, Scripted]:
    transport = Scripted(*script)
    return Forwarder({"up": transport}, retries), transport


def ok(status: int = 200) -> Response:
    return Response(status, [], streamed(), http_version=b"1.1")


# --- what the upstream gets ---


def sent(headers: list[Header], target: bytes = b"/v1/x", **upstream: Any) -> Outgoing:
    exchange = make_exchange(target=target, headers=tuple(headers))
    exchange.upstream = make_upstream(**upstream)
    return outgoing(exchange, exchange.upstream)


def test_headers_keep_order_case_and_repetition_with_the_upstreams_host():
    given = [(b"hOsT", b"tap"), (b"X-B", b"2"), (b"x-a", b"1"), (b"X-B", b"3")]
    assert sent(given).headers == [(b"hOsT", b"up.test:81"), *given[1:]]


HOP = [
    (b"Connection", b"keep-alive, X-Gone"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Proxy-Authorization", b"Basic x"),
    (b"TE", b"trailers"),
    (b"Upgrade", b"h2c"),
    (b"Expect", b"100-continue"),
    (b"Trailer", b"X"),
    (b"x-llmtap-session", b"s"),
    (b"x-gone", b"1"),
]


@pytest.mark.parametrize("position", [0, 1])
def test_hop_by_hop_headers_and_those_connection_names_stop_here(position: int):
    """Reliability 13."""
    kept = [(b"Host", b"tap"), (b"Accept", b"*/*")]
    given = kept[:position] + HOP + kept[position:]
    assert sent(given).headers == [(b"Host", b"up.test:81"), (b"Accept", b"*/*")]


@pytest.mark.parametrize(
    "name", [b"authorization", b"content-length", b"host", b"transfer-encoding"]
)
def test_connection_cannot_name_away_what_the_upstream_needs(name: bytes):
    given = [(b"Connection", name), (b"Host", b"a"), (b"Authorization", b"x")]
    given.append((b"Content-Length", b"0"))
    names = [n.lower() for n, _ in sent(given).headers]
    assert names == [b"host", b"authorization", b"content-length"]


def test_http_1_0_without_a_host_gets_one():
    exchange = make_exchange(headers=((b"A", b"1"),), version=b"1.0")
    assert outgoing(exchange, make_upstream()).headers == [(b"Host", b"up.test:81"), (b"A", b"1")]


def test_key_replaces_the_clients_wherever_it_stands():
    out = sent(
        [(b"Host", b"a"), (b"x-api-key", b"mine"), (b"Connection", b"authorization")],
        target=b"/v1/x?key=mine&a=1",
        api_key="theirs",
    )
    assert (b"Authorization", b"Bearer theirs") in out.headers
    assert out.target == b"/v1/x?a=1"
    assert not any(b"mine" in value for _, value in out.headers)


def test_edits_replace_in_place_add_at_the_end_and_remove():
    exchange = make_exchange(headers=((b"A", b"1"), (b"B", b"2"), (b"a", b"3"), (b"C", b"4")))
    exchange.set_header(b"a", b"new")
    exchange.set_header(b"D", b"5")
    exchange.remove_header(b"c")
    out = outgoing(exchange, make_upstream(extra_headers=((b"B", b"static"),)))
    assert out.headers == [(b"a", b"new"), (b"B", b"static"), (b"D", b"5")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\nb"),
        (b"x", b"a\0"),
        (b"x y", b"1"),
        (b"x:", b"1"),
        (b"", b"1"),
        (b"Content-Length", b"1"),
        (b"transfer-encoding", b"chunked"),
    ],
)
def test_edit_that_would_break_the_head_is_refused(name: bytes, value: bytes):
    """Reliability 114."""
    with pytest.raises(ValueError, match=r"header|frames"):
        make_exchange().set_header(name, value)


@pytest.mark.parametrize(
    "framing",
    [(b"Content-Length", b"9"), (b"Transfer-Encoding", b"chunked"), (b"Content-Encoding", b"br")],
)
async def test_replaced_body_brings_its_own_framing(framing: Header):
    exchange = make_exchange(headers=((b"Host", b"a"), framing, (b"X", b"1")))
    exchange.body.chunked = framing[0] == b"Transfer-Encoding"
    exchange.replace_body(b"new!")
    forward, transport = forwarder(ok())
    await forward(exchange)
    out = transport.sent[0]
    assert out.body == b"new!"
    assert out.headers[1:] == [(b"X", b"1"), (b"content-length", b"4")]
    assert exchange.forwarded is not None
    assert exchange.forwarded.body_changed
    assert exchange.forwarded.sha256_out == hashlib.sha256(b"new!").hexdigest()


@pytest.mark.parametrize(
    ("base", "target", "expected"),
    [
        (b"", b"/v1/x?a=%zz;b", b"/v1/x?a=%zz;b"),
        (b"/api/v1", b"/v1/x?", b"/api/v1/x?"),
        (b"/api", b"/v1/../%2F//x", b"/api/v1/../%2F//x"),
    ],
)
def test_target_is_joined_byte_for_byte(base: bytes, target: bytes, expected: bytes):
    exchange = make_exchange(target=target)
    assert outgoing(exchange, make_upstream(base)).target == expected


@pytest.mark.parametrize(("query", "expected"), [(b"b=2", b"/x?b=2"), (b"", b"/x")])
def test_replaced_query_stands_in_place_of_the_clients(query: bytes, expected: bytes):
    exchange = make_exchange(target=b"/x?a=1")
    exchange.replace_query(query)
    assert outgoing(exchange, make_upstream()).target == expected


# --- what is not forwarded ---


@pytest.mark.parametrize(
    ("prepare", "status", "code"),
    [
        (lambda e: setattr(e, "upstream", None), 404, b"unknown_path"),
        (lambda e: setattr(e, "refusal", (503, "overloaded", "x")), 503, b"overloaded"),
    ],
)
async def test_refused_without_an_upstream_hit(
    prepare: Callable[[Exchange], None], status: int, code: bytes
):
    exchange = make_exchange()
    prepare(exchange)
    forward, transport = forwarder()
    response = await forward(exchange)
    assert (response.status, response.refused) == (status, True)
    assert dict(response.headers)[b"x-llmtap-error"] == code
    assert not transport.sent


async def test_websocket_is_refused_so_that_clients_fall_back():
    exchange = make_exchange(b"GET", headers=((b"Upgrade", b"WebSocket"),))
    forward, transport = forwarder()
    assert (await forward(exchange)).status == 426
    assert not transport.sent


async def test_request_whose_body_has_failed_already_is_not_forwarded():
    """Reliability 116: 413 before the upstream."""
    exchange = make_exchange(body=None, limit=10)
    exchange.body.refuse_length(11)
    forward, transport = forwarder(ok())
    with pytest.raises(PayloadTooLarge):
        await forward(exchange)
    assert not transport.sent


async def test_second_call_is_an_error():
    forward, transport = forwarder(ok(), ok())
    exchange = make_exchange()
    await forward(exchange)
    with pytest.raises(RuntimeError, match="called twice"):
        await forward(exchange)
    assert len(transport.sent) == 1


# --- attempts ---


async def test_failed_connect_is_tried_again_and_each_try_is_noted():
    """Reliability 64, 72."""
    forward, transport = forwarder(ConnectFailed("a"), ConnectFailed("b"), ok(429))
    exchange = make_exchange()
    response = await forward(exchange)
    assert response.status == 429
    assert len(transport.sent) == 3
    assert [(a.error, a.status) for a in exchange.attempts] == [
        ("upstream_connect_failed", None),
        ("upstream_connect_failed", None),
        (None, 429),
    ]
    assert (exchange.cause, exchange.phase) == (Cause.UPSTREAM_ERROR, Phase.BODY)
    assert exchange.upstream_body is response.body


@pytest.mark.parametrize(
    "error",
    [ConnectTimeout("t"), TLSFailed("t"), UpstreamClosed("t", stale=True), HeadersTimeout("t")],
)
async def test_what_took_its_time_or_may_have_been_read_is_not_tried_again(error: ProxyError):
    """Reliability 52, 65."""
    forward, transport = forwarder(error, ok())
    exchange = make_exchange()
    with pytest.raises(type(error)):
        await forward(exchange)
    assert len(transport.sent) == len(exchange.attempts) == 1
    assert exchange.attempts[0].error == error.code


# --- the total time ---


async def test_total_time_ends_the_wait_for_an_answer():
    async def never(_: Exchange) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    exchange = make_exchange()
    exchange.started -= 10
    with pytest.raises(HeadersTimeout, match="within 5 s"):
        await TimeLimit(never, 5)(exchange)


async def test_total_time_cuts_an_answer_that_still_comes():
    source = Source()
    body = streamed(source, b"1")

    async def answers(_: Exchange) -> Response:
        return Response(200, [], body)

    exchange = make_exchange()
    response = await TimeLimit(answers, 0.01)(exchange)
    assert response.body is body
    with pytest.raises(BodyError, match="not over") as caught:
        await body.pipe(lambda _: None)
    assert caught.value.cause == "timeout"
    assert source.aborted


async def test_total_time_keeps_nothing_once_the_exchange_is_over(
    monkeypatch: pytest.MonkeyPatch,
):
    body = streamed(None, b"1")

    async def answers(_: Exchange) -> Response:
        return Response(200, [], body)

    timers: list[asyncio.TimerHandle] = []
    loop = asyncio.get_running_loop()
    real = loop.call_at

    def noted(*args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        timers.append(real(*args, **kwargs))
        return timers[-1]

    monkeypatch.setattr(loop, "call_at", noted)
    exchange = make_exchange()
    await TimeLimit(answers, 1000)(exchange)
    exchange.finish()
    await turns()
    assert timers
    assert all(timer.cancelled() for timer in timers)
