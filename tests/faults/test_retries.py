"""Answers that are asked for again, where that is switched on (reliability 67 to 70)."""

from __future__ import annotations

import time

import pytest

from tests.conftest import StartTap
from tests.support import bodies, steps
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Connection, Upstream

CHAT = "/v1/chat/completions"


@pytest.fixture
def retrying(upstream: Upstream, start_tap: StartTap) -> LLMTap:
    retries = {"answers": 2, "total_s": 3}
    return start_tap(config=settings(upstream.url, retries=retries, quiet=True))


def answers(*statuses: int, retry_after: bytes = b"0") -> steps.Step:
    """Each request gets the next of these statuses."""
    left = list(statuses)

    def answer(connection: Connection) -> None:
        connection.read_body()
        status = left.pop(0)
        body = b'{"status": %d}' % status
        more = [] if status == 200 else [(b"Retry-After", retry_after)]
        length = (b"Content-Length", b"%d" % len(body))
        connection.send(steps.head(status, steps.JSON_TYPE, length, *more) + body)

    return answer


@pytest.mark.parametrize("status", [429, 503, 529])
def test_r67_asked_for_again_until_it_is_good_with_the_same_bytes(
    upstream: Upstream, retrying: LLMTap, case: str, status: int
) -> None:
    upstream.script(case, answers(status, status, 200))
    body = bodies.chat_request(case)
    answer = retrying.call("POST", f"{CHAT}?{case}", None, body)
    assert (answer.status, answer.body) == (200, b'{"status": 200}')
    sent = [r for c in upstream.connections for r in c.requests if case.encode() in r.target]
    assert [bytes(r.body) for r in sent] == [body] * 3
    assert len({(r.target, tuple(r.headers)) for r in sent}) == 1
    trace = retrying.trace(case)
    assert [a["status"] for a in trace["upstream"]["attempts"]] == [status, status, 200]
    assert trace["termination"]["cause"] == "ok"
    assert trace["response"]["body"]["value"] == {"status": 200}


def test_r69_the_last_answer_passes_when_the_tries_are_used_up(
    upstream: Upstream, retrying: LLMTap, case: str
) -> None:
    upstream.script(case, answers(429, 503, 429, 200))
    answer = retrying.call("POST", f"{CHAT}?{case}", None, bodies.chat_request(case))
    assert answer.status == 429
    assert upstream.hits(case) == 3
    assert retrying.trace(case)["termination"]["cause"] == "upstream_error"


@pytest.mark.parametrize("asked", [b"60", b"99999999999", b"Fri, 15 Jan 2999 07:00:00 GMT"])
def test_r70_a_pause_past_the_total_time_is_the_clients_to_keep(
    upstream: Upstream, retrying: LLMTap, case: str, asked: bytes
) -> None:
    upstream.script(case, answers(429, 200, retry_after=asked))
    began = time.monotonic()
    answer = retrying.call("POST", f"{CHAT}?{case}", None, bodies.chat_request(case))
    assert answer.status == 429
    assert answer.head.one("retry-after") == asked
    assert time.monotonic() - began < 1
    assert upstream.hits(case) == 1


def test_r70_retry_after_is_kept_to(upstream: Upstream, retrying: LLMTap, case: str) -> None:
    upstream.script(case, answers(429, 200, retry_after=b"1"))
    began = time.monotonic()
    answer = retrying.call("POST", f"{CHAT}?{case}", None, bodies.chat_request(case))
    assert answer.status == 200
    assert 0.95 < time.monotonic() - began < 2
    trace = retrying.trace(case)
    assert trace["upstream"]["attempts"][1]["wait_ms"] == 1000
    assert trace["timing"]["overhead_ms"] < 500, "the pause is not the proxy's own time"


def test_r67_a_body_over_the_replay_buffer_is_not_sent_twice(
    upstream: Upstream, retrying: LLMTap, case: str
) -> None:
    upstream.script(case, answers(429, 200))
    body = bodies.chat_request(case + "x" * (1 << 20))
    assert retrying.call("POST", f"{CHAT}?{case}", None, body).status == 429
    assert upstream.hits(case) == 1


def test_r67_other_statuses_are_not_asked_for_again(
    upstream: Upstream, retrying: LLMTap, case: str
) -> None:
    upstream.script(case, answers(500, 200))
    assert retrying.call("POST", f"{CHAT}?{case}", None, b"{}").status == 500
    assert upstream.hits(case) == 1


def test_r68_a_stream_that_has_begun_is_not_begun_again(
    upstream: Upstream, retrying: LLMTap, case: str
) -> None:
    upstream.script(case, *steps.stream(bodies.chat_events()[:2], end=steps.rst()))
    answer = retrying.call("POST", f"{CHAT}?{case}", None, bodies.chat_request(case, stream=True))
    assert not answer.complete
    assert upstream.hits(case) == 1


def test_client_that_leaves_in_the_pause_ends_it(
    upstream: Upstream, retrying: LLMTap, case: str
) -> None:
    upstream.script(case, answers(429, 200, retry_after=b"2"))
    with retrying.client() as client:
        client.request("POST", f"{CHAT}?{case}", None, bodies.chat_request(case))
        upstream.wait(lambda: upstream.hits(case) == 1)
    trace = retrying.trace(case, timeout=1.5)
    assert trace["termination"]["cause"] == "client_disconnected"
    assert upstream.hits(case) == 1
