"""Section 10 of the catalogue as far as it concerns the proxy, and WebSockets that are refused."""

from __future__ import annotations

import json

import pytest

from tests.conftest import StartTap
from tests.support import steps
from tests.support.client import Answer, Client
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header

CHAT = "/v1/chat/completions"
_KEY = "sk-subprotocol-0123456789abcdef"


def upgrade(tap: LLMTap, case: str, *more: Header) -> Answer:
    headers = [
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"X-Case", case.encode()),
        *more,
    ]
    with Client(tap.address, timeout=2) as client:
        client.request("GET", "/v1/realtime?model=m", headers)
        return client.answer()


def test_r38_websocket_is_refused_on_the_other_transport(
    upstream: Upstream, start_tap: StartTap, case: str
) -> None:
    """In the provider's shape, and traced; so it is behind another ASGI server."""
    tap = start_tap(config=settings(upstream.url, upstream={"transport": "httpx"}))
    answer = upgrade(tap, case)
    assert (answer.status, answer.complete) == (426, True)
    assert "WebSocket" in json.loads(answer.body)["error"]["message"]
    trace = tap.trace(case)
    assert trace["summary"]["status"] == 426
    assert trace["termination"]["cause"] == "rejected"
    assert upstream.hits(case) == 0


@pytest.mark.parametrize("how", ["without Connection", "HTTP/1.0", "with a body"])
def test_r38_what_is_no_handshake_is_refused(
    upstream: Upstream, tap: LLMTap, case: str, how: str
) -> None:
    lines = ["GET /v1/realtime HTTP/1.1", "Host: a", f"X-Case: {case}", "Upgrade: websocket"]
    if how != "without Connection":
        lines.append("Connection: Upgrade")
    if how == "HTTP/1.0":
        lines[0] = "GET /v1/realtime HTTP/1.0"
    if how == "with a body":
        lines.append("Content-Length: 2")
    body = b"{}" if how == "with a body" else b""
    with Client(tap.address, timeout=3) as client:
        client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        assert client.answer().status == 426
    assert upstream.hits(case) == 0


def test_r39_frames_behind_a_refused_upgrade_go_nowhere(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    """And do not cost the client the answer, though they are not read."""
    upstream.script(case, *steps.reply(403, b"no"))
    sent = b"\x82\xff" + (1 << 24).to_bytes(8, "big") + b"mask" + b"x" * 500_000
    head = b"GET /v1/realtime HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    with Client(tap.address, timeout=3) as client:
        client.send_what_it_takes(head + b"X-Case: " + case.encode() + b"\r\n\r\n" + sent)
        assert client.answer().status == 403
        assert client.wire.ended_within(3) is not None
    assert b"xxx" not in upstream.request(case).connection.received
    assert tap.call("GET", "/v1/next").status == 200


@pytest.mark.parametrize("upgraded", [True, False])
def test_r40_key_in_a_subprotocol_is_redacted(
    upstream: Upstream, tap: LLMTap, case: str, upgraded: bool
) -> None:
    offer = (b"Sec-WebSocket-Protocol", f"realtime, openai-insecure-api-key.{_KEY}".encode())
    # Echoed: it is masked there too.
    upstream.script(case, *steps.reply(200, json.dumps({"echo": _KEY}).encode()))
    if upgraded:
        upgrade(tap, case, offer)
    else:
        tap.call("POST", CHAT, [offer, (b"X-Case", case.encode())], b"{}")
    tap.trace(case)
    assert _KEY not in tap.path_of(case).read_text()
    assert _KEY not in tap.output


@pytest.mark.parametrize("field", ["api_base", "base_url", "custom_llm_provider", "proxy"])
def test_r106_address_in_body_header_or_query_is_not_honoured(
    upstream: Upstream, tap: LLMTap, case: str, field: str
) -> None:
    with Upstream(default=steps.reply(200, b"evil")) as evil:
        body = json.dumps({"model": "m", field: evil.url}).encode()
        name = field.replace("_", "-").encode()
        headers = [(b"X-Case", case.encode()), (name, evil.url.encode())]
        headers += [(b"X-" + name, evil.url.encode()), (b"X-Forwarded-Host", evil.url[7:].encode())]
        answer = tap.call("POST", f"{CHAT}?{field}={evil.url}", headers, body)
        assert answer.status == 200
        assert evil.connections == []
    assert bytes(upstream.request(case).body) == body, "it passes, it only means nothing"


def test_r107_redirect_to_a_metadata_address_is_passed_and_not_followed(
    upstream: Upstream, tap: LLMTap, case: str
) -> None:
    location = (b"Location", b"http://169.254.169.254/latest/meta-data/")
    upstream.script(case, *steps.reply(307, b"", location))
    answer = tap.call("POST", CHAT, [(b"X-Case", case.encode())], b"{}")
    assert (answer.status, answer.one("location")) == (307, location[1])
    assert len(tap.trace(case)["upstream"]["attempts"]) == 1


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[::ffff:169.254.169.254]", "0xa9fea9fe", "METADATA.google.internal."],
)
def test_r107_metadata_address_as_base_url_is_refused(start_tap: StartTap, host: str) -> None:
    tap = start_tap(base_url=f"http://{host}/latest", wait=False)
    tap.launch()
    assert tap.wait(10) == 2
    assert "credentials" in tap.output


def test_r114_no_cors_of_the_proxys_own(upstream: Upstream, tap: LLMTap, case: str) -> None:
    headers = [(b"Origin", b"https://evil.test"), (b"X-Case", case.encode())]
    headers += [(b"Access-Control-Request-Method", b"POST")]
    for method, target in (("OPTIONS", CHAT), ("GET", "/health"), ("POST", CHAT)):
        answer = tap.call(method, target, headers, b"{}" if method == "POST" else None)
        assert not [n for n, _ in answer.headers if n.lower().startswith(b"access-control")]
    assert upstream.hits(case) == 2, "OPTIONS is the upstream's to answer"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b"])
def test_r114_line_ends_in_config_values_are_refused(
    upstream: Upstream, start_tap: StartTap, value: str
) -> None:
    config = {
        "upstreams": [{"type": "openai", "base_url": upstream.url, "headers": {"X-A": value}}]
    }
    tap = start_tap(config=config, wait=False)
    tap.launch()
    assert tap.wait(10) == 2
    assert "config.yaml" in tap.output


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/admin", "/metrics"])
def test_r108_r117_the_proxys_port_has_no_pages_of_its_own(
    upstream: Upstream, tap: LLMTap, case: str, path: str
) -> None:
    upstream.script(case, *steps.reply(404, b"theirs"))
    answer = tap.call("GET", f"{path}?{case}")
    assert (answer.status, answer.body) == (404, b"theirs")
