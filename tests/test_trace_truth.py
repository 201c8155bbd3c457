"""How it ended, as the trace tells it and as the client sees it: one test per cause.

Every test wants exactly one trace with that cause and phase, and a client that sees a failure as a
failure: a stream that is cut has no `0\r\n\r\n`, a failure before the first byte is JSON in the
provider's shape with the trace's id in it.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.conftest import StartTap
from tests.support import bodies, steps
from tests.support.client import Answer, Client
from tests.support.tap import Document, LLMTap, settings, several
from tests.support.tls import Authority
from tests.support.upstream import Upstream
from tests.support.wire import Ended, Header, free_port

CHAT = "/v1/chat/completions"
EVENTS = bodies.chat_events()


@pytest.fixture(scope="module")
def hasty(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMTap]:
    """The program with short time-outs."""
    tap = LLMTap(
        tmp_path_factory.mktemp("hasty"),
        config=settings(
            upstream.url, timeouts={"idle_s": 0.4, "headers_s": 0.6, "connect_s": 0.5}, quiet=True
        ),
    )
    try:
        yield tap.start()
    finally:
        tap.stop()


@pytest.fixture(scope="module")
def full_backlog() -> Iterator[str]:
    """The address of a listener that never completes another handshake."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = []
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
            waiting.append(sock)
        yield f"http://127.0.0.1:{full.getsockname()[1]}"
        for sock in waiting:
            sock.close()


@pytest.fixture(scope="module")
def tls_upstreams(authority: Authority) -> Iterator[dict[str, Upstream]]:
    """Upstreams by what is wrong with their certificates, and one that is good."""
    made = {
        "self_signed": Upstream(tls=authority.context("self_signed")),
        "wrong_name": Upstream(tls=authority.context("wrong_name", host="DNS:elsewhere.test")),
        "expired": Upstream(tls=authority.context("expired", end="20210101000000Z")),
        "good": Upstream(tls=authority.context("good"), default=steps.stream(EVENTS)),
        "plain": Upstream(),
        "silent": Upstream(),
    }
    made["plain"].on_accept = (steps.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"),)
    for upstream in made.values():
        upstream.start()
    yield made
    for upstream in made.values():
        upstream.stop()


@pytest.fixture(scope="module")
def dead_ends(
    tls_upstreams: dict[str, Upstream],
    full_backlog: str,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LLMTap]:
    """One program in front of upstreams that cannot be reached, each under its prefix."""
    nobody = f"http://127.0.0.1:{free_port()}"
    upstreams: dict[str, dict[str, object]] = {
        "refuses": {"base_url": nobody},
        "no_name": {"base_url": "http://does-not-exist.invalid"},
        "blackhole": {"base_url": full_backlog},
    }
    for kind in ("anthropic", "gemini", "ollama"):
        upstreams[f"refuses_{kind}"] = {"base_url": nobody, "type": kind}
    for name, made in tls_upstreams.items():
        trust = {} if name == "self_signed" else {"ca_file": str(authority.ca_file)}
        upstreams[name] = {"base_url": f"https://127.0.0.1:{made.port}", **trust}
    config = several(upstreams, timeouts={"connect_s": 0.5}, retries={"connect": 0}, quiet=True)
    tap = LLMTap(tmp_path_factory.mktemp("dead_ends"), config=config)
    try:
        yield tap.start()
    finally:
        tap.stop()


def file_part(tap: LLMTap, case: str) -> str:
    return tap.path_of(case).stem.rsplit("_", 1)[1]


def ended(trace: Document) -> tuple[str, str]:
    assert trace["summary"]["cause"] == trace["termination"]["cause"]
    assert trace["summary"]["status"] == (trace["response"] or {}).get("status")
    assert trace["schema"] == "llmtap/1"
    assert trace["timing"]["finished_ms"] >= 0
    return trace["termination"]["cause"], trace["termination"]["phase"]


def is_the_proxys_own(answer: Answer, trace: Document, status: int) -> None:
    """JSON in OpenAI's shape, with the request's id in it and in a header."""
    assert (answer.status, answer.complete) == (status, True)
    assert answer.one("x-llmtap-id") == trace["id"].encode()
    assert (answer.one("content-type") or b"").startswith(b"application/json")
    error = json.loads(answer.body)["error"]
    assert error["message"]
    assert trace["id"] in answer.body.decode()
    assert trace["error"]["source"] == "proxy"
    assert trace["error"]["message"]


def joined(trace: Document) -> bytes:
    return "".join(event["raw"] for event in trace["stream"]["events"]).encode()


# --- it went well ---


def test_ok_call(upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]) -> None:
    upstream.script(
        case, *steps.reply(200, bodies.chat_answer(), steps.JSON_TYPE, (b"x-request-id", b"req_7"))
    )
    tap.call("POST", CHAT, tagged, bodies.chat_request(case))
    trace = tap.trace(case)
    assert ended(trace) == ("ok", "done")
    assert trace["error"] is None
    assert trace["stream"] is None
    summary = trace["summary"]
    assert summary["model"].startswith("gpt-4o")
    assert (summary["provider"], summary["operation"]) == ("openai", "chat")
    assert (summary["status"], summary["input_tokens"], summary["output_tokens"]) == (200, 9, 4)
    assert trace["response"]["body"]["kind"] == "json"
    assert trace["response"]["body"]["value"] == json.loads(bodies.chat_answer())
    assert trace["request"]["body"]["value"] == json.loads(bodies.chat_request(case))
    assert trace["upstream"]["request_id"] == "req_7"
    assert file_part(tap, case) == "200"


