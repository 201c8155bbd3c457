"""Reliability 38 to 40: WebSockets through the real program, with the `websockets` library on both
sides, and with raw sockets where a library would not do what is done there."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.conftest import StartTap
from tests.support import steps
from tests.support.client import Client
from tests.support.frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    WebSocketServer,
    accept,
    closing,
    connected,
    frame,
    handshake,
    read_frame,
)
from tests.support.tap import Document, LLMTap, settings
from tests.support.upstream import Connection, Upstream
from tests.support.wire import Ended

MASK = b"\x01\x02\x03\x04"
_KEY = "sk-subprotocol-0123456789abcdef"
_OURS = "sk-upstreams-own-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[WebSocketServer]:
    with WebSocketServer(subprotocols=["realtime"]) as started:
        yield started


@pytest.fixture(scope="module")
def front(server: WebSocketServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMTap]:
    """The program in front of the library's server."""
    started = LLMTap(tmp_path_factory.mktemp("tap"), base_url=server.url, args=["--quiet"])
    try:
        yield started.start()
    finally:
        started.stop()


def open_socket(tap: LLMTap, case: str, **options: object) -> ClientConnection:
    url = f"ws://127.0.0.1:{tap.port}/v1/realtime?model=gpt-realtime&case={case}"
    return connect(url, **options)  # type: ignore[arg-type]  # the library's


def seen(trace: Document) -> list[tuple[str, str, object]]:
    return [(e["from"], e["opcode"], e["raw"]) for e in trace["stream"]["events"]]


# --- what passes ---


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_r38_messages_pass_both_ways_and_are_traced(
    server: WebSocketServer, front: LLMTap, case: str, compression: str | None
) -> None:
    noise = bytes(range(256)) * 400
    with open_socket(front, case, subprotocols=["realtime"], compression=compression) as client:
        assert client.subprotocol == "realtime"
        assert bool(client.protocol.extensions) is (compression is not None)
        for message in ("hällo", noise, ["frag", "ment", "ed"]):
            client.send(message)
            whole = "".join(message) if isinstance(message, list) else message
            assert client.recv(timeout=5) == whole
        assert client.ping(b"there?").wait(5)
        client.close(4001, "enough")
    assert server.closes.get(timeout=5) == 4001
    trace = front.trace(case)
    assert trace["termination"] == {
        "cause": "ok",
        "phase": "done",
        "detail": "closed by the client, 4001",
    }
    assert trace["summary"]["status"] == 101
    assert trace["summary"]["model"] == "gpt-realtime"
    assert trace["stream"]["protocol"] == "websocket"
    assert trace["forwarded"]["changed"] is False
    events = seen(trace)
    texts = [e for e in events if e[1] == "text"]
    assert texts == [
        (s, "text", t) for t in ("hällo", "fragmented") for s in ("client", "upstream")
    ]
    assert [e[0] for e in events if e[1] == "binary"] == ["client", "upstream"]
    assert ("client", "ping", "there?") in events
    assert ("upstream", "pong", "there?") in events
    closes = [(e["from"], e["code"]) for e in trace["stream"]["events"] if e["opcode"] == "close"]
    assert closes == [("client", 4001), ("upstream", 4001)]


def test_r38_the_upstreams_close_code_reaches_the_client(start_tap: StartTap, case: str) -> None:
    with WebSocketServer(lambda s: s.close(4002, "no more")) as server:
        tap = start_tap(base_url=server.url)
        with open_socket(tap, case) as client, pytest.raises(ConnectionClosed) as end:
            client.recv(timeout=5)
        assert (end.value.rcvd.code, end.value.rcvd.reason) == (4002, "no more")
        assert tap.trace(case)["termination"]["detail"] == "closed by the upstream, 4002"


