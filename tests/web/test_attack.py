"""Whatever is asked, in whatever form: no server error, no answer that takes long, nothing told of
how it works inside, nothing of anybody else's."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import time
from collections.abc import Iterator
from typing import Any

from src.web.view import Site
from tests.web.kit import ADMIN, KEYS, Browser, Made, serving

_INSIDE = re.compile(r"Traceback|sqlalchemy|SELECT |sqlite3|asyncpg|/tmp/|\.py\b")
_SLOW_S = 2.0
TEXT_FIELDS = ("model", "path", "key", "session", "id", "address", "agent", "tag", "error")
NUMBERS = (
    "9" * 400,
    "1e999",
    "9007199254740993",
    "-1",
    "NaN",
    "٣",
    "\uff11\uff12",
    "<.5",
    "1.",
    "1kk",
    "³",
)
SPANS = (
    "1s" * 500,
    "9" * 300 + "s",
    "1e-300us",
    "1µs",
    "1\u03bcs",
    "1\u017f",
    "٣s",
    "1.2.3s",
    ".s",
    "5000w",
)
DATES = (
    *("0001-01-01", "9999-12-31T23:59:59.999999", "9999-12-31T23:59:59-23:59", "10000-01-01"),
    *("0001-01-01T00:00:00+23:59", "1969-12-31", "2026-W53-7", "99y", "99999999999h", "-1h"),
)
ODD = (
    *("' OR '1'='1", "'; DROP TABLE records;--", "x') UNION SELECT 1--", "NEAR(a b)", "{col}: x"),
    *("^a", "*", '""', '" "', "body:*a", "$$", "%s", "%(x)s", ":said", "\\", "body:a|b&c!d:*<->"),
    *(
        "\u0130",
        "ﬁ",
        "a\u0300",
        "\u200b",
        "\x0b",
        "\U0001f600",
        "²",
        "\U0001d7d9",
        "model:\U0010ffff*",
    ),
)
NESTED = (
    *("-" * depth + "a" for depth in (20, 21, 49)),
    *("(a (tag:b OR " * depth + "c" + "))" * depth for depth in (9, 10, 12, 14, 24)),
    *("-(a OR " * depth + "b" + ")" * depth for depth in (9, 10, 11, 24)),
    *("-(tag:a status:2 " * depth + "b" + ")" * depth for depth in (10, 24)),
    *("(tag:a -(tool:x* OR " * depth + "b" + "))" * depth for depth in (6, 7, 16)),
    *("(" * 2000, ")" * 2000, " OR ".join(["a"] * 500), " ".join(["-a"] * 99)),
    *("model:" + ",".join(f"*{n}*" for n in range(most)) for most in (30, 99)),
    '"' + "a " * 1900 + 'b"',
)


def cursor(*place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def questions() -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and parameters."""
    asked = [f"{field}:{'*a' * 1500}b" for field in TEXT_FIELDS]
    asked += [f"-{field}:*%_\\*'*" for field in TEXT_FIELDS]
    asked += [f"{field}:{value}" for field in ("status", "in") for value in NUMBERS]
    asked += [f"{field}:{value}" for field in ("ttft", "since") for value in SPANS]
    for q in (*asked, *ODD, *NESTED):
        yield "requests", {"q": q}
    for q in (*ODD, *NESTED):
        yield "search", {"q": q}
        yield "stats", {"q": q, "by": "key"}
    for field, date in itertools.product(("since", "until"), DATES):
        yield "requests", {"q": f"{field}:{date}"}
        yield "requests", {"q": f"{field}:{date}", "sort": "-in"}
        for bucket in (None, "1m", "1d"):
            yield "stats", {"q": f"{field}:{date}", "bucket": bucket}
    for limit in (10**9, 10**30, "٣", "1e3", "9" * 5000):
        yield "requests", {"limit": limit}
        yield "sessions", {"limit": limit}
    values = (None, 2**63 - 1, 2**63, 1e308, "x", True, [])
    for sort, value, seq in itertools.product(("-received", "cost"), values, values):
        yield "requests", {"sort": sort, "cursor": cursor(sort, value, seq)}
    for made_up in ("", "A", "=", "[" * 300, '["-in",NaN,1]', '["-cost",Infinity,1]'):
        written = base64.urlsafe_b64encode(made_up.encode()).decode().rstrip("=")
        yield "requests", {"cursor": written, "sort": "-in"}
        yield "sessions", {"cursor": written}