def test_ok_stream(upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]) -> None:
    upstream.script(case, *steps.stream(EVENTS, gap_s=0.005))
    tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    trace = tap.trace(case)
    assert ended(trace) == ("ok", "done")
    assert joined(trace) == b"".join(EVENTS)
    assert trace["stream"]["terminal"] is True
    assert trace["summary"]["ttft_ms"] == trace["timing"]["first_token_ms"]
    timing = trace["timing"]
    order = [
        timing[key]
        for key in (
            "upstream_sent_ms",
            "upstream_headers_ms",
            "first_byte_ms",
            "first_token_ms",
            "last_byte_ms",
            "finished_ms",
        )
    ]
    assert order == sorted(order)
    assert trace["usage"]["cache_read_tokens"] == 3
    assert trace["usage"]["reasoning_tokens"] == 1
    assert trace["usage"]["source"] == "provider"
    message = trace["response"]["message"]
    assert message["object"] == "chat.completion"
    assert message["choices"][0]["message"]["content"] == "The tap runs."
    assert file_part(tap, case) == "200"


# --- the upstream says no ---


def test_upstream_429(upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]) -> None:
    upstream.script(case, *steps.reply(429, bodies.OPENAI_ERROR, reason=b"Too Many Requests"))
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case))
    assert (answer.status, answer.body) == (429, bodies.OPENAI_ERROR)
    trace = tap.trace(case)
    assert ended(trace) == ("upstream_error", "done")
    assert trace["error"]["source"] == "upstream"
    assert trace["error"]["status"] == 429
    assert trace["error"]["type"] == "rate_limit_error"
    assert trace["error"]["message"] == "slow down"
    assert file_part(tap, case) == "429"