def test_r38_the_handshake_is_forwarded_as_it_came(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    upstream.script(case, accept((b"Sec-WebSocket-Protocol", b"b")), steps.until_closed())
    offers = [(b"Sec-WebSocket-Protocol", b"a, b"), (b"Authorization", b"Bearer sk-mine")]
    offers += [(b"Sec-WebSocket-Extensions", b"permessage-deflate"), (b"Origin", b"http://o")]
    with connected(tap.address, case, *offers):
        head = upstream.request(case).head
    sent = handshake(case, *offers).split(b"\r\n")[:-2]
    received = head.raw.split(b"\r\n")[:-2]
    assert [*received[:1], *received[2:]] == [*sent[:1], *sent[2:]], "all but Host"


@pytest.mark.parametrize("size", [1, 3, 70_000])
def test_r38_frames_glued_to_the_handshakes_pass(
    upstream: Upstream, tap: LLMTap, case: str, size: int
) -> None:
    down, up = frame(BINARY, b"d" * size), frame(BINARY, b"u" * size, key=MASK)

    def listen(connection: Connection) -> None:
        assert connection.wire.exactly(len(up)) == up
        connection.send(frame(TEXT, b"got it") + frame(CLOSE, closing(1000)))

    upstream.script(case, accept(then=down), listen, steps.until_closed())
    with connected(tap.address, case, then=up) as client:
        assert read_frame(client) == (BINARY, b"d" * size)
        assert read_frame(client) == (TEXT, b"got it")
    events = seen(tap.trace(case))
    assert sorted(e[:2] for e in events) == [
        ("client", "binary"),
        ("upstream", "binary"),
        ("upstream", "close"),
        ("upstream", "text"),
    ]


def test_r38_pieces_of_a_frame_pass_when_they_come(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    """Payload is not waited for, and a head that is cut anywhere loses nothing."""
    whole = frame(BINARY, b"x" * 300) + frame(PING, b"p") + frame(TEXT, b"abc")

    def dribble(connection: Connection) -> None:
        for at in range(len(whole)):
            connection.send(whole[at : at + 1])
            if at == 100:  # in the payload: what came before must be there now
                connection.wire.exactly(7)

    upstream.script(case, accept(), dribble, steps.until_closed())
    with connected(tap.address, case) as client:
        assert client.wire.exactly(101) == whole[:101]
        client.send(frame(TEXT, b"1", key=MASK))
        assert client.wire.exactly(len(whole) - 101) == whole[101:]


@pytest.mark.parametrize("status", [200, 401, 404, 426])
def test_r38_any_other_answer_passes_as_an_ordinary_one(
    upstream: Upstream, tap: LLMTap, case: str, status: int
) -> None:
    """Codex tries a WebSocket first and falls back to HTTP on 426 or 404."""
    upstream.script(case, *steps.reply(status, b'{"no": 1}'))
    with Client(tap.address, timeout=3) as client:
        client.send(handshake(case) + frame(TEXT, b"early", key=MASK))
        answer = client.answer()
        assert (answer.status, answer.body) == (status, b'{"no": 1}')
        assert client.wire.ended_within(3) is not None
    assert tap.trace(case)["summary"]["status"] == status


def test_r38_a_101_nobody_asked_for_is_502(upstream: Upstream, tap: LLMTap, case: str) -> None:
    upstream.script(case, accept(), steps.until_closed())
    answer = tap.call("GET", f"/v1/models?{case}")
    assert answer.status == 502


# --- how it ends ---


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_r38_a_client_that_leaves_ends_the_upstream(
    upstream: Upstream, tap: LLMTap, case: str, how: str
) -> None:
    upstream.script(case, accept(then=frame(TEXT, b"hi")), steps.until_closed())
    client = connected(tap.address, case)
    read_frame(client)
    if how == "rst":
        client.reset()
    client.close()
    upstream.ended(case, timeout=1)
    trace = tap.trace(case)
    assert (trace["termination"]["cause"], trace["summary"]["status"]) == (
        "client_disconnected",
        101,
    )
    assert seen(trace) == [("upstream", "text", "hi")]


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_r38_an_upstream_that_leaves_ends_the_client(
    upstream: Upstream, tap: LLMTap, case: str, how: str
) -> None:
    """Without a close frame of our own: the client is to see what happened (1006)."""

    def leave(connection: Connection) -> None:
        connection.wire.exactly(7)
        (steps.rst() if how == "rst" else steps.fin())(connection)

    half = frame(TEXT, b"only the beginning")[:9]
    upstream.script(case, accept(then=frame(TEXT, b"hi") + half), leave)
    with connected(tap.address, case) as client:
        read_frame(client)
        assert client.wire.exactly(len(half)) == half
        client.send(frame(TEXT, b"1", key=MASK))
        assert client.wire.ended_within(1) is not None
        assert client.wire.buffer == b""
    trace = tap.trace(case)
    cause = "upstream_eof" if how == "fin" else "upstream_reset"
    assert trace["termination"]["cause"] == cause
    assert [e.get("incomplete", False) for e in trace["stream"]["events"]] == [False, False, True]


def test_r38_silence_past_the_limit_ends_both(start_tap: StartTap, case: str) -> None:
    with WebSocketServer() as server:
        tap = start_tap(config=settings(server.url, timeouts={"idle_s": 0.4}))
        with open_socket(tap, case, ping_interval=None) as client:
            for _ in range(3):  # one side's talking is enough
                time.sleep(0.2)
                client.send("still here")
                client.recv(timeout=2)
            with pytest.raises(ConnectionClosed) as end:
                client.recv(timeout=2)
            assert end.value.rcvd.code == 1001
        assert server.closes.get(timeout=1) == 1001
        assert tap.trace(case)["termination"]["cause"] == "timeout"


def test_r38_a_stop_is_told_to_both_sides(start_tap: StartTap, case: str) -> None:
    with WebSocketServer() as server:
        tap = start_tap(config=settings(server.url, drain={"streams_s": 0.2}))
        with open_socket(tap, case) as client:
            client.send("hello")
            client.recv(timeout=2)
            tap.terminate()
            with pytest.raises(ConnectionClosed) as end:
                client.recv(timeout=5)
            assert end.value.rcvd.code == 1012
        assert server.closes.get(timeout=2) == 1001
        assert tap.wait() == 0
        assert tap.trace(case)["termination"]["cause"] == "shutdown"


def test_r38_a_killed_proxy_leaves_a_trace(start_tap: StartTap, case: str) -> None:
    with WebSocketServer() as server:
        tap = start_tap(base_url=server.url)
        key = {"Authorization": f"Bearer {_KEY}"}
        with open_socket(tap, case, additional_headers=key) as client:
            client.send("before the kill")
            assert client.recv(timeout=2) == "before the kill"
            tap.kill9(group=False)
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=5)
        trace = tap.trace(case)
        assert (trace["state"], trace["termination"]["cause"]) == ("recovered", "crash")
        assert seen(trace)[:2] == [(s, "text", "before the kill") for s in ("client", "upstream")]


def test_r38_killed_with_its_recorder_the_next_start_writes_the_trace(
    start_tap: StartTap, upstream: Upstream, case: str
) -> None:
    upstream.script(case, accept(then=frame(TEXT, b"there")), steps.until_closed())
    tap = start_tap(base_url=upstream.url)
    with connected(tap.address, case, (b"Authorization", b"Bearer " + _KEY.encode())) as client:
        read_frame(client)
        wire = upstream.request(case).connection
        for message in (frame(TEXT, b"here", key=MASK), frame(TEXT, _KEY.encode(), key=MASK)):
            client.send(message)
            upstream.wait(lambda m=message: m in wire.received)
        tap.kill9(group=True)
    journal = b"".join(path.read_bytes() for path in tap.trace_dir.rglob("*") if path.is_file())
    assert b"here" in journal, "without its mask"
    assert _KEY.encode() not in journal
    tap.restart()
    trace = tap.trace(case)
    assert trace["state"] == "recovered"
    assert seen(trace)[:2] == [("upstream", "text", "there"), ("client", "text", "here")]
    assert "a secret was taken out" in trace["request"]["body"]["truncated"]["reason"]


# --- what it costs the others ---


def test_r38_the_slot_comes_back_and_the_connection_does_not(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    tap = start_tap(config=settings(upstream.url, limits={"upstream_connections": 1}))
    for number in range(3):
        marker = f"{case}-{number}"
        upstream.script(marker, accept(), steps.until_closed())
        connected(tap.address, marker).close()
        upstream.ended(marker)
        assert tap.call("GET", f"/v1/models?{case}-after-{number}").status == 200
        upgraded = upstream.request(marker).connection
        assert upstream.request(f"{case}-after-{number}").connection is not upgraded


@pytest.mark.parametrize("reader", ["client", "upstream"])
def test_r38_a_side_that_does_not_read_throttles_the_other(
    upstream: Upstream, start_tap: StartTap, case: str, reader: str
) -> None:
    """Memory stays flat, and once it reads all of it is there."""
    tap = start_tap(base_url=upstream.url, args=["--quiet"])
    sent: list[int] = []

    def push(sock: socket.socket) -> None:
        piece = frame(BINARY, b"x" * 65_530, key=MASK if reader == "upstream" else b"")
        sock.settimeout(0.5)
        try:
            while sum(sent) < 200 << 20:
                sent.append(sock.send(piece))
        except TimeoutError:
            pass

    if reader == "upstream":
        upstream.script(case, accept(), steps.pause(3), steps.until_closed())
    else:
        upstream.script(case, accept(), lambda c: push(c.wire.sock), steps.until_closed())
    with connected(tap.address, case) as client:
        before = tap.memory_kb()
        if reader == "upstream":
            push(client.wire.sock)
        else:
            upstream.wait(lambda: sum(sent) > 0)
            size = -1
            while size != sum(sent):  # until it is stopped
                size = sum(sent)
                time.sleep(0.6)
        assert 0 < sum(sent) < 32 << 20
        assert tap.memory_kb() - before < 40_000
        if reader == "client":
            client.wire.sock.settimeout(1)
            with pytest.raises((Ended, TimeoutError)):
                client.wire.exactly(sum(sent) + 1)
            assert len(client.wire.buffer) == sum(sent)


# --- 39: sizes ---


def _huge(sender: str, how: str) -> bytes:
    key = MASK if sender == "client" else b""
    if how == "one frame":
        return frame(BINARY, b"x" * 1000, key=key, length=(16 << 20) + 1)
    part = b"x" * (1 << 20)
    first = frame(BINARY, part, key=key, fin=False) + frame(PING, b"", key=key)
    return first + frame(0, part, key=key, fin=False) * 15 + frame(0, b"!", key=key)


@pytest.mark.parametrize("how", ["one frame", "fragments"])
@pytest.mark.parametrize("sender", ["client", "upstream"])
def test_r39_a_message_over_the_limit_closes_both_sides_with_1009(
    upstream: Upstream, tap: LLMTap, case: str, sender: str, how: str
) -> None:
    told: list[bytes] = []

    def hear(connection: Connection) -> None:
        if sender == "upstream":
            connection.wire.record = None
            connection.send(_huge(sender, how))
        steps.until_closed()(connection)

    def keep(connection: Connection) -> None:
        try:
            hear(connection)
        except Ended:
            told.append(bytes(connection.wire.buffer[-200:]))
            raise

    upstream.script(case, accept(), keep)
    with connected(tap.address, case) as client:
        if sender == "client":
            client.send_what_it_takes(_huge(sender, how))
        opcode, payload = read_frame(client)
        while opcode != CLOSE:
            opcode, payload = read_frame(client)
        assert payload[:2] == closing(1009)
        assert client.wire.ended_within(1) is not None
    upstream.ended(case)
    upstream.wait(lambda: bool(told))
    assert _last_close(told[0]) == 1009
    trace = tap.trace(case)
    assert (trace["termination"]["cause"], trace["error"]["source"]) == ("rejected", "proxy")
    assert f"the {sender} sent" in trace["termination"]["detail"]


def _last_close(tail: bytes) -> int:
    """The code of the masked close frame these bytes end with."""
    at = tail.rindex(b"\x88\x9a")
    key = tail[at + 2 : at + 6]
    return int.from_bytes(
        bytes(b ^ k for b, k in zip(tail[at + 6 : at + 8], key, strict=False)), "big"
    )


def test_r39_the_limit_itself_passes_and_is_set_in_the_config(
    start_tap: StartTap, case: str
) -> None:
    with WebSocketServer(max_size=None) as server:
        tap = start_tap(config=settings(server.url, limits={"websocket_message_bytes": "100KiB"}))
        with open_socket(tap, case, compression=None) as client:
            for _ in range(3):  # it is a message's size, not a connection's
                client.send(b"x" * 102_400)
                assert len(client.recv(timeout=5)) == 102_400
            client.send(b"x" * 102_401)
            with pytest.raises(ConnectionClosed) as end:
                client.recv(timeout=5)
            assert end.value.rcvd.code == 1009
        assert server.closes.get(timeout=2) == 1009


# --- 40: keys ---


def test_r40_key_in_a_subprotocol_lets_in_and_goes_no_further(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    config = settings(
        upstream.url,
        upstream={"api_key": _OURS},
        middlewares=["trace", {"auth": {"keys": [{"label": "web", "key": _KEY}]}}],
    )
    tap = start_tap(config=config)
    upstream.script(case, accept((b"Sec-WebSocket-Protocol", b"realtime")), steps.until_closed())
    offer = f"realtime, openai-insecure-api-key.{_KEY}, openai-organization.org-1".encode()
    with connected(tap.address, case, (b"Sec-WebSocket-Protocol", offer)) as client:
        head = upstream.request(case).head
        assert head.all("sec-websocket-protocol") == [b"realtime, openai-organization.org-1"]
        assert head.all("authorization") == [b"Bearer " + _OURS.encode()]
        client.send(frame(TEXT, _KEY.encode(), key=MASK))
        wire = upstream.request(case).connection
        upstream.wait(lambda: len(wire.received) >= len(head.raw) + 6 + len(_KEY))
    assert _KEY.encode() not in head.raw
    trace = tap.trace(case)
    assert trace["client"]["key_label"] == "web"
    assert seen(trace) == [("client", "text", "[REDACTED]")]
    tap.stop()
    texts = [p.read_bytes() for p in Path(tap.folder).rglob("*") if p.is_file()]
    config_text = (tap.folder / "config.yaml").read_bytes()
    assert all(
        _KEY.encode() not in t and _OURS.encode() not in t for t in texts if t != config_text
    )


@pytest.mark.parametrize("offered", [None, "sk-nobody-knows-this-0123456789"])
def test_r40_without_a_known_key_nothing_is_forwarded(
    upstream: Upstream, start_tap: StartTap, case: str, offered: str | None
) -> None:
    keys = {"auth": {"keys": [{"label": "web", "key": _KEY}]}}
    tap = start_tap(config=settings(upstream.url, middlewares=["trace", keys]))
    protocols = ["realtime"] + ([f"openai-insecure-api-key.{offered}"] if offered else [])
    with pytest.raises(InvalidStatus) as refused:
        open_socket(tap, case, subprotocols=protocols)
    assert refused.value.response.status_code == 401
    error = json.loads(refused.value.response.body)["error"]["message"]
    assert ("not known" in error) is (offered is not None)
    assert upstream.hits(case) == 0


def test_r40_managed_without_auth_the_clients_key_is_replaced(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    tap = start_tap(config=settings(upstream.url, upstream={"api_key": _OURS}))
    upstream.script(case, accept(), steps.until_closed())
    offer = (b"Sec-WebSocket-Protocol", f"openai-insecure-api-key.{_KEY}".encode())
    with connected(tap.address, case, offer):
        head = upstream.request(case).head
    assert head.all("sec-websocket-protocol") == []
    assert head.all("authorization") == [b"Bearer " + _OURS.encode()]
