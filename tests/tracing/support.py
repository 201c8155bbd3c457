"""Exchanges as the data plane would make them, without a network, and a journal to put them in."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from src.middlewares.base import Services
from src.middlewares.trace import Trace, TraceOptions
from src.proxy.bodies import RequestBody
from src.proxy.exchange import (
    Attempt,
    Cause,
    Exchange,
    Forwarded,
    Header,
    Phase,
    Response,
    Upstream,
)
from src.proxy.providers import get_provider
from src.utils.ulid import ULIDs

new_id = ULIDs()
KEY = b"sk-test-canary-0123456789abcdef"

CHAT_REQUEST = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Tell me a story about the sea. " * 30},
    ],
    "temperature": 0.7,
    "max_tokens": 256,
}
CHAT_ANSWER = {
    "id": "chatcmpl-AbC123",
    "object": "chat.completion",
    "created": 1790000000,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Once upon a time. " * 60},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46},
}


class NoSource:
    """A client connection that has nothing to pause."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def upstream(kind: str = "openai", base_url: str = "https://api.openai.com") -> Upstream:
    return Upstream(
        name=kind,
        provider=get_provider(kind),
        base_url=base_url,
        prefix=b"",
        scheme="https",
        host="api.openai.com",
        port=443,
        host_header=b"api.openai.com",
        base_path=b"",
        api_key=None,
        key_label=None,
        extra_headers=(),
    )


def new_exchange(
    body: bytes = compact(CHAT_REQUEST),
    *,
    kind: str = "openai",
    target: bytes = b"/v1/chat/completions",
    method: bytes = b"POST",
    headers: Iterable[Header] = (),
    whole: bool = True,
) -> Exchange:
    """An exchange whose request has arrived (with `whole`: to its end)."""
    base: list[Header] = [
        (b"Host", b"127.0.0.1:3000"),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"gzip, deflate"),
        (b"Connection", b"keep-alive"),
        (b"User-Agent", b"OpenAI/Python 1.60"),
        (b"Content-Type", b"application/json"),
        (b"Authorization", b"Bearer " + KEY),
        (b"Content-Length", b"%d" % len(body)),
    ]
    extra = list(headers)
    names = {name.lower() for name, _ in extra}
    merged = [h for h in base if h[0].lower() not in names] + extra
    request = RequestBody(NoSource(), 64 << 20, 1 << 20)
    exchange = Exchange(new_id(), method, target, b"1.1", tuple(merged), "127.0.0.1:50123", request)
    exchange.upstream = upstream(kind)
    exchange.provider = exchange.upstream.provider
    exchange.forward_path = exchange.path
    exchange.chain = ("trace",)
    if body:
        request.feed(body)
    if whole:
        request.end()
        exchange.t_request_body = exchange.started
    return exchange


def response(
    chunks: Iterable[bytes] = (),
    *,
    status: int = 200,
    content_type: bytes = b"application/json",
    headers: Iterable[Header] = (),
    length: int | None = None,
) -> Response:
    base: list[Header] = [
        (b"date", b"Sat, 21 Nov 2026 08:00:00 GMT"),
        (b"content-type", content_type),
        (b"x-request-id", b"req_123"),
        (b"openai-processing-ms", b"123"),
        (b"server", b"cloudflare"),
        *headers,
    ]
    if length is not None:
        base.append((b"content-length", b"%d" % length))
    return Response(status, base, b"".join(chunks))


def sent(exchange: Exchange, **replaced: bytes) -> None:
    """Note that the request was forwarded; `replaced` headers (name with _ for -) differ."""
    headers = [h for h in exchange.headers if h[0].lower() not in (b"host", b"connection")]
    headers.insert(0, (b"Host", b"api.openai.com"))
    for name, value in replaced.items():
        raw = name.replace("_", "-").encode()
        headers = [h for h in headers if h[0].lower() != raw.lower()] + [(raw, value)]
    assert exchange.upstream is not None
    exchange.forwarded = Forwarded(exchange.upstream, exchange.target, headers)
    now = exchange.started
    exchange.attempts.append(Attempt(started=now))
    exchange.reused = True
    exchange.upstream_http_version = b"1.1"
    exchange.t_sent = now + 0.0002
    exchange.t_headers = now + 0.1
    exchange.phase = Phase.BODY


def give(exchange: Exchange, chunks: Iterable[bytes]) -> None:
    """Let response chunks pass to the client."""
    for chunk in chunks:
        now = time.monotonic()
        exchange.t_first_byte = exchange.t_first_byte or now
        exchange.t_last_byte = now
        exchange.observe_chunk(chunk)


def finish(exchange: Exchange, cause: Cause | None = None, detail: str | None = None) -> None:
    if cause is not None:
        exchange.end(cause, detail)
    else:
        exchange.phase = Phase.DONE
    exchange.finish()


async def pass_through(
    trace: Trace,
    exchange: Exchange,
    answer: Response | None = None,
    chunks: Iterable[bytes] = (compact(CHAT_ANSWER),),
    *,
    cause: Cause | None = None,
    while_open: Callable[[Exchange], None] | None = None,
) -> str:
    """The whole life of an exchange; its id."""
    pieces = list(chunks)
    if answer is None:
        answer = response(length=sum(map(len, pieces)))

    async def forward(inner: Exchange) -> Response:
        sent(inner)
        inner.status = answer.status
        return answer

    exchange.response = await trace(exchange, forward)
    give(exchange, pieces)
    if while_open is not None:
        while_open(exchange)
    finish(exchange, cause)
    return exchange.id


def new_trace(
    folder: Path, *, flush_s: float = 10.0, quiet: bool = True, **options: object
) -> Trace:
    services = Services(trace_dir=folder, quiet=quiet, flush_s=flush_s)
    return Trace(TraceOptions(**options), services)


def trace_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("????-??-??/*.json"))


def load_traces(folder: Path) -> dict[str, dict]:
    """id -> document; every file must be valid JSON."""
    found = {}
    for path in trace_files(folder):
        document = json.loads(path.read_bytes())
        found[document["id"]] = document
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