def test_error_event_in_a_200(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    events = [*bodies.chat_events(done=False), bodies.OPENAI_STREAM_ERROR, b"data: [DONE]\n\n"]
    upstream.script(case, *steps.stream(events))
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert answer.body == b"".join(events)
    trace = tap.trace(case)
    assert ended(trace)[0] == "in_stream_error"
    assert trace["error"]["source"] == "in_stream"
    assert trace["error"]["message"] == "it broke"
    assert joined(trace) == b"".join(events)


def test_error_event_of_anthropic(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(base_url=upstream.url, kind="anthropic", args=["--quiet"])
    events = [*bodies.messages_events(done=False), bodies.ANTHROPIC_STREAM_ERROR]
    upstream.script(case, *steps.stream(events))
    tap.call("POST", "/v1/messages", tagged, bodies.messages_request(case, stream=True))
    trace = tap.trace(case)
    assert ended(trace)[0] == "in_stream_error"
    assert trace["error"]["type"] == "overloaded_error"


# --- the client leaves (41 to 44) ---


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("streams", [True, False])
def test_r42_r43_client_leaves_before_headers(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], how: str, streams: bool
) -> None:
    upstream.script(case, steps.read_body(), steps.until_closed())
    client = Client(tap.address)
    client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=streams))
    upstream.wait(lambda: upstream.hits(case) == 1 and upstream.request(case).complete)
    left = time.monotonic()
    client.close() if how == "close" else client.reset()
    connection = upstream.ended(case, timeout=1.2)
    assert connection.ended is not None
    assert connection.ended - left < 1
    trace = tap.trace(case)
    assert ended(trace) == ("client_disconnected", "headers")
    assert trace["response"] is None or trace["response"]["status"] is None
    assert trace["summary"]["model"] == "gpt-4o"
    assert file_part(tap, case) == "ERR"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_r41_client_leaves_mid_stream(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], how: str
) -> None:
    sent = EVENTS[:3]
    upstream.script(case, *steps.stream(sent, end=steps.until_closed()))
    client = Client(tap.address)
    client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    client.answer_head()
    assert b"".join(client.wire.chunk() for _ in sent) == b"".join(sent)
    left = time.monotonic()
    client.close() if how == "close" else client.reset()
    connection = upstream.ended(case, timeout=1.2)
    assert connection.ended is not None
    assert connection.ended - left < 1
    trace = tap.trace(case)
    assert ended(trace) == ("client_disconnected", "body")
    assert joined(trace) == b"".join(sent)
    assert trace["stream"]["terminal"] is False
    assert file_part(tap, case) == "CUT"