async def test_no_question_is_a_server_error_slow_or_told_from_inside(
    browser: Browser, made: Made
) -> None:
    asked = 0
    for (path, query), label in zip(
        questions(), itertools.cycle(("bob", None, "bob")), strict=False
    ):
        key = KEYS[label] if label is not None else ADMIN
        began = time.monotonic()
        answered = await browser.get(f"/api/{path}", key, **query)
        assert answered.status_code in (200, 422), (path, query, answered.text)
        assert time.monotonic() - began < _SLOW_S, (path, query)
        assert not _INSIDE.search(answered.text), (path, query, answered.text)
        if label is not None:
            strange = [each for each in made.of_others(label) if each in answered.text]
            assert not strange, (path, query)
        asked += 1
    assert asked > 400


GET = b"GET /api/me HTTP/1.1\r\n"
HOST = b"Host: 127.0.0.1\r\n"
KEY = HOST + b"X-API-Key: " + ADMIN.encode() + b"\r\n"
LINES = b"".join(b"X-%d: a\r\n" % number for number in range(20_000))
REFUSED = {
    "HTTP/0.9": b"GET /\r\n\r\n",
    "no host": GET + b"\r\n",
    "two hosts": GET + KEY + HOST + b"\r\n",
    "two lengths": GET + KEY + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "200 KB of a header": GET + KEY + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    "20,000 headers": GET + KEY + LINES + b"\r\n",
    "100 KB of a target": b"GET /api/requests?q=" + b"a" * 100_000 + b" HTTP/1.1\r\n" + KEY,
    "HTTP/1.0 without a host": b"GET /api/me HTTP/1.0\r\n\r\n",
    "an absolute target": b"GET http://evil.test/api/me HTTP/1.1\r\n" + KEY + b"\r\n",
    "CONNECT": b"CONNECT evil.test:443 HTTP/1.1\r\n" + KEY + b"\r\n",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\n" + KEY + b"\r\n",
    "TRACE": b"TRACE /api/me HTTP/1.1\r\n" + KEY + b"\r\n",
    "POST": b"POST /api/requests HTTP/1.1\r\n" + KEY + b"Content-Length: 5\r\n\r\nhello",
    "3,000 keys": GET + HOST + b"X-API-Key: k\r\n" * 3000 + b"\r\n",
    "a key that is no text": GET + HOST + b"X-API-Key: \xff\xfe\r\n\r\n",
    "a host that is no text": GET + b"Host: \xff\r\n\r\n",
    "a NUL in the path": b"GET /api/request/%00 HTTP/1.1\r\n" + KEY + b"\r\n",
    "what is no UTF-8": b"GET /api/requests?q=%ff&%ff=1 HTTP/1.1\r\n" + KEY + b"\r\n",
    "half a surrogate": b"GET /api/requests?q=%ED%A0%80 HTTP/1.1\r\n" + KEY + b"\r\n",
    **{
        f"Transfer-Encoding: {coding.decode('latin-1')}": GET
        + KEY
        + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" % coding
        for coding in (b",chunked", b"gzip, chunked", b"\xa0chunked", b"chunked, chunked")
    },
    **{
        f"Content-Length: {length.decode()}": GET + KEY + b"Content-Length: %b\r\n\r\n" % length
        for length in (b"+1", b"-1", b"1_0", b"0x1", b"", b"9" * 30)
    },
}


async def test_what_is_no_request_of_ours_is_refused_at_once(site: Site) -> None:
    async with serving(site) as address:
        for what, request in REFUSED.items():
            reader, writer = await asyncio.open_connection(*address, limit=1 << 20)
            writer.write(request)
            async with asyncio.timeout(_SLOW_S):
                head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 4"), (what, head)
            assert not _INSIDE.search(head.decode("latin-1")), what
            writer.close()


async def test_probes_answer_head(browser: Browser) -> None:
    """Load balancers ask so."""
    for path in ("/health", "/liveness", "/readiness"):
        answered = await browser._client.head(path)
        assert (answered.status_code, answered.content) == (200, b"")
