"""Sections 3 to 5 of the catalogue: clients that leave in numbers, pools, retries."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import StartTap
from tests.support import bodies, steps
from tests.support.client import Client, call
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header, free_port

CHAT = "/v1/chat/completions"


def leave(tap: LLMTap, headers: list[Header], after_s: float, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        client = Client(tap.address)
        client.request("POST", CHAT, headers, b"{}")
        time.sleep(after_s)
        client.reset() if reset else client.close()


def test_r45_cancels_while_queued_for_the_pool_lose_no_slot(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    tap = start_tap(config=settings(upstream.url, limits={"upstream_connections": 4}, quiet=True))
    upstream.script(f"{case}-slow.", steps.read_body(), steps.pause(0.03), *steps.reply())
    headers = [(b"X-Case", f"{case}-slow.".encode())]
    dice = random.Random(7)
    with ThreadPoolExecutor(16) as pool:
        for _ in range(400):
            pool.submit(leave, tap, headers, dice.uniform(0, 0.02), reset=dice.random() < 0.5)
    with ThreadPoolExecutor(8) as pool:
        last = [(b"X-Case", f"{case}-last.".encode())]
        statuses = list(pool.map(lambda _: tap.call("POST", CHAT, last, b"{}").status, range(60)))
    assert statuses == [200] * 60
    assert all(d["termination"]["cause"] == "ok" for d in tap.traces(60, having=f"{case}-last."))


def test_r46_thirty_streams_dropped_together_disturb_nobody(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    piece = b"data: " + b"x" * 8000 + b"\n\n"
    pump = steps.write_until_closed(b"%x\r\n%b\r\n" % (len(piece), piece), 0.005, timeout=5)
    upstream.script(case, *steps.stream([], end=pump))
    clients = [Client(tap.address) for _ in range(30)]
    for client in clients:
        client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    for client in clients:
        client.answer_head()
        client.wire.chunk()
    for client in clients:
        client.reset()
    slowest = 0.0
    for _ in range(10):
        began = time.monotonic()
        assert tap.call("GET", "/v1/next").status == 200
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.2
    upstream.wait(
        lambda: all(r.connection.fate != "open" for r in upstream.requests(case)),
        2,
        "upstream connections are still open",
    )
    causes = {d["termination"]["cause"] for d in tap.traces(30, having=case, timeout=10)}
    assert causes == {"client_disconnected"}


def test_descriptors_do_not_grow(upstream: Upstream, start_tap: StartTap, case: str) -> None:
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    headers = [(b"X-Case", case.encode())]
    upstream.script(case, steps.read_body(), steps.until_closed(3))
    tap.call("GET", "/v1/x")
    before = tap.fds()
    for round_ in range(40):
        leave(tap, headers, 0.005, reset=round_ % 2 == 0)
    deadline = time.monotonic() + 3
    while tap.fds() > before + 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert tap.fds() <= before + 2


def test_full_pool_is_503_with_retry_after(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(
        config=settings(
            upstream.url,
            limits={"upstream_connections": 1},
            timeouts={"pool_s": 0.3},
            quiet=True,
        )
    )
    upstream.script(case, *steps.stream([b"data: 1\n\n"], end=steps.until_closed()))
    with Client(tap.address) as first:
        first.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
        first.answer_head()
        began = time.monotonic()
        answer = tap.call("GET", "/v1/queued")
        assert time.monotonic() - began < 0.8
        assert answer.status == 503
        assert answer.one("retry-after") is not None
    assert tap.traces(1, having="/v1/queued")[0]["summary"]["status"] == 503


def test_connection_limit_is_503_with_retry_after_and_health_is_exempt(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(config=settings(upstream.url, limits={"connections": 2}, quiet=True))
    held = [Client(tap.address) for _ in range(2)]
    for client in held:
        client.request("GET", "/v1/held")
        assert client.answer().status == 200
    assert tap.call("GET", "/readiness").status == 200
    refused = tap.call("POST", CHAT, tagged, b"{}")
    assert (refused.status, refused.one("retry-after")) == (503, b"1")
    assert refused.one("x-llmtap-error") == b"overloaded"
    assert json.loads(refused.body)["error"]["message"].startswith("2 connections are open")
    assert tap.trace(case)["termination"]["cause"] == "rejected"
    for client in held:
        client.close()
    deadline = time.monotonic() + 2
    while tap.call("GET", "/v1/again").status != 200:
        assert time.monotonic() < deadline, "it is still full"


def test_in_flight_limit_is_503_and_ends_with_the_load(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(config=settings(upstream.url, limits={"in_flight": 2}, quiet=True))
    go = threading.Event()
    upstream.script(case, steps.read_body(), steps.wait(go), *steps.reply())
    clients = [Client(tap.address) for _ in range(2)]
    for client in clients:
        client.request("POST", CHAT, tagged, b"{}")
    upstream.wait(lambda: upstream.hits(case) == 2)
    refused = tap.call("GET", "/v1/third")
    assert (refused.status, refused.one("retry-after")) == (503, b"1")
    go.set()
    for client in clients:
        assert client.answer().status == 200
        client.close()
    assert tap.call("GET", "/v1/third").status == 200


# --- retries (64 to 71) ---


def test_r64_connect_failure_is_retried(start_tap: StartTap, case: str) -> None:
    port = free_port()
    tap = start_tap(config=settings(f"http://127.0.0.1:{port}", retries={"connect": 5}, quiet=True))
    late = Upstream(default=steps.reply())
    timer = threading.Timer(0.15, late.start, [port])
    timer.start()
    try:
        answer = tap.call("POST", CHAT, [(b"X-Case", case.encode())], b'{"a":1}')
        trace = tap.trace(case)
        attempts = trace["upstream"]["attempts"]
        assert len(attempts) > 1, "a refused connection is tried again"
        if answer.status == 200:
            assert bytes(late.request(case).body) == b'{"a":1}'
            assert attempts[-1]["status"] == 200
    finally:
        timer.join()
        late.stop()


def test_r72_every_attempt_is_in_the_trace(start_tap: StartTap, case: str) -> None:
    tap = start_tap(
        config=settings(f"http://127.0.0.1:{free_port()}", retries={"connect": 2}, quiet=True)
    )
    assert tap.call("POST", CHAT, [(b"X-Case", case.encode())], b"{}").status == 502
    attempts = tap.trace(case)["upstream"]["attempts"]
    assert len(attempts) == 3
    assert all(a["error"] and a["status"] is None for a in attempts)
    assert [a["started_ms"] for a in attempts] == sorted(a["started_ms"] for a in attempts)


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_r65_post_that_was_sent_is_not_repeated(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], how: str
) -> None:
    upstream.script(case, steps.read_body(), steps.rst() if how == "rst" else steps.fin())
    assert tap.call("POST", CHAT, tagged, b"{}").status == 502
    assert upstream.hits(case) == 1


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_r66_kept_connection_that_the_upstream_has_closed_is_noticed(
    upstream: Upstream, tap: LLMTap, case: str, how: str
) -> None:
    """Closed while idle: known before the next request goes out, so no request fails."""
    end = steps.rst() if how == "rst" else steps.fin()
    for number in range(5):
        name = f"{case}-{number}."
        upstream.script(name, *steps.reply(), steps.pause(0.01), end)
        assert tap.call("GET", f"/v1/x?{name}").status == 200
        time.sleep(0.04)
        assert tap.call("POST", f"/v1/y?{name}after", None, b"{}").status == 200


def test_r66_closed_at_the_moment_of_the_next_request(start_tap: StartTap, case: str) -> None:
    """The race itself: a POST whose bytes nobody read goes again at most once, else 502."""

    def answer_and_close_on_next(connection: steps.Connection) -> None:
        connection.read_body()
        connection.send(steps.head(200, (b"Content-Length", b"2")) + b"{}")
        connection.wire.sock.settimeout(None)
        connection.wire.sock.recv(1, 2)  # MSG_PEEK: the next request is there, and not read
        steps.rst()(connection)

    with Upstream(default=steps.reply()) as upstream:
        upstream.script(f"{case}-race.", answer_and_close_on_next)
        tap = start_tap(base_url=upstream.url, args=["--quiet"])
        for number in range(10):
            assert tap.call("GET", f"/v1/x?{case}-race.").status == 200
            name = f"{case}-{number}."
            answer = tap.call("POST", f"/v1/y?{name}", None, b'{"a":1}')
            assert answer.status in (200, 502)
            assert upstream.hits(name) == (1 if answer.status == 200 else 0)


def test_r68_nothing_is_retried_after_the_first_byte(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    upstream.script(case, *steps.stream([b"data: 1\n\n"], end=steps.rst()))
    assert tap.call("GET", CHAT, tagged).end == "cut"
    assert upstream.hits(case) == 1


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
def test_r71_statuses_are_not_retried_by_default(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], status: int
) -> None:
    upstream.script(case, *steps.reply(status, b"{}", (b"Retry-After", b"0")))
    assert tap.call("POST", CHAT, tagged, b"{}").status == status
    assert upstream.hits(case) == 1


def test_r04_cookies_of_one_caller_are_not_sent_for_another(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    upstream.script(f"{case}-a.", *steps.reply(200, b"{}", (b"Set-Cookie", b"id=first; Path=/")))
    tap.call("GET", f"/v1/x?{case}-a.")
    tap.call("GET", f"/v1/x?{case}-b.")
    assert upstream.request(f"{case}-b.").head.one("cookie") is None


def test_many_at_once_each_get_their_own_answer(upstream: Upstream, tap: LLMTap, case: str) -> None:
    def echo(connection: steps.Connection) -> None:
        connection.read_body()
        body = bytes(connection.request.body)
        connection.send(steps.head(200, (b"Content-Length", b"%d" % len(body))) + body)

    upstream.script(case, echo)

    def one(number: int) -> bool:
        body = b'{"n":%d}' % number + b" " * (number % 700)
        return call(tap.address, "POST", f"/v1/x?{case}", None, body).body == body

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(300)))
    assert len(tap.traces(300, having=case, timeout=10)) == 300
