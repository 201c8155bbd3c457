"""Canaries (reliability 102): secrets in every place one can stand pass, and are written nowhere.

A canary is a random text no other thing contains. The traffic holds all of them, the log level is
debug; then every file under the trace folder and all that was printed is searched, in several
spellings.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import secrets
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from src.models.trace import TraceDocument
from tests.conftest import StartTap
from tests.support import bodies, steps
from tests.support.client import Answer, Client
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header, free_port

CHAT = "/v1/chat/completions"

REQUEST_HEADERS = (
    "Authorization",
    "x-api-key",
    "api-key",
    "X-Goog-Api-Key",
    "X-Client-API-Key",
    "Cookie",
    "Proxy-Authorization",
    "X-Amz-Security-Token",
    "X-Auth-Token",
    "X-My-Secret",
)
QUERY = ("key", "api_key", "access_token", "sig", "signature")


@dataclass(slots=True)
class Canaries:
    """name → secret; `new` makes one that looks like a key."""

    known: dict[str, str] = field(default_factory=dict)

    def new(self, name: str) -> str:
        self.known[name] = f"sk-canary-{secrets.token_urlsafe(24)}"
        return self.known[name]

    def found_in(self, data: bytes) -> set[str]:
        return {name for name, value in self.known.items() if any(v in data for v in _forms(value))}


def _forms(value: str) -> list[bytes]:
    """The secret as it is, as a URL spells it, and as base64 does at each of three offsets."""
    plain = value.encode()
    encoded = [base64.b64encode(b"x" * n + plain)[(4 if n else 0) : -4] for n in range(3)]
    half = plain[len(plain) // 2 :]  # a secret that was cut in two is one still
    return [plain, urllib.parse.quote(value).encode(), half, *encoded]


def leaks(tap: LLMTap, canaries: Canaries, *, journal: bool = False) -> dict[str, set[str]]:
    """place → names of the canaries in it, over the trace folder and the output.

    The journal of a running proxy is looked at where a test is about what a crash leaves behind.
    """
    found = {}
    for path in [*tap.trace_dir.rglob("*"), *tap.folder.glob("output.*")]:
        if ".journal" in path.parts and not journal:
            continue
        if path.is_file() and (names := canaries.found_in(path.read_bytes())):
            found[str(path.relative_to(tap.folder))] = names
    return found


@pytest.fixture(scope="module")
def open_tap(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMTap]:
    """The program at log level debug, not quiet: it prints all it has to say."""
    tap = LLMTap(
        tmp_path_factory.mktemp("open"), base_url=upstream.url, args=["--log-level", "debug"]
    )
    try:
        yield tap.start()
    finally:
        tap.stop()


def secret_headers(canaries: Canaries, prefix: str = "") -> list[Header]:
    headers = []
    for name in REQUEST_HEADERS:
        value = canaries.new(f"{prefix}{name}")
        if name == "Authorization":
            value = f"Bearer {value}"
        elif name == "Proxy-Authorization":
            value = f"Basic {value}"
        elif name == "Cookie":
            value = f"theme=dark; session={value}; a=b"
        headers.append((name.encode(), value.encode()))
    return headers


def secret_query(canaries: Canaries, prefix: str = "") -> str:
    pairs = [f"{name}={canaries.new(f'{prefix}?{name}')}" for name in QUERY]
    return "?alt=sse&" + "&".join(pairs) + "&page=2"


def test_secrets_of_a_request_pass_and_are_written_nowhere(
    upstream: Upstream, open_tap: LLMTap, case: str
) -> None:
    canaries = Canaries()
    headers = [(b"X-Case", case.encode()), *secret_headers(canaries)]
    target = CHAT + secret_query(canaries)
    body = json.dumps(
        {
            "model": "gpt-4o",
            "api_key": canaries.new("body api_key"),
            "messages": [{"role": "user", "content": case}],
            "mcp_servers": [{"authorization_token": canaries.new("body authorization_token")}],
            "password": canaries.new("body password"),
        }
    ).encode()
    open_tap.call("POST", target, headers, body)
    request = upstream.request(case)
    passed = [h for h in headers if h[0] != b"Proxy-Authorization"]  # hop by hop, RFC 9110 11.7.2
    assert [h for h in request.headers if h in headers] == passed
    assert request.target == target.encode()
    assert bytes(request.body) == body
    trace = open_tap.trace(case)
    assert leaks(open_tap, canaries) == {}
    pointers = trace["redactions"]
    assert any(p.startswith("/request/headers/") for p in pointers)
    assert "/request/query" in pointers
    assert "page=2" in trace["request"]["query"], "the harmless part of the query is kept"


RESPONSE_HEADERS = ("Set-Cookie", "X-Session-Token", "Authorization", "X-Amz-Security-Token")


def test_secrets_in_response_headers(
    upstream: Upstream, open_tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    canaries = Canaries()
    sent: list[Header] = [
        (name.encode(), canaries.new(name).encode() + b"; Path=/") for name in RESPONSE_HEADERS
    ]
    place = f"https://files.test/x?key={canaries.new('Location key')}&sig={canaries.new('sig')}"
    sent.append((b"Location", place.encode()))
    upstream.script(case, *steps.reply(302, b"", *sent))
    answer = open_tap.call("POST", CHAT, tagged, b"{}")
    assert [h for h in answer.headers if h in sent] == sent
    open_tap.trace(case)
    assert leaks(open_tap, canaries) == {}


def test_token_counts_are_no_secrets(
    upstream: Upstream, open_tap: LLMTap, case: str, tagged: list[Header]
) -> None:
    kept: list[Header] = [
        (b"x-ratelimit-remaining-tokens", b"149984"),
        (b"anthropic-ratelimit-input-tokens-limit", b"50000"),
    ]
    upstream.script(case, *steps.reply(200, b"{}", *kept))
    open_tap.call("POST", CHAT, tagged, b'{"max_tokens":77}')
    trace = open_tap.trace(case)
    pairs = [[name.decode(), value.decode()] for name, value in kept]
    assert [h for h in trace["response"]["headers"] if h in pairs] == pairs
    assert trace["request"]["body"]["value"] == {"max_tokens": 77}


def _echo_call(upstream: Upstream, tap: LLMTap, case: str, key: str, *script: steps.Step) -> Answer:
    upstream.script(case, *script)
    headers = [(b"X-Case", case.encode()), (b"Authorization", f"Bearer {key}".encode())]
    answer = tap.call("POST", CHAT, headers, bodies.chat_request(case, stream=True))
    tap.trace(case)
    return answer


def _error(key: str) -> bytes:
    message = f"Incorrect API key provided: {key}. You can find your API key at …"
    return json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()


def test_key_echoed_in_an_error_body(upstream: Upstream, open_tap: LLMTap, case: str) -> None:
    canaries = Canaries()
    body = _error(canaries.new("echo"))
    answer = _echo_call(upstream, open_tap, case, canaries.known["echo"], *steps.reply(401, body))
    assert answer.body == body
    assert leaks(open_tap, canaries) == {}
    trace = open_tap.documents(case)[0][1]
    assert "Incorrect API key provided" in trace["error"]["message"]


def test_key_echoed_in_a_json_200(upstream: Upstream, open_tap: LLMTap, case: str) -> None:
    canaries = Canaries()
    key = canaries.new("echo")
    body = json.dumps({"you": {"sent": [key, f"Bearer {key}"], key: 1}}).encode()
    answer = _echo_call(upstream, open_tap, case, key, *steps.reply(200, body))
    assert answer.body == body
    assert leaks(open_tap, canaries) == {}


def test_key_echoed_in_plain_text_and_html(upstream: Upstream, open_tap: LLMTap, case: str) -> None:
    canaries = Canaries()
    key = canaries.new("echo")
    body = f"<p>no entry for {key}</p>".encode()
    script = steps.reply(403, body, (b"Content-Type", b"text/html"))
    assert _echo_call(upstream, open_tap, case, key, *script).body == body
    assert leaks(open_tap, canaries) == {}


def test_key_echoed_in_binary(upstream: Upstream, open_tap: LLMTap, case: str) -> None:
    canaries = Canaries()
    key = canaries.new("echo")
    body = b"\x00\xff\xfe" + key.encode() + b"\x80"
    script = steps.reply(200, body, (b"Content-Type", b"application/octet-stream"))
    assert _echo_call(upstream, open_tap, case, key, *script).body == body
    assert leaks(open_tap, canaries) == {}


def test_key_echoed_in_a_gzip_body(upstream: Upstream, open_tap: LLMTap, case: str) -> None:
    canaries = Canaries()
    key = canaries.new("echo")
    body = gzip.compress(_error(key))
    script = steps.reply(401, body, steps.JSON_TYPE, (b"Content-Encoding", b"gzip"))
    assert _echo_call(upstream, open_tap, case, key, *script).body == body
    assert leaks(open_tap, canaries) == {}


def test_key_split_over_two_chunks_of_a_stream(
    upstream: Upstream, open_tap: LLMTap, case: str
) -> None:
    canaries = Canaries()
    key = canaries.new("echo")
    wire = b"".join(bodies.chat_events(["your key is ", key, " indeed"]))
    cut = wire.index(key.encode()) + len(key) // 2
    script = steps.stream([wire[:cut], wire[cut:]], gap_s=0.03)
    answer = _echo_call(upstream, open_tap, case, key, *script)
    assert answer.body == wire
    assert leaks(open_tap, canaries) == {}


def test_key_split_over_two_events_is_not_put_together(
    upstream: Upstream, open_tap: LLMTap, case: str
) -> None:
    canaries = Canaries()
    key = canaries.new("echo")
    half = len(key) // 2
    events = bodies.chat_events(["your key is ", key[:half], key[half:], " indeed"])
    assert _echo_call(upstream, open_tap, case, key, *steps.stream(events)).complete
    message = open_tap.documents(case)[0][1]["response"]["message"]
    assert key not in json.dumps(message)


def test_key_in_a_stream_that_is_cut(upstream: Upstream, open_tap: LLMTap, case: str) -> None:
    canaries = Canaries()
    key = canaries.new("echo")
    events = [*bodies.chat_events(["a", key], done=False), b"data: " + key.encode()]
    script = steps.stream(events, end=steps.fin())
    assert _echo_call(upstream, open_tap, case, key, *script).end == "cut"
    assert leaks(open_tap, canaries) == {}


def test_key_in_the_in_stream_error(upstream: Upstream, open_tap: LLMTap, case: str) -> None:
    canaries = Canaries()
    key = canaries.new("echo")
    event = bodies.data({"error": {"message": f"bad key {key}", "type": "auth"}})
    _echo_call(upstream, open_tap, case, key, *steps.stream([event]))
    assert leaks(open_tap, canaries) == {}


def test_key_in_a_malformed_answer(upstream: Upstream, open_tap: LLMTap, case: str) -> None:
    canaries = Canaries()
    key = canaries.new("echo")
    upstream.script(case, steps.read_body(), steps.send(f"{key} nonsense\r\n\r\n".encode()))
    headers = [(b"X-Case", case.encode()), (b"x-api-key", key.encode())]
    answer = open_tap.call("POST", CHAT, headers, b"{}")
    assert answer.status == 502
    assert key.encode() not in answer.body
    open_tap.trace(case)
    assert leaks(open_tap, canaries) == {}


def test_malformed_request_with_keys_is_not_logged(upstream: Upstream, open_tap: LLMTap) -> None:
    canaries = Canaries()
    line = f"GET /v1/x?key={canaries.new('query')} HTTP/1.1\r\nHost: a\r\n"
    bad = f"Authorization : Bearer {canaries.new('header')}\r\nX-Api-Key: {canaries.new('k')}\r\n"
    with Client(open_tap.address, timeout=2) as client:
        client.send_what_it_takes((line + bad + "\r\n").encode())
        client.wire.ended_within(1)
        assert canaries.found_in(bytes(client.wire.buffer)) == set()
    assert leaks(open_tap, canaries) == {}


def test_secrets_of_a_failed_connect(start_tap: StartTap, case: str) -> None:
    canaries = Canaries()
    dead = f"http://127.0.0.1:{free_port()}/x"
    tap = start_tap(base_url=dead, args=["--log-level=debug"])
    headers = [(b"X-Case", case.encode()), *secret_headers(canaries)]
    answer = tap.call("POST", CHAT + secret_query(canaries), headers, b"{}")
    assert answer.status == 502
    assert canaries.found_in(answer.body) == set()
    tap.trace(case)
    tap.stop()
    assert leaks(tap, canaries, journal=True) == {}


def test_base_url_with_secrets_is_refused_or_not_shown(start_tap: StartTap) -> None:
    canaries = Canaries()
    password, key = canaries.new("password"), canaries.new("key")
    for base in (f"http://user:{password}@127.0.0.1:1/x", f"http://127.0.0.1:1/x?key={key}"):
        tap = start_tap(wait=False, base_url=base, args=["--log-level=debug"])
        tap.launch()
        try:
            tap.wait(2)
        except subprocess.TimeoutExpired:
            tap.call("GET", "/v1/models")
        tap.stop()
        assert leaks(tap, canaries, journal=True) == {}


def test_the_proxys_own_key_is_sent_and_written_nowhere(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    canaries = Canaries()
    own = canaries.new("the proxy's own")
    config = settings(upstream.url, upstream={"api_key": "${TAP_TEST_KEY}"}, log_level="debug")
    tap = start_tap(config=config, env={"TAP_TEST_KEY": own})
    upstream.script(case, *steps.reply(401, _error(own)))
    theirs = canaries.new("the client's")
    headers = [(b"X-Case", case.encode()), (b"Authorization", f"Bearer {theirs}".encode())]
    headers += [(b"x-api-key", theirs.encode()), (b"api-key", theirs.encode())]
    tap.call("POST", f"{CHAT}?key={theirs}", headers, b"{}")
    request = upstream.request(case)
    assert request.head.all("authorization") == [f"Bearer {own}".encode()]
    assert theirs.encode() not in request.connection.received  # reliability 79
    tap.trace(case)
    tap.stop()
    assert leaks(tap, canaries, journal=True) == {}


@pytest.mark.parametrize("group", [False, True], ids=["proxy", "with_children"])
def test_what_kill_9_leaves_behind_holds_no_secret(
    upstream: Upstream, start_tap: StartTap, case: str, group: bool
) -> None:
    canaries = Canaries()
    tap = start_tap(base_url=upstream.url, args=["--log-level", "debug"])
    key = canaries.new("echo")
    whole = b"".join(bodies.chat_events(["a", key, "b"], done=False))
    cut = whole.index(key.encode()) + len(key) // 2
    events = [whole[:cut], whole[cut:]]
    upstream.script(
        case, *steps.stream(events, (b"Set-Cookie", key.encode()), end=steps.until_closed())
    )
    headers = [(b"X-Case", case.encode()), (b"x-api-key", key.encode())]
    headers += secret_headers(canaries, "killed ")
    body = json.dumps({"model": "m", "api_key": canaries.new("killed body"), "key": key}).encode()
    with Client(tap.address) as client:
        client.request("POST", CHAT + secret_query(canaries, "killed "), headers, body)
        client.answer_head()
        for _ in events:
            client.wire.chunk()
        tap.kill9(group=group)
    left = leaks(tap, canaries, journal=True)
    tap.restart()
    tap.trace(case)
    tap.stop()
    assert leaks(tap, canaries, journal=True) == {}
    assert left == {}, "the journal that a crash leaves holds secrets until the next start"


def test_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    canaries = Canaries()
    value = canaries.new("one")
    for text in (
        value,
        urllib.parse.quote(value),
        base64.b64encode(b"ab" + value.encode()).decode(),
    ):
        assert canaries.found_in(f"…{text}…".encode()) == {"one"}
    assert canaries.found_in(b"sk-canary-") == set()


@pytest.mark.parametrize("secret", ["1", "body", "0.0", "request"])
@pytest.mark.parametrize("name", ["password", "Api_Key", "PASSWORD", "X_API_KEY", "aPikEY"])
def test_a_short_password_is_masked_where_it_stands_and_breaks_nothing(
    upstream: Upstream, open_tap: LLMTap, case: str, name: str, secret: str
) -> None:
    said = {"model": "gpt-4.1", name: secret, "messages": [{"role": "user", "content": secret}]}
    body = json.dumps(said).encode()
    open_tap.call("POST", CHAT, [(b"X-Case", case.encode())], body)
    document = open_tap.trace(case)
    TraceDocument.model_validate(document)
    assert document["request"]["body"]["value"] == {**said, name: "[REDACTED]"}
    assert document["redactions"] == [f"/request/body/value/{name}"]
    assert document["request"]["body"]["sha256"] == hashlib.sha256(body).hexdigest()


def test_a_short_password_in_a_body_that_is_no_json_is_masked(
    upstream: Upstream, open_tap: LLMTap, case: str
) -> None:
    for number, body in enumerate(
        (b'{"Password": "1\\"x", "a": NaN}', b'\xff {"password": "qZ7q"}')
    ):
        mine = f"{case}-{number}"
        open_tap.call("POST", CHAT, [(b"X-Case", mine.encode())], body)
        kept = open_tap.trace(mine)["request"]["body"]
        data = (
            base64.b64decode(kept["value"]) if kept["kind"] == "base64" else kept["value"].encode()
        )
        assert b"[REDACTED]" in data
        assert b"x" not in data
        assert b"qZ7q" not in data
