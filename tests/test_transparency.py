"""What goes in comes out: the proxy between a raw client and a raw upstream, byte for byte.

Numbers are those of the reliability catalogue.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import statistics
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import StartTap
from tests.support import bodies, steps
from tests.support.client import Client, call, request_bytes
from tests.support.tap import LLMTap, settings, several
from tests.support.upstream import Upstream
from tests.support.wire import LAST_CHUNK, Header, chunked

CHAT = "/v1/chat/completions"
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
# What the proxy may set itself: framing and its own mark.
ITS_OWN = {b"x-llmtap-id", b"transfer-encoding", b"content-length", b"connection", b"date"}


def names_and_values(headers: list[Header], without: set[bytes]) -> list[Header]:
    return [(name, value) for name, value in headers if name.lower() not in without]


# --- a call and a stream, against the same without the proxy ---


@pytest.mark.parametrize("kind", ["json", "stream"])
def test_call_equals_a_direct_one(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], kind: str
) -> None:
    streams = kind == "stream"
    script = (
        steps.stream(bodies.chat_events()) if streams else steps.reply(200, bodies.chat_answer())
    )
    upstream.script(case, *script)
    body = bodies.chat_request(case, stream=streams)
    direct = call(upstream.address, "POST", CHAT, tagged, body)
    through = tap.call("POST", CHAT, tagged, body)
    assert through.complete
    assert (through.status, through.reason) == (direct.status, direct.reason)
    assert through.body == direct.body
    assert [data for _, data in through.chunks] == [data for _, data in direct.chunks]
    assert names_and_values(through.headers, ITS_OWN) == names_and_values(direct.headers, ITS_OWN)
    first, second = upstream.requests(case)
    assert bytes(first.body) == bytes(second.body) == body
    assert names_and_values(second.headers, {b"host"}) == names_and_values(first.headers, {b"host"})


SUMMARIES = {
    "openai": (CHAT, bodies.chat_request, bodies.chat_events(), "gpt-4o", "chat", 9, 4),
    "anthropic": (
        "/v1/messages?beta=true",
        bodies.messages_request,
        bodies.messages_events(),
        "claude-sonnet-4-5",
        "messages",
        10,  # 5 uncached, 2 written to the cache, 3 read from it
        7,
    ),
    "gemini": (
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        bodies.gemini_request,
        bodies.gemini_events(),
        "gemini-2.5-flash",
        "stream_generate_content",
        8,
        6,  # candidates and thoughts
    ),
    "ollama": (
        "/api/chat",
        bodies.ollama_request,
        bodies.ollama_lines(),
        "llama3.2",
        "chat",
        11,
        4,
    ),
}


# base URL's path, the client's path, what the upstream gets
JOINED = (
    ("/api/v1", "/v1/chat/completions?a=b", "/api/v1/chat/completions?a=b"),
    ("/api", "/v1/chat/completions", "/api/v1/chat/completions"),
    ("/api/v1/", "/chat/completions", "/api/v1/chat/completions"),
    ("/a%2Fb", "/v1//x", "/a%2Fb/v1//x"),
)
BASES = [base for base, _, _ in JOINED]


@pytest.fixture(scope="module")
def prefixed(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMTap]:
    """One program with an upstream of each type, and some with a path in their base URL."""
    upstreams = {kind: {"base_url": upstream.url, "type": kind} for kind in SUMMARIES}
    upstreams |= {f"base{n}": {"base_url": upstream.url + base} for n, base in enumerate(BASES)}
    tap = LLMTap(tmp_path_factory.mktemp("prefixed"), config=several(upstreams, quiet=True))
    try:
        yield tap.start()
    finally:
        tap.stop()


@pytest.mark.parametrize("kind", SUMMARIES)
def test_stream_of_each_provider_passes_and_is_summed_up(
    upstream: Upstream, prefixed: LLMTap, case: str, tagged: list[Header], kind: str
) -> None:
    path, request, events, model, operation, tokens_in, tokens_out = SUMMARIES[kind]
    content_type = b"application/x-ndjson" if kind == "ollama" else b"text/event-stream"
    upstream.script(case, *steps.stream(events, (b"Content-Type", content_type)))
    answer = prefixed.call("POST", f"/{kind}{path}", tagged, request(case))
    assert answer.body == b"".join(events)
    assert upstream.request(case).target == path.encode()
    trace = prefixed.trace(case)
    summary = trace["summary"]
    assert summary["provider"] == kind
    assert summary["operation"] == operation
    assert summary["model"].startswith(model)
    assert (summary["input_tokens"], summary["output_tokens"]) == (tokens_in, tokens_out)
    assert (summary["status"], summary["cause"]) == (200, "ok")
    assert summary["duration_ms"] > 0
    assert summary["ttft_ms"] is not None
    assert trace["termination"]["phase"] == "done"
    assert "".join(e["raw"] for e in trace["stream"]["events"]).encode() == b"".join(events)
    assert trace["stream"]["terminal"] is True
    assert trace["stream"]["protocol"] == ("ndjson" if kind == "ollama" else "sse")
    assert "The tap runs." in str(trace["response"]["message"])


# --- any chunks, any cuts (25, 27, 60) ---

_numbers = itertools.count()  # hypothesis seeds random, so it would repeat itself
_slices = st.lists(st.binary(min_size=1, max_size=300), min_size=0, max_size=8)


@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    chunks=_slices,
    framing=st.sampled_from(["chunked", "length", "close"]),
    cuts=st.lists(st.integers(0, 2500), max_size=6),
    sse=st.booleans(),
)
def test_r25_any_chunks_cut_anywhere_arrive_as_sent(
    upstream: Upstream,
    tap: LLMTap,
    chunks: list[bytes],
    framing: str,
    cuts: list[int],
    sse: bool,
) -> None:
    case = f"cuts-{next(_numbers)}."
    body = b"".join(chunks)
    fields: list[Header] = [(b"Content-Type", b"text/event-stream" if sse else b"audio/mpeg")]
    if framing == "chunked":
        fields.append((b"Transfer-Encoding", b"chunked"))
        wire = chunked(*chunks) + LAST_CHUNK
    else:
        wire = body
    if framing == "length":
        fields.append((b"Content-Length", b"%d" % len(body)))
    script = [steps.read_body(), steps.send_slices(steps.head(200, *fields) + wire, cuts)]
    upstream.script(case, *script, *([steps.fin()] if framing == "close" else []))
    answer = tap.call("GET", f"/v1/files/{case}/content")
    assert answer.complete
    assert answer.status == 200
    assert answer.body == body


@hypothesis_settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    chunks=_slices,
    framing=st.sampled_from(["chunked", "length"]),
    cuts=st.lists(st.integers(0, 2500), max_size=6),
)
def test_r25_any_upload_cut_anywhere_arrives_as_sent(
    upstream: Upstream, tap: LLMTap, chunks: list[bytes], framing: str, cuts: list[int]
) -> None:
    case = f"cuts-{next(_numbers)}."
    body = b"".join(chunks)
    head = b"POST /v1/files HTTP/1.1\r\nHost: a\r\nX-Case: " + case.encode() + b"\r\n"
    if framing == "chunked":
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*chunks) + LAST_CHUNK
    else:
        data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with Client(tap.address) as client:
        last = 0
        for cut in sorted({*cuts, len(data)}):
            client.send(data[last:cut])
            last = max(last, min(cut, len(data)))
        assert client.answer().status == 200
    request = upstream.request(case)
    assert request.complete
    assert bytes(request.body) == body


def test_r60_body_ended_by_the_close_is_delivered(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    upstream.script(
        case,
        steps.read_body(),
        steps.send(steps.head(200, (b"Content-Type", b"text/plain")) + b"until the end"),
        steps.fin(),
    )
    answer = tap.call("POST", CHAT, tagged, b"{}")
    assert answer.complete
    assert answer.body == b"until the end"
    assert tap.trace(case)["termination"]["cause"] == "ok"


# --- when it arrives (26) ---


@pytest.mark.parametrize("content_type", [b"text/event-stream", b"application/octet-stream"])
def test_r26_first_piece_arrives_within_50_ms_while_the_upstream_is_silent(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], content_type: bytes
) -> None:
    delays: list[float] = []
    for _ in range(20):
        sent: list[float] = []
        go = threading.Event()
        name = f"{case}-{len(delays)}."
        upstream.script(
            name,
            steps.read_body(),
            steps.send(
                steps.head(200, (b"Content-Type", content_type), (b"Transfer-Encoding", b"chunked"))
            ),
            steps.pause(0.01),
            steps.note(sent),
            steps.chunk(b"data: {}\n\n"),
            steps.wait(go),
            steps.end_chunks(),
        )
        with Client(tap.address) as client:
            client.request("POST", CHAT, [(b"X-Case", name.encode())], b"{}")
            client.answer_head()
            assert client.wire.chunk() == b"data: {}\n\n"
            delays.append(time.monotonic() - sent[0])
            go.set()
            assert client.wire.chunk() == b""
    assert statistics.median(delays) < 0.010, delays
    assert max(delays) < 0.050, delays


def test_headers_arrive_before_the_first_byte_of_the_body(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    go = threading.Event()
    upstream.script(
        case,
        steps.read_body(),
        steps.send(steps.head(200, steps.SSE_TYPE, (b"Transfer-Encoding", b"chunked"))),
        steps.wait(go),
        steps.end_chunks(),
    )
    with Client(tap.address, timeout=2) as client:
        client.request("POST", CHAT, tagged, b"{}")
        head, _ = client.answer_head()
        assert head.one("content-type") == b"text/event-stream"
        go.set()
        assert client.wire.chunk() == b""


def test_chunks_20_ms_apart_stay_apart(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    events = bodies.chat_events([f"w{n}" for n in range(12)])
    upstream.script(case, *steps.stream(events, gap_s=0.02))
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True))
    assert [data for _, data in answer.chunks] == events
    times = [event["t"] for event in tap.trace(case)["stream"]["events"]]
    assert times == sorted(times)
    assert times[-1] - times[0] > 0.015 * 1000 * (len(events) - 1)


# --- headers (13 to 18) ---


def test_r14_request_headers_keep_order_case_and_repetition(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    sent: list[Header] = [
        (b"x-CASE", case.encode()),
        (b"Accept", b"text/event-stream"),
        (b"ACCEPT", b"application/json"),
        (b"anthropic-beta", b"a-1,b-2"),
        (b"x-b", b"2"),
        (b"X-A", b"1"),
        (b"x-b", b""),
        (b"User-Agent", b"raw/1"),
        (b"content-TYPE", b"application/json"),
    ]
    tap.call("POST", CHAT, sent, b"{}")
    received = upstream.request(case).headers
    assert [h for h in received if h[0].lower() not in {b"host", b"content-length"}] == sent
    assert upstream.request(case).head.all("host") == [f"127.0.0.1:{upstream.port}".encode()]


def test_r14_response_headers_keep_order_case_and_repetition(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    sent: list[Header] = [
        (b"Set-Cookie", b"a=1; Path=/"),
        (b"x-Request-ID", b"req_1"),
        (b"set-cookie", b"b=2"),
        (b"Content-Type", b"application/json"),
        (b"X-Ratelimit-Reset-Tokens", b"6m0s"),
        (b"X-Empty", b""),
        (b"Server", b"theirs"),
        (b"Date", b"Sat, 21 Nov 2026 00:00:00 GMT"),
    ]
    upstream.script(case, *steps.reply(200, b"{}", *sent))
    answer = tap.call("POST", CHAT, tagged, b"{}")
    without = {b"x-llmtap-id", b"content-length", b"connection"}
    assert names_and_values(answer.headers, without) == sent
    assert len(answer.head.all("x-llmtap-id")) == 1


def test_r13_hop_by_hop_headers_are_stripped_both_ways(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    upstream.script(
        case,
        *steps.reply(
            200,
            b"{}",
            (b"Connection", b"keep-alive, X-Upstream-Hop"),
            (b"Keep-Alive", b"timeout=5"),
            (b"X-Upstream-Hop", b"1"),
            (b"Proxy-Authenticate", b"Basic"),
            (b"Trailer", b"X-T"),
            (b"X-Stays", b"1"),
        ),
    )
    answer = tap.call(
        "POST",
        CHAT,
        [
            (b"X-Case", case.encode()),
            (b"Connection", b"keep-alive, X-Client-Hop, Authorization"),
            (b"Keep-Alive", b"timeout=5"),
            (b"TE", b"trailers"),
            (b"Trailer", b"X-T"),
            (b"Proxy-Connection", b"keep-alive"),
            (b"X-Client-Hop", b"1"),
            (b"X-Stays", b"1"),
        ],
        b"{}",
    )
    for head in (upstream.request(case).head, answer.head):
        assert head.one("x-stays") == b"1"
        gone = {*HOP_BY_HOP, b"x-client-hop", b"x-upstream-hop"} - {b"connection"}
        assert not [h for h in head.headers if h[0].lower() in gone]
        assert not any(b"hop" in value.lower() for value in head.all("connection"))


@pytest.mark.parametrize(
    "name",
    [
        "user-agent",
        "accept",
        "accept-encoding",
        "accept-language",
        "content-type",
        "via",
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "connection",
        "cookie",
        "traceparent",
    ],
)
def test_r15_absent_headers_stay_absent(upstream: Upstream, tap: LLMTap, name: str) -> None:
    path = f"/v1/models?absent={name}"
    assert tap.call("GET", path).status == 200
    head = upstream.request(f"absent={name}").head
    assert head.one(name) is None


def test_r18_get_without_body_gets_no_framing(upstream: Upstream, tap: LLMTap, case: str) -> None:
    assert tap.call("GET", f"/v1/models?{case}").status == 200
    request = upstream.request(case)
    assert [name.lower() for name, _ in request.headers] == [b"host"]
    assert request.connection.received.endswith(b"\r\n\r\n")


def test_empty_post_keeps_its_content_length_of_zero(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    assert tap.call("POST", f"/v1/x?{case}", None, b"").status == 200
    request = upstream.request(case)
    assert request.head.all("content-length") == [b"0"]
    assert request.head.one("transfer-encoding") is None


def test_request_framing_is_the_clients(upstream: Upstream, tap: LLMTap, case: str) -> None:
    with Client(tap.address) as client:
        client.send(
            f"POST /v1/x?{case} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        client.send(chunked(b"one", b"two") + LAST_CHUNK)
        assert client.answer().status == 200
    request = upstream.request(case)
    assert bytes(request.body) == b"onetwo"
    assert request.head.one("content-length") is None


# --- addresses (11, 12) ---

PATHS = [
    "/v1/a%2Fb",
    "/v1//double",
    "//v1/x",
    "/v1/../x",
    "/v1/./x/",
    "/v1/%7e/~",
    "/v1/a%20b+c",
    "/v1/%C3%A9",
    "/v1/%2e%2e/x",
    "/v1/a;p=1/b:c@d!$&'()*,=",
    "/v1/x?a=1;b=2&c=%zz",
    "/v1/x?",
    "/v1/x?q=a+b%20c&q=&=&&",
    "/v1/x?u=http://other/?y=1&s=%2F/..//",
    "/v1/x?json={%22a%22:[1]}|^`\\",
    "/",
]


@pytest.mark.parametrize("path", PATHS)
def test_r11_path_and_query_reach_the_upstream_byte_for_byte(
    upstream: Upstream, tap: LLMTap, case: str, path: str
) -> None:
    answer = tap.call("GET", path, [(b"X-Case", case.encode())])
    assert answer.status == 200
    assert upstream.request(case).target == path.encode()
    trace = tap.trace(case)
    query = path.partition("?")[2]
    assert trace["request"]["path"] == path.partition("?")[0]
    assert trace["request"]["query"] in (query, query or None)


@pytest.mark.parametrize("number", range(len(BASES)))
def test_r12_path_of_the_base_url_goes_before_and_its_version_stands_once(
    upstream: Upstream, prefixed: LLMTap, case: str, number: int
) -> None:
    _, path, expected = JOINED[number]
    target = f"/base{number}{path}"
    assert prefixed.call("GET", target, [(b"X-Case", case.encode())]).status == 200
    assert upstream.request(case).target == expected.encode()


@pytest.mark.parametrize(
    ("path", "expected"), [("/v1/x", "/api/v1/x?fixed=1"), ("/x?a=%zz", "/api/x?fixed=1&a=%zz")]
)
def test_r12_query_of_the_base_url_is_merged(
    upstream: Upstream, start_tap: StartTap, case: str, path: str, expected: str
) -> None:
    tap = start_tap(base_url=f"{upstream.url}/api?fixed=1", args=["--quiet"])
    assert tap.call("GET", path, [(b"X-Case", case.encode())]).status == 200
    assert upstream.request(case).target == expected.encode()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "POST"])
def test_methods_pass(upstream: Upstream, tap: LLMTap, case: str, method: str) -> None:
    assert tap.call(method, f"/v1/files/1?{case}").status == 200
    assert upstream.request(case).method == method.encode()
    assert tap.trace(case)["request"]["method"] == method


# --- bodies that are no bodies, and answers before the answer (19, 21, 22) ---


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)]
)
def test_r19_answers_without_a_body_do_not_hang(
    upstream: Upstream, tap: LLMTap, case: str, method: str, status: int
) -> None:
    fields: list[Header] = [(b"Content-Type", b"application/json")]
    if status != 204:
        fields.append((b"Content-Length", b"1234"))
    upstream.script(case, steps.read_body(), steps.send(steps.head(status, *fields)))
    upstream.script(case, *steps.reply(200, b"next"))
    with Client(tap.address, timeout=2) as client:
        client.request(method, f"/?{case}")
        answer = client.answer(method)
        assert (answer.status, answer.body) == (status, b"")
        if method == "HEAD":
            assert answer.one("content-length") == b"1234"
        client.request("GET", f"/?{case}")
        assert client.answer().body == b"next"
    assert [d["termination"]["cause"] for d in tap.traces(2, having=case)][1] == "ok"


def test_r21_informational_answers_do_not_end_the_answer(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    early += b"HTTP/1.1 100 Continue\r\n\r\n"
    upstream.script(case, steps.read_body(), steps.send(early), *steps.reply(200, b"final"))
    answer = tap.call("POST", CHAT, tagged, b"{}")
    assert (answer.status, answer.body) == (200, b"final")


def test_expect_100_continue_is_answered_and_the_body_arrives(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    with Client(tap.address, timeout=3) as client:
        client.send(
            f"POST {CHAT}?{case} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert client.wire.head().first.startswith(b"HTTP/1.1 100")
        client.send(b"body")
        assert client.answer().status == 200
    assert bytes(upstream.request(case).body) == b"body"


def test_pipelined_requests_are_answered_in_order(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    for number in range(5):
        slow = (steps.pause(0.05),) if number == 0 else ()
        upstream.script(f"{case}-{number}.", *slow, *steps.reply(200, b"answer %d" % number))
    with Client(tap.address) as client:
        client.send(
            b"".join(request_bytes("POST", f"/v1/x?{case}-{n}.", None, b"body") for n in range(5))
        )
        assert [client.answer().body for _ in range(5)] == [b"answer %d" % n for n in range(5)]
    assert len(tap.traces(5, having=case)) == 5


def test_one_connection_serves_many_requests(upstream: Upstream, tap: LLMTap, case: str) -> None:
    with Client(tap.address) as client:
        for number in range(20):
            client.request("POST", CHAT, [(b"X-Case", f"{case}-{number}.".encode())], b"{}")
            assert client.answer().complete
    used = {r.connection.number for r in upstream.requests(case)}
    assert len(used) == 1, "the upstream connection is not reused"


# --- statuses (61, 62) ---


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_r61_redirects_pass_and_are_not_followed(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], status: int
) -> None:
    to = (b"Location", upstream.url.encode() + b"/elsewhere?" + case.encode())
    upstream.script(case, *steps.reply(status, b"", to))
    answer = tap.call("POST", CHAT, tagged, b"{}")
    assert (answer.status, answer.one("location")) == (status, to[1])
    assert upstream.hits(case) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 418, 429, 500, 503, 529])
def test_r62_error_answers_pass_verbatim(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header], status: int
) -> None:
    fields: list[Header] = [
        (b"content-type", b"application/json"),
        (b"retry-after", b"7"),
        (b"retry-after-ms", b"7000"),
        (b"x-ratelimit-remaining-tokens", b"0"),
        (b"x-request-id", b"req_9"),
        (b"x-should-retry", b"false"),
    ]
    upstream.script(case, *steps.reply(status, bodies.OPENAI_ERROR, *fields, reason=b"Odd One"))
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case))
    assert (answer.status, answer.reason) == (status, b"Odd One")
    assert answer.body == bodies.OPENAI_ERROR
    assert [h for h in answer.headers if h in fields] == fields
    assert upstream.hits(case) == 1, "retried though the client does that itself"


# --- compressed streams (31) ---


def test_r31_gzip_stream_is_untouched_and_decoded_in_the_trace(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    plain = b"".join(bodies.chat_events())
    packed = gzip.compress(plain)
    pieces = [packed[i : i + 40] for i in range(0, len(packed), 40)]
    upstream.script(
        case, *steps.stream(pieces, steps.SSE_TYPE, (b"Content-Encoding", b"gzip"), gap_s=0.002)
    )
    answer = tap.call(
        "POST",
        CHAT,
        [(b"X-Case", case.encode()), (b"Accept-Encoding", b"gzip, br, zstd")],
        bodies.chat_request(case, stream=True),
    )
    assert answer.body == packed
    assert answer.one("content-encoding") == b"gzip"
    assert upstream.request(case).head.all("accept-encoding") == [b"gzip, br, zstd"]
    trace = tap.trace(case)
    assert "".join(e["raw"] for e in trace["stream"]["events"]).encode() == plain
    assert trace["response"]["body"]["wire_bytes"] == len(packed)
    assert trace["response"]["body"]["decoded_bytes"] == len(plain)
    assert trace["response"]["body"]["sha256"] == hashlib.sha256(packed).hexdigest()
    assert trace["response"]["body"]["content_encoding"] == "gzip"
    assert trace["summary"]["input_tokens"] == 9


# --- size (30, 36) ---


def test_r30_a_single_line_of_20_mb_passes(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    line = b"data: " + b"x" * 20_000_000 + b"\n\n"
    upstream.script(case, *steps.stream([line, b"data: [DONE]\n\n"]))
    answer = tap.call("POST", CHAT, tagged, bodies.chat_request(case, stream=True), timeout=20)
    assert answer.complete
    assert (
        hashlib.sha256(answer.body).digest() == hashlib.sha256(line + b"data: [DONE]\n\n").digest()
    )
    trace = tap.trace(case, timeout=10)
    assert trace["response"]["body"]["wire_bytes"] == len(line) + 14
    assert trace["response"]["body"]["truncated"] is not None
    assert tap.path_of(case).stat().st_size < 12_000_000


def test_r36_64_mb_upload_flows_with_flat_memory(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    size, piece = 64 << 20, bytes(1 << 20)
    tap = start_tap(config=settings(upstream.url))
    tap.call("GET", "/v1/models")
    upstream.script(
        case,
        steps.pause(0.5),
        steps.read_body(keep=False, slice_bytes=1 << 20),
        *steps.reply(200, b"{}"),
    )
    before, peak, held = tap.memory_kb(), [0], [0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.03):
            peak[0] = max(peak[0], tap.memory_kb())

    watcher = threading.Thread(target=sample)
    watcher.start()
    try:
        with Client(tap.address, timeout=30) as client:
            client.send(
                f"POST /v1/files?{case} HTTP/1.1\r\nHost: a\r\nContent-Type: audio/wav\r\n"
                f"Content-Length: {size}\r\n\r\n".encode()
            )
            began = time.monotonic()
            for _ in range(size // len(piece)):
                client.send(piece)
                if time.monotonic() - began < 0.4:
                    held[0] += len(piece)
            assert client.answer().status == 200
    finally:
        done.set()
        watcher.join()
    request = upstream.request(case)
    assert request.body_bytes == size
    assert request.sha256 == hashlib.sha256(bytes(size)).hexdigest()
    assert held[0] < 24 << 20, "the client was not held back while the upstream did not read"
    assert (peak[0] - before) / 1024 < 48, f"{before} kB before, {peak[0]} kB at the peak"
    body = tap.trace(case, timeout=10)["request"]["body"]
    assert body["wire_bytes"] == size
    assert body["sha256"] == request.sha256
    assert body["truncated"] is not None


def test_trace_proves_that_nothing_was_changed(
    upstream: Upstream, tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    body = bodies.chat_request(case)
    upstream.script(case, *steps.reply(200, bodies.chat_answer()))
    answer = tap.call("POST", CHAT, tagged, body)
    trace = tap.trace(case)
    assert trace["id"].encode() == answer.one("x-llmtap-id")
    assert trace["forwarded"]["changed"] is False
    assert trace["forwarded"]["body_changed"] is False
    digest = hashlib.sha256(body).hexdigest()
    assert trace["request"]["body"]["sha256"] == digest
    assert trace["forwarded"]["sha256_in"] == trace["forwarded"]["sha256_out"] == digest
    sent = [[name.decode(), value.decode()] for name, value in tagged]
    assert [h for h in trace["request"]["headers"] if h in sent] == sent
