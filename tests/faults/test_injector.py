"""The fault injector does what it says, and the program between two of them tells the truth."""

from __future__ import annotations

import socket
import time

import pytest

from tests.conftest import StartTap
from tests.faults.injector import Fault, Injector
from tests.support import bodies, steps
from tests.support.client import Client
from tests.support.upstream import Upstream
from tests.support.wire import Ended, Header

CHAT = "/v1/chat/completions"
EVENTS = bodies.chat_events()


def echo(connection: steps.Connection) -> None:
    while True:
        connection.send(connection.wire.some())


@pytest.fixture
def echoing() -> Upstream:
    server = Upstream()
    server.on_accept = (echo,)
    return server


def read_to_end(client: Client) -> tuple[bytes, str]:
    try:
        while True:
            client.wire.fill()
    except Ended as end:
        return end.rest, end.how


def test_without_a_fault_everything_passes(echoing: Upstream) -> None:
    data = bytes(range(256)) * 4000
    with echoing, Injector(echoing.address) as injector, Client(injector.address) as client:
        client.send(data)
        assert client.wire.exactly(len(data)) == data
        client.half_close()
        assert client.wire.ended_within(2) == "fin"
        assert injector.passed == [len(data), len(data)]


def test_slices_arrive_one_by_one(echoing: Upstream) -> None:
    down = Fault(slice_bytes=3, bytes_per_s=300)
    with (
        echoing,
        Injector(echoing.address, down=down) as injector,
        Client(injector.address) as client,
    ):
        client.send(b"0123456789")
        assert [client.wire.some() for _ in range(4)] == [b"012", b"345", b"678", b"9"]


def test_latency_and_rate_take_their_time(echoing: Upstream) -> None:
    late, slow = Fault(latency_s=0.1), Fault(slice_bytes=5, bytes_per_s=100)
    faults = [(late, late), (slow, Fault())]
    with echoing, Injector(echoing.address, plan=lambda number: faults[number]) as injector:
        for size in (1, 21):  # 0.1 s each way; 20 bytes waited for at 100 a second
            began = time.monotonic()
            with Client(injector.address) as client:
                client.send(b"x" * size)
                client.wire.exactly(size)
            assert 0.2 <= time.monotonic() - began < 1


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("at", [0, 1, 7])
def test_fin_after_n_bytes(echoing: Upstream, way: str, at: int) -> None:
    with (
        echoing,
        Injector(echoing.address, **{way: Fault(stop_after=at, then="fin")}) as injector,
        Client(injector.address) as client,
    ):
        client.send(b"0123456789")
        assert read_to_end(client) == (b"0123456789"[:at], "fin")


@pytest.mark.parametrize("way", ["up", "down"])
def test_rst_after_n_bytes_is_seen_by_both(echoing: Upstream, way: str) -> None:
    with (
        echoing,
        Injector(echoing.address, **{way: Fault(stop_after=7, then="rst")}) as injector,
        Client(injector.address) as client,
    ):
        client.send(b"0123456789")
        got, how = read_to_end(client)
        assert how == "rst"
        assert b"0123456".startswith(got)
        echoing.wait(lambda: any(c.fate == "peer_rst" for c in echoing.connections), 2)


@pytest.mark.parametrize("way", ["up", "down"])
def test_stall_after_n_bytes_is_silence(echoing: Upstream, way: str) -> None:
    with (
        echoing,
        Injector(echoing.address, **{way: Fault(stop_after=7)}) as injector,
        Client(injector.address) as client,
    ):
        client.send(b"0123456789")
        assert client.wire.exactly(7) == b"0123456"
        assert client.wire.silent_for(0.1)
        client.close()
        if way == "down":  # else the client's own end is among what does not pass
            echoing.wait(lambda: echoing.connections[0].fate != "open", 2)
        else:
            assert echoing.connections[0].fate == "open"


def test_a_target_that_refuses_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    with Injector(address) as injector:
        try:
            with Client(injector.address) as client:
                how = client.wire.ended_within(2)
        except ConnectionResetError:  # before the socket was even set up
            how = "rst"
        assert how == "rst"


# --- the program between two of them ---


def test_a_slow_and_sliced_way_changes_nothing(start_tap: StartTap, case: str) -> None:
    """One byte at a time, both ways, on both sides."""
    fault = Fault(slice_bytes=1, latency_s=0.002)
    request = bodies.chat_request(case, stream=True)
    with (
        Upstream(default=steps.stream(EVENTS)) as upstream,
        Injector(upstream.address, up=fault, down=fault) as behind,
    ):
        tap = start_tap(base_url=behind.url, args=["--quiet"])
        before = Injector(tap.address, up=fault, down=fault)
        with before, Client(before.address) as client:
            client.request("POST", CHAT, [], request)
            answer = client.answer()
        assert bytes(upstream.request(CHAT).body) == request
    assert (answer.status, answer.end, answer.body) == (200, "complete", b"".join(EVENTS))
    trace = tap.trace(case)
    assert trace["termination"]["cause"] == "ok"
    assert "".join(e["raw"] for e in trace["stream"]["events"]).encode() == b"".join(EVENTS)


@pytest.mark.parametrize(
    ("then", "cause"), [("fin", "upstream_eof"), ("rst", "upstream_reset"), ("stall", "timeout")]
)
def test_a_way_that_breaks_is_told_as_it_was(
    start_tap: StartTap, case: str, tagged: list[Header], then: str, cause: str
) -> None:
    fault = Fault(stop_after=200, then=then)  # type: ignore[arg-type]  # the parameter is one
    with (
        Upstream(default=steps.stream(EVENTS)) as upstream,
        Injector(upstream.address, down=fault) as injector,
    ):
        tap = start_tap(
            config={
                "upstreams": [{"type": "openai", "base_url": injector.url}],
                "timeouts": {"idle_s": 0.3},
                "quiet": True,
            }
        )
        answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert (answer.status, answer.end) == (200, "cut")
    assert b"".join(EVENTS).startswith(answer.body)
    trace = tap.trace(case)
    assert (trace["termination"]["cause"], trace["termination"]["phase"]) == (cause, "body")
