"""body_limit: how large a request may be, and when that is judged."""

from __future__ import annotations

import asyncio
import json

import pytest

from src.proxy.errors import PayloadTooLarge
from src.proxy.exchange import Exchange, Response
from tests.middlewares.kit import Forward, exchange, make, problems, upstream


def chat(model: str, size: int) -> bytes:
    body = json.dumps({"model": model, "x": ""}).encode()
    return body[:-2] + b"y" * (size - len(body)) + body[-2:]


async def status(options: dict[str, object], asked: Exchange) -> tuple[int, int]:
    """The answer's status, and how many requests went on."""
    forward = Forward()
    response = await make("body_limit", options)(asked, forward)
    return response.status, len(forward.sent)


async def test_announced_length_is_judged_before_the_body_is_read() -> None:
    asked = exchange((b"content-length", b"1001"), whole=False)
    asked.body.wanted = lambda: pytest.fail("a 100 Continue was sent for a body that is refused")
    assert await status({"bytes": 1000}, asked) == (413, 0)
    assert await status({"bytes": 1000}, exchange(body=b"x" * 1000)) == (200, 1)


async def test_no_looks_like_the_providers_own() -> None:
    asked = exchange(body=b"x" * 11, to=upstream("anthropic"))
    response = await make("body_limit", {"bytes": 10})(asked, Forward())
    assert isinstance(response.body, bytes)
    error = json.loads(response.body)
    assert error["error"]["type"] == "request_too_large"
    assert "limit of 10 bytes" in error["error"]["message"]


async def test_chunked_body_is_counted_as_it_comes() -> None:
    asked = exchange(whole=False)
    asked.body.chunked = True

    async def read(forwarded: Exchange) -> Response:
        await forwarded.read_body()
        raise AssertionError("unreached: the body is too large")

    passing = asyncio.ensure_future(make("body_limit", {"bytes": 10})(asked, Forward(read)))
    await asyncio.sleep(0)
    asked.body.feed(b"x" * 10)
    await asyncio.sleep(0)
    assert not passing.done()
    asked.body.feed(b"x")
    with pytest.raises(PayloadTooLarge, match="10 bytes"):
        await passing


async def test_chunked_body_that_is_here_already_is_counted() -> None:
    asked = exchange(whole=False)
    asked.body.chunked = True
    asked.body.feed(b"x" * 11)
    assert await status({"bytes": 10}, asked) == (413, 0)


MODELS: dict[str, object] = {"bytes": 200, "models": {"big-*": 400, "*-mini": 100}}


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("other", 200, 200),
        ("other", 201, 413),
        ("big-one", 400, 200),
        ("big-one", 401, 413),
        ("big-mini", 400, 200),  # the first glob that fits
        ("gpt-mini", 100, 200),
        ("gpt-mini", 101, 413),
    ],
)
async def test_each_model_has_its_own_limit(model: str, size: int, expected: int) -> None:
    forwarded = 1 if expected == 200 else 0
    assert await status(MODELS, exchange(body=chat(model, size))) == (expected, forwarded)


async def test_what_names_no_clear_model_has_the_general_limit() -> None:
    for body in (b"x" * 201, b'{"model":"big-one","model":"' + b"x" * 200 + b'"}'):
        assert await status(MODELS, exchange(body=body)) == (413, 0)
    assert await status(MODELS, exchange(body=b"x" * 200)) == (200, 1)


async def test_small_bodies_are_not_read_for_their_model() -> None:
    asked = exchange((b"content-length", b"100"), whole=False)
    assert await status(MODELS, asked) == (200, 1)


def test_size_is_needed_and_readable() -> None:
    assert problems("body_limit", {}) == ["bytes: is missing; it has no default"]
    assert problems("body_limit", {"bytes": "4 elephants"}) == [
        "bytes: is no size; write bytes, or a number with kB, MB, GB, KiB, MiB or GiB"
    ]
    assert not problems("body_limit", {"bytes": "4MB", "models": {"gpt-*": "1 GiB"}})