def test_client_leaves_a_busy_stream(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    upstream.script(case, *steps.stream(EVENTS[:1], end=steps.write_until_closed(_chunk())))
    client = Client(tap.address)
    client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    client.answer_head()
    client.wire.chunk()
    left = time.monotonic()
    client.reset()
    connection = upstream.ended(case, timeout=1.2)
    assert connection.ended is not None
    assert connection.ended - left < 1
    assert ended(tap.trace(case)) == ("client_disconnected", "body")


def _chunk() -> bytes:
    return b"%x\r\n%b\r\n" % (len(EVENTS[1]), EVENTS[1])


def test_client_that_leaves_after_the_terminal_event_has_not_failed(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    upstream.script(case, *steps.stream(EVENTS, end=steps.until_closed(2)))
    client = Client(tap.address)
    client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    client.answer_head()
    for _ in EVENTS:
        client.wire.chunk()
    client.close()
    trace = tap.trace(case)
    assert trace["termination"]["cause"] == "ok"
    assert trace["stream"]["terminal"] is True


def test_r44_client_leaves_during_its_upload(upstream: Upstream, tap: LLMTap, case: str) -> None:
    upstream.script(case, steps.read_body(), *steps.reply())
    client = Client(tap.address)
    client.send(
        f"POST {CHAT}?{case} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n".encode() + b"half"
    )
    upstream.request(case)
    client.reset()
    upstream.ended(case, timeout=1.2)
    assert not upstream.request(case).complete
    trace = tap.trace(case)
    assert ended(trace) == ("client_disconnected", "request")
    assert trace["request"]["body"]["wire_bytes"] == 4


def test_r44_chunked_upload_that_is_left_is_not_ended_for_the_upstream(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    upstream.script(case, steps.read_body(), *steps.reply())
    client = Client(tap.address)
    client.send(
        f"POST {CHAT}?{case} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + b"4\r\nhalf\r\n"
    )
    request = upstream.request(case)
    upstream.wait(lambda: bytes(request.body) == b"half")
    client.close()
    connection = upstream.ended(case, timeout=1.2)
    assert not request.complete
    assert b"\r\n0\r\n" not in connection.received
    assert ended(tap.trace(case)) == ("client_disconnected", "request")


# --- the upstream fails (49 to 57) ---


def test_r49_upstream_refuses(dead_ends: LLMTap, case: str, tagged: list[Header]) -> None:
    answer = dead_ends.call("POST", f"/refuses{CHAT}", tagged, bodies.chat_request(case))
    trace = dead_ends.trace(case)
    assert trace["timing"]["finished_ms"] < 100
    is_the_proxys_own(answer, trace, 502)
    assert ended(trace) == ("connect_failed", "connect")
    assert trace["request"]["body"]["value"] == json.loads(bodies.chat_request(case))
    assert file_part(dead_ends, case) == "502"


def test_r50_name_that_does_not_resolve(dead_ends: LLMTap, case: str, tagged: list[Header]) -> None:
    answer = dead_ends.call("POST", f"/no_name{CHAT}", tagged, bodies.chat_request(case))
    trace = dead_ends.trace(case)
    is_the_proxys_own(answer, trace, 502)
    assert ended(trace) == ("connect_failed", "connect")
    assert "does-not-exist.invalid" in json.dumps(trace["termination"]["detail"])


@pytest.mark.parametrize("fault", ["self_signed", "wrong_name", "expired"])
def test_r51_certificate_that_cannot_be_trusted(
    tls_upstreams: dict[str, Upstream],
    dead_ends: LLMTap,
    case: str,
    tagged: list[Header],
    fault: str,
) -> None:
    answer = dead_ends.call("POST", f"/{fault}{CHAT}", tagged, bodies.chat_request(case))
    trace = dead_ends.trace(case)
    is_the_proxys_own(answer, trace, 502)
    assert ended(trace) == ("tls_failed", "connect")
    assert all(not c.received for c in tls_upstreams[fault].connections)


def test_tls_upstream_that_is_trusted_serves(
    dead_ends: LLMTap, case: str, tagged: list[Header]
) -> None:
    body = bodies.chat_request(case, stream=True)
    assert dead_ends.call("POST", f"/good{CHAT}", tagged, body).body == b"".join(EVENTS)
    trace = dead_ends.trace(case)
    assert ended(trace) == ("ok", "done")
    assert trace["timing"]["upstream_connect_ms"] > 0


@pytest.mark.parametrize(("name", "status"), [("plain", 502), ("silent", 504)])
def test_plain_http_where_tls_is_expected(
    dead_ends: LLMTap, case: str, tagged: list[Header], name: str, status: int
) -> None:
    answer = dead_ends.call("POST", f"/{name}{CHAT}", tagged, b"{}", timeout=4)
    trace = dead_ends.trace(case)
    is_the_proxys_own(answer, trace, status)
    assert ended(trace) == ("tls_failed" if name == "plain" else "timeout", "connect")


def test_r52_connect_that_is_never_answered(
    dead_ends: LLMTap, case: str, tagged: list[Header]
) -> None:
    answer = dead_ends.call("POST", f"/blackhole{CHAT}", tagged, bodies.chat_request(case))
    trace = dead_ends.trace(case)
    is_the_proxys_own(answer, trace, 504)
    assert ended(trace) == ("timeout", "connect")
    assert 450 <= trace["timing"]["finished_ms"] <= 600


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_r57_upstream_ends_before_its_headers(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], how: str
) -> None:
    upstream.script(case, steps.read_body(), steps.rst() if how == "rst" else steps.fin())
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case))
    trace = tap.trace(case)
    is_the_proxys_own(answer, trace, 502)
    assert ended(trace) == ("upstream_reset" if how == "rst" else "upstream_eof", "headers")
    assert file_part(tap, case) == "502"


