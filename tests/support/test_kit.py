"""The kit against itself: the client straight at the scripted upstream."""

from __future__ import annotations

import itertools
import ssl
import threading
import time

import pytest

from tests.support import bodies, steps
from tests.support.client import Client, call
from tests.support.tls import Authority
from tests.support.upstream import Upstream
from tests.support.wire import Ended, Header


def test_answer_with_length_and_record(upstream: Upstream, case: str, tagged: list[Header]) -> None:
    upstream.script(case, *steps.reply(201, b'{"a":1}', (b"X-A", b"1"), (b"X-A", b"2")))
    answer = call(upstream.address, "POST", "/p?q=1", tagged, b"body")
    assert (answer.status, answer.body, answer.framing) == (201, b'{"a":1}', "length")
    assert answer.head.all("x-a") == [b"1", b"2"]
    request = upstream.request(case)
    assert (request.method, request.target, bytes(request.body)) == (b"POST", b"/p?q=1", b"body")
    assert request.connection.received.endswith(b"\r\n\r\nbody")


def test_stream_keeps_chunk_boundaries_and_their_times(
    upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    events = bodies.chat_events()
    upstream.script(case, *steps.stream(events, gap_s=0.01))
    answer = call(upstream.address, "POST", "/p", tagged, b"")
    assert [data for _, data in answer.chunks] == events
    times = [when for when, _ in answer.chunks]
    assert all(b > a for a, b in itertools.pairwise(times))


@pytest.mark.parametrize(("step", "how"), [(steps.rst(), "rst"), (steps.fin(), "fin")])
def test_cut_stream_is_seen_as_cut(
    upstream: Upstream, case: str, tagged: list[Header], step: steps.Step, how: str
) -> None:
    upstream.script(case, *steps.stream([b"one"], end=step))
    answer = call(upstream.address, "POST", "/p", tagged, b"")
    assert (answer.end, answer.how) == ("cut", how)
    assert upstream.ended(case).fate == how


def test_client_that_leaves_is_noticed(upstream: Upstream, case: str, tagged: list[Header]) -> None:
    upstream.script(case, *steps.stream([b"one"], end=steps.until_closed()))
    client = Client(upstream.address)
    client.request("POST", "/p", tagged, b"")
    client.answer_head()
    left = time.monotonic()
    client.reset()
    connection = upstream.ended(case)
    assert connection.fate == "peer_rst"
    assert connection.ended is not None
    assert connection.ended - left < 0.5


def test_scripts_in_turn_and_steps_that_wait(upstream: Upstream, case: str) -> None:
    go = threading.Event()
    upstream.script(case, steps.wait(go), *steps.reply(200, b"first"))
    upstream.script(case, *steps.reply(200, b"second"))
    headers = [(b"X-Case", case.encode())]
    with Client(upstream.address) as client:
        client.request("GET", "/", headers)
        assert client.wire.silent_for(0.05)
        go.set()
        assert client.answer().body == b"first"
        client.request("GET", "/", headers)
        assert client.answer().body == b"second"
    assert upstream.hits(case) == 2


def test_end_before_any_answer_is_told(upstream: Upstream, case: str, tagged: list[Header]) -> None:
    upstream.script(case, steps.rst())
    with pytest.raises(Ended):
        call(upstream.address, "GET", "/", tagged)


def test_tls_upstream(authority: Authority) -> None:
    with Upstream(tls=authority.context(), default=steps.reply()) as upstream:
        trusted = ssl.create_default_context(cafile=str(authority.ca_file))
        with Client(upstream.address) as client:
            client.wire.sock = trusted.wrap_socket(client.wire.sock, server_hostname="127.0.0.1")
            client.request("GET", "/")
            assert client.answer().status == 200