def test_r56_upstream_resets_mid_stream(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    sent = EVENTS[:3]
    upstream.script(case, *steps.stream(sent, end=_after(0.05, steps.rst())))
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert (answer.status, answer.end) == (200, "cut")
    assert answer.body == b"".join(sent)
    trace = tap.trace(case)
    assert ended(trace) == ("upstream_reset", "body")
    assert joined(trace) == b"".join(sent)
    assert file_part(tap, case) == "CUT"


def _after(seconds: float, step: steps.Step) -> steps.Step:
    def both(connection: steps.Connection) -> None:
        steps.pause(seconds)(connection)
        step(connection)

    return both


def test_r56_chunked_stream_without_its_last_chunk(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    upstream.script(case, *steps.stream(EVENTS[:3], end=steps.fin()))
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert answer.end == "cut"
    assert answer.body == b"".join(EVENTS[:3])
    assert ended(tap.trace(case)) == ("upstream_eof", "body")
    assert file_part(tap, case) == "CUT"


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_r33_clean_end_without_the_terminal_event(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], framing: str
) -> None:
    sent = bodies.chat_events(done=False)
    if framing == "chunked":
        upstream.script(case, *steps.stream(sent))
    else:
        wire = steps.head(200, steps.SSE_TYPE) + b"".join(sent)
        upstream.script(case, steps.read_body(), steps.send(wire), steps.fin())
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert answer.body == b"".join(sent)
    trace = tap.trace(case)
    assert ended(trace)[0] == "upstream_eof"
    assert trace["stream"]["terminal"] is False
    assert joined(trace) == b"".join(sent)


@pytest.mark.parametrize("streams", [True, False])
def test_r56_content_length_that_is_not_reached(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], streams: bool
) -> None:
    sent = b"".join(EVENTS[:3]) if streams else bodies.chat_answer()
    fields = (steps.SSE_TYPE if streams else steps.JSON_TYPE, (b"Content-Length", b"99999"))
    upstream.script(
        case, steps.read_body(), steps.send(steps.head(200, *fields) + sent), steps.fin()
    )
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=streams))
    assert answer.end == "cut"
    assert answer.body == sent
    assert ended(tap.trace(case)) == ("upstream_eof", "body")
    assert file_part(tap, case) == "CUT"


def test_r53_upstream_stalls_before_its_headers(
    upstream: Upstream, hasty: LLMTap, case: str, tagged: list[Header]
) -> None:
    upstream.script(case, steps.read_body(), steps.until_closed())
    began = time.monotonic()
    answer = hasty.call("POST", CHAT, tagged, bodies.chat_request(case))
    took = time.monotonic() - began
    trace = hasty.trace(case)
    is_the_proxys_own(answer, trace, 504)
    assert ended(trace) == ("timeout", "headers")
    assert 0.54 <= took <= 1.2
    upstream.ended(case)


def test_r54_upstream_stalls_mid_stream(
    upstream: Upstream, hasty: LLMTap, case: str, tagged: list[Header]
) -> None:
    upstream.script(case, *steps.stream(EVENTS[:2], end=steps.until_closed()))
    answer = hasty.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert answer.end == "cut"
    assert answer.body == b"".join(EVENTS[:2])
    trace = hasty.trace(case)
    assert ended(trace) == ("timeout", "body")
    assert 360 <= trace["timing"]["finished_ms"] - trace["timing"]["last_byte_ms"] <= 600
    assert file_part(hasty, case) == "CUT"
    upstream.ended(case)


def test_r55_slow_drip_is_no_stall(
    upstream: Upstream, hasty: LLMTap, case: str, tagged: list[Header]
) -> None:
    upstream.script(case, *steps.stream(EVENTS, gap_s=0.15))
    answer = hasty.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert answer.complete
    trace = hasty.trace(case)
    assert ended(trace) == ("ok", "done")
    assert 120 <= trace["timing"]["max_gap_ms"] <= 400


# --- the proxy is told to stop ---


def test_shutdown_during_a_stream_past_the_drain_time(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(
        config=settings(upstream.url, drain={"streams_s": 0.4, "flush_s": 3}, quiet=True)
    )
    upstream.script(case, *steps.stream(EVENTS[:2], end=steps.until_closed()))
    with Client(tap.address) as client:
        client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
        client.answer_head()
        assert client.wire.chunk() + client.wire.chunk() == b"".join(EVENTS[:2])
        tap.terminate()
        with pytest.raises(Ended):
            client.wire.chunk()
    assert tap.wait(5) == 0
    trace = tap.trace(case)
    assert ended(trace) == ("shutdown", "body")
    assert joined(trace) == b"".join(EVENTS[:2])
    assert trace["state"] == "complete"
    assert file_part(tap, case) == "CUT"
    upstream.ended(case)


def test_stream_that_ends_within_the_drain_time_is_ok(
    upstream: Upstream, start_tap: StartTap, case: str, tagged: list[Header]
) -> None:
    tap = start_tap(config=settings(upstream.url, drain={"streams_s": 5}, quiet=True))
    go = threading.Event()
    upstream.script(
        case,
        *steps.stream(EVENTS[:2], end=steps.wait(go)),
        *[steps.chunk(event) for event in EVENTS[2:]],
        steps.end_chunks(),
    )
    with Client(tap.address) as client:
        client.request("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
        client.answer_head()
        got = client.wire.chunk() + client.wire.chunk()
        tap.terminate()
        time.sleep(0.2)
        go.set()
        while data := client.wire.chunk():
            got += data
    assert got == b"".join(EVENTS)
    assert tap.wait(5) == 0
    assert ended(tap.trace(case)) == ("ok", "done")


# --- what the client is told is the provider's shape (63) ---


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("anthropic", "/v1/messages"),
        ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("ollama", "/api/chat"),
    ],
)
def test_r63_own_errors_speak_the_providers_language(
    dead_ends: LLMTap, case: str, tagged: list[Header], kind: str, path: str
) -> None:
    answer = dead_ends.call("POST", f"/refuses_{kind}{path}", tagged, b"{}")
    assert answer.status == 502
    body = json.loads(answer.body)
    if kind == "anthropic":
        assert body["type"] == "error"
        assert set(body["error"]) >= {"type", "message"}
    elif kind == "gemini":
        assert body["error"]["code"] == 502
        assert set(body["error"]) >= {"message", "status"}
    else:
        assert isinstance(body["error"], str)
    assert (answer.one("x-llmtap-id") or b"-") in answer.body
    assert ended(dead_ends.trace(case)) == ("connect_failed", "connect")


def test_unknown_path_is_traced_too(upstream: Upstream, tap: LLMTap, case: str) -> None:
    upstream.script(
        case, *steps.reply(404, b"<html>nothing</html>", (b"Content-Type", b"text/html"))
    )
    assert tap.call("GET", f"/no/such/path?{case}").status == 404
    trace = tap.trace(case)
    assert ended(trace) == ("upstream_error", "done")
    assert trace["summary"]["operation"] == "other"
    assert trace["response"]["body"]["value"] == "<html>nothing</html>"
    assert trace["response"]["body"]["kind"] == "text"


# --- odd bodies are traced as they are (92) ---


@pytest.mark.parametrize(
    "body",
    [
        b"\x00\x01\xff\xfe binary",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"n": ' + b"9" * 5_000 + b"}",
        b'{"model": "a", "model": "b"}',
        b"\xef\xbb\xbf{}",
        b"",
        b"null",
        b'"text"',
    ],
    ids=["binary", "nan", "surrogate", "deep", "digits", "twice", "bom", "empty", "null", "text"],
)
def test_r92_odd_json_is_forwarded_and_the_trace_is_valid(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], body: bytes
) -> None:
    upstream.script(case, *steps.reply(200, body))
    answer = tap.call("POST", CHAT, tagged, body)
    assert answer.body == body
    assert bytes(upstream.request(case).body) == body
    trace = tap.trace(case)
    assert ended(trace)[0] == "ok"
    assert trace["request"]["body"]["wire_bytes"] == len(body)
    json.dumps(trace, allow_nan=False)


def test_r90_ids_from_outside_do_not_name_files(upstream: Upstream, tap: LLMTap, case: str) -> None:
    tap.call("GET", f"/v1/x?{case}", [(b"X-Request-Id", b"../../x"), (b"x-llmtap-id", b"mine")])
    path = (tap.trace(case), tap.path_of(case))[1]
    assert path.parent.parent == tap.trace_dir
    assert tap.documents(case)[0][1]["id"] in path.name


def test_r96_files_and_folders_are_private(upstream: Upstream, tap: LLMTap, case: str) -> None:
    tap.call("GET", f"/v1/x?{case}")
    tap.trace(case)
    path = tap.path_of(case)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert tap.trace_dir.stat().st_mode & 0o777 == 0o700
