"""rate_limit through its own door: what it counts for whom, what it says, what it gives back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import cast

import pytest
import zstandard

from src.config.settings import Settings, UpstreamSettings
from src.middlewares.rate_limit import RateLimit, RateLimitOptions
from src.proxy.exchange import Cause, Exchange, Response
from tests.middlewares.kit import exchange, make, problems, upstream
from tests.support import bodies


@dataclass
class Limited:
    """The middleware in front of an upstream that answers at once."""

    options: dict[str, object]
    made: RateLimit = field(init=False)
    calls: int = 0

    def __post_init__(self) -> None:
        # What is left is read from the headers, which are off unless asked for.
        made = make("rate_limit", {"headers": True, **self.options})
        assert isinstance(made, RateLimit)
        self.made = made

    async def ask(
        self,
        passing: Exchange | None = None,
        *,
        answer: bytes = b"{}",
        status: int = 200,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        cause: Cause = Cause.OK,
        finish: bool = True,
    ) -> Response:
        passing = passing or chat()

        async def forward(inner: Exchange) -> Response:
            self.calls += 1
            inner.upstream_status = status
            return Response(status, [(b"content-type", b"application/json"), *headers], answer)

        response = await self.made(passing, forward)
        if finish:
            if not response.refused:
                passing.observe_chunk(answer)
            passing.end(cause)
            passing.finish()
        return response

    async def admitted(self, tries: int, **who: str | None) -> int:
        return sum([(await self.ask(chat(**who))).status == 200 for _ in range(tries)])


def chat(
    key: str | None = None,
    tier: str | None = None,
    address: str = "10.0.0.1",
    model: str = "gpt-4o",
    *,
    kind: str = "openai",
    body: bytes | None = None,
) -> Exchange:
    made = exchange(body=body or bodies.chat_request(model=model), to=upstream(kind))
    made.key_label, made.key_tier, made.client = key, tier, f"{address}:5000"
    return made


def header(response: Response, name: bytes) -> bytes | None:
    return next((value for key, value in response.headers if key == name), None)


# --- who has one of their own --------------------------------------------------------------


async def test_each_key_has_its_own_and_without_one_each_address() -> None:
    limited = Limited({"requests_per_minute": 2})
    assert await limited.admitted(5, key="alice") == 2
    assert await limited.admitted(5, key="bob") == 2
    assert await limited.admitted(5, address="10.0.0.1") == 2
    assert await limited.admitted(5, address="10.0.0.2") == 2
    assert limited.calls == 8


async def test_a_key_cannot_pass_for_an_address() -> None:
    limited = Limited({"requests_per_minute": 1})
    assert await limited.admitted(2, address="10.0.0.1") == 1
    assert await limited.admitted(2, key="10.0.0.1") == 1


@pytest.mark.parametrize(
    ("by", "same", "other"),
    [
        ("tier", {"tier": "free", "key": "b"}, {"tier": "paid", "key": "a"}),
        ("model", {"model": "gpt-4o", "key": "b"}, {"model": "o3", "key": "a"}),
        ("address", {"address": "10.0.0.1", "key": "b"}, {"address": "10.0.0.9", "key": "a"}),
        (["key", "model"], {"key": "a", "tier": "x"}, {"key": "a", "model": "o3"}),
    ],
)
async def test_by_says_who_shares(by: object, same: dict[str, str], other: dict[str, str]) -> None:
    limited = Limited({"rules": [{"requests": 3, "per": "hour", "by": by}]})
    assert await limited.admitted(2, key="a", tier="free") == 2
    assert await limited.admitted(9, **same) == 1  # what the first had left
    assert await limited.admitted(9, **other) == 3


async def test_over_all_is_one_for_everybody() -> None:
    limited = Limited({"rules": [{"requests": 3, "per": "hour", "by": "all"}]})
    assert await limited.admitted(2, key="a") == 2
    assert await limited.admitted(9, key="b", address="1.2.3.4", model="o3") == 1


async def test_x_forwarded_for_is_not_believed() -> None:
    limited = Limited({"rules": [{"requests": 1, "per": "hour", "by": "address"}]})
    assert await limited.admitted(1) == 1
    passing = exchange((b"X-Forwarded-For", b"8.8.8.8"), body=b"{}")
    passing.client = "10.0.0.1:6000"
    assert (await limited.ask(passing)).status == 429


async def test_a_network_of_ipv6_is_one_client() -> None:
    limited = Limited({"rules": [{"requests": 1, "per": "hour", "by": "address"}]})
    assert await limited.admitted(1, address="2001:db8::1") == 1
    assert await limited.admitted(1, address="2001:db8::ffff") == 0
    assert await limited.admitted(1, address="2001:db8:0:1::1") == 1


# --- which requests ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "hit", "miss"),
    [
        ({"models": "gpt-4*"}, {"model": "gpt-4o"}, {"model": "o3"}),
        ({"keys": ["a*", "z"]}, {"key": "alice"}, {"key": "bob"}),
        ({"tiers": ["free"]}, {"tier": "free"}, {"tier": None}),
        ({"upstreams": "open*"}, {"kind": "openai"}, {"kind": "ollama"}),
    ],
)
async def test_a_rule_holds_for_those_it_matches(
    match: dict[str, object], hit: dict[str, str], miss: dict[str, str]
) -> None:
    limited = Limited({"rules": [{"requests": 1, "per": "hour", "by": "all", "match": match}]})
    assert await limited.admitted(5, **miss) == 5
    assert await limited.admitted(5, **hit) == 1


async def test_a_model_named_twice_is_none_that_escapes() -> None:
    rule = {"requests": 1, "per": "hour", "by": "all", "match": {"models": "gpt-4*"}}
    limited = Limited({"rules": [rule]})
    twice = b'{"model": "gpt-4o", "messages": [], "model": "o3"}'
    statuses = [(await limited.ask(chat(body=twice))).status for _ in range(2)]
    assert statuses == [200, 429]


async def test_the_model_of_a_compressed_body_is_read_and_the_body_left() -> None:
    rule = {"requests": 1, "per": "hour", "match": {"models": "gpt-4*"}}
    limited = Limited({"rules": [rule]})
    packed = zstandard.compress(bodies.chat_request())
    for expected in (200, 429):
        passing = exchange((b"Content-Encoding", b"zstd"), body=packed)
        assert (await limited.ask(passing)).status == expected
        assert b"".join(passing.body.chunks) == packed


async def test_without_a_rule_that_needs_it_the_body_is_not_waited_for() -> None:
    limited = Limited({"requests_per_minute": 60})
    passing = exchange(body=b"{", whole=False)
    response = await asyncio.wait_for(limited.ask(passing), 1)
    assert response.status == 200


# --- several at once -----------------------------------------------------------------------


async def test_what_one_rule_refuses_is_charged_to_none() -> None:
    limited = Limited(
        {
            "rules": [
                {"requests": 100, "per": "hour", "by": "all"},
                {"requests": 1, "per": "hour", "by": "key"},
                {"concurrent": 1, "by": "all"},
            ]
        }
    )
    assert await limited.admitted(200, key="greedy") == 1
    assert sum([await limited.admitted(1, key=f"k{n}") for n in range(300)]) == 99


async def test_a_burst_is_a_rule_of_its_own_beside_the_period() -> None:
    limited = Limited({"rules": [{"requests": 60, "per": "minute", "burst": 5}]})
    assert await limited.admitted(20) == 5


# --- what is said --------------------------------------------------------------------------


async def test_openai_clients_are_told_in_their_way() -> None:
    limited = Limited({"rules": [{"requests": 1, "per": "hour"}]})
    first = await limited.ask(chat(key="a"))
    assert header(first, b"x-ratelimit-limit-requests") == b"1"
    assert header(first, b"x-ratelimit-remaining-requests") == b"0"
    assert header(first, b"x-ratelimit-reset-requests") == b"1h0m0s"
    refused = await limited.ask(chat(key="a"))
    assert refused.status == 429
    assert refused.refused
    assert 3590 <= int(header(refused, b"retry-after") or 0) <= 3600
    assert header(refused, b"x-ratelimit-remaining-requests") == b"0"
    error = json.loads(refused.body)["error"]  # type: ignore[arg-type]  # an answer made here
    assert error["code"] == "rate_limit_exceeded"
    assert "1 requests per hour for each key" in error["message"]


async def test_anthropic_clients_are_told_in_theirs() -> None:
    limited = Limited({"requests_per_minute": 1, "tokens_per_minute": 100000})
    passing = exchange(target=b"/v1/messages", body=b"{}", to=upstream("anthropic"))
    first = await limited.ask(passing)
    assert header(first, b"anthropic-ratelimit-requests-remaining") == b"0"
    assert header(first, b"anthropic-ratelimit-tokens-limit") == b"100000"
    reset = header(first, b"anthropic-ratelimit-requests-reset") or b""
    assert reset.endswith(b"Z")
    assert reset[10:11] == b"T"
    refused = await limited.ask(
        exchange(target=b"/v1/messages", body=b"{}", to=upstream("anthropic"))
    )
    error = json.loads(refused.body)  # type: ignore[arg-type]
    assert error["type"] == "error"
    assert error["error"]["type"] == "rate_limit_error"
    assert 1 <= int(header(refused, b"retry-after") or 0) <= 60


async def test_gemini_clients_get_googles_status() -> None:
    limited = Limited({"requests_per_minute": 1})
    path = b"/v1beta/models/gemini-2.5-pro:generateContent"
    for expected in (200, 429):
        response = await limited.ask(exchange(target=path, body=b"{}", to=upstream("gemini")))
        assert response.status == expected
    error = json.loads(response.body)["error"]  # type: ignore[arg-type]
    assert error["status"] == "RESOURCE_EXHAUSTED"
    assert not [name for name, _ in response.headers if b"ratelimit" in name]


async def test_the_upstreams_own_limits_are_left_as_they_are() -> None:
    limited = Limited({"requests_per_minute": 5})
    own = ((b"X-RateLimit-Remaining-Requests", b"9999"),)
    response = await limited.ask(headers=own)
    assert [pair for pair in response.headers if b"ratelimit" in pair[0].lower()] == list(own)


async def test_answers_that_pass_tell_nothing_unless_asked_to() -> None:
    limited = Limited({"requests_per_minute": 5})
    limited.made = cast(RateLimit, make("rate_limit", limited.options))
    response = await limited.ask()
    assert response.headers == [(b"content-type", b"application/json")]


# --- slots ---------------------------------------------------------------------------------


async def test_a_slot_comes_back_at_the_end_however_it_comes() -> None:
    limited = Limited({"concurrent": 1})
    for cause in Cause:
        passing = chat()
        assert (await limited.ask(passing, finish=False)).status == 200
        assert (await limited.ask(finish=False)).status == 429
        passing.end(cause)
        passing.finish()
    assert (await limited.ask()).status == 200


async def test_a_slot_comes_back_when_what_follows_raises() -> None:
    limited = Limited({"concurrent": 1})

    async def broken(_: Exchange) -> Response:
        raise RuntimeError("a middleware further in")

    passing = chat()
    with pytest.raises(RuntimeError):
        await limited.made(passing, broken)
    assert (await limited.ask()).status == 429
    passing.finish()  # as the gateway does, always
    assert (await limited.ask()).status == 200


# --- tokens --------------------------------------------------------------------------------


def request(max_tokens: int | None = None, text: str = "hello", **more: object) -> bytes:
    asked: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": text}]}
    if max_tokens is not None:
        asked["max_tokens"] = max_tokens
    return json.dumps(asked | more).encode()


def answer(tokens_in: int, tokens_out: int) -> bytes:
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
    return json.dumps({"choices": [], "usage": usage}).encode()


def left(response: Response) -> int:
    return int(header(response, b"x-ratelimit-remaining-tokens") or -1)


@pytest.mark.parametrize("max_tokens", [990, 1000, 50_000])
async def test_of_five_at_once_that_would_take_it_all_one_passes(max_tokens: int) -> None:
    limited = Limited({"tokens_per_minute": 1000})
    passing = [chat(body=request(max_tokens)) for _ in range(5)]
    found = await asyncio.gather(*(limited.ask(p, finish=False) for p in passing))
    assert sorted(response.status for response in found) == [200, 429, 429, 429, 429]


async def test_what_was_reserved_is_settled_by_the_providers_figures() -> None:
    limited = Limited({"tokens_per_minute": 10_000})
    reserved = await limited.ask(chat(body=request(4000)), answer=answer(120, 380))
    assert left(reserved) < 6000
    assert left(await limited.ask(chat(body=request(10)), answer=answer(1, 1))) >= 9500 - 20
    more = await limited.ask(chat(body=request(10)), answer=answer(3000, 5000))
    assert left(more) > 9400
    after = await limited.ask(chat(body=request(1)), finish=False)
    assert left(after) == 10_000 - 500 - 2 - 8000 - _estimate(1)


def _estimate(max_tokens: int) -> int:
    return -(-len("m" + "user" + "hello") // 4) + max_tokens


@pytest.mark.parametrize(
    ("status", "cause"),
    [(500, Cause.UPSTREAM_ERROR), (429, Cause.UPSTREAM_ERROR), (529, Cause.UPSTREAM_ERROR)],
)
async def test_an_upstream_that_fails_costs_nothing(status: int, cause: Cause) -> None:
    limited = Limited({"tokens_per_minute": 1000})
    await limited.ask(chat(body=request(900)), status=status, cause=cause)
    assert left(await limited.ask(chat(body=request(1)))) == 1000 - _estimate(1)


async def test_a_client_that_leaves_before_the_answer_costs_nothing() -> None:
    limited = Limited({"tokens_per_minute": 1000})

    async def leaves(_: Exchange) -> Response:
        raise asyncio.CancelledError

    passing = chat(body=request(900))
    with pytest.raises(asyncio.CancelledError):
        await limited.made(passing, leaves)
    passing.end(Cause.CLIENT_DISCONNECTED)
    passing.finish()
    assert left(await limited.ask(chat(body=request(1)))) == 1000 - _estimate(1)


async def test_an_answer_that_tells_no_figures_keeps_its_estimate() -> None:
    limited = Limited({"tokens_per_minute": 1000})
    await limited.ask(chat(body=request(500)), answer=b'{"choices": []}')
    assert left(await limited.ask(chat(body=request(1)))) == 1000 - _estimate(500) - _estimate(1)


async def test_a_stream_that_was_cut_costs_its_input_and_what_had_come() -> None:
    limited = Limited({"tokens_per_minute": 1000})
    passing = chat(body=request(900, stream=True))

    async def stream(inner: Exchange) -> Response:
        inner.upstream_status = 200
        return Response(200, [(b"content-type", b"text/event-stream")], b"")

    await limited.made(passing, stream)
    for event in bodies.chat_events(done=False):
        passing.observe_chunk(event)
    passing.end(Cause.CLIENT_DISCONNECTED)
    passing.finish()
    used = _estimate(0) + 5
    assert left(await limited.ask(chat(body=request(1)))) == 1000 - used - _estimate(1)


async def test_a_request_without_tokens_passes_an_empty_budget() -> None:
    limited = Limited({"tokens_per_minute": 10})
    assert (await limited.ask(chat(body=request(10)), finish=False)).status == 200
    models = exchange(method=b"GET", target=b"/v1/models")
    assert (await limited.ask(models)).status == 200


@pytest.mark.parametrize(
    ("more", "reserved"),
    [
        ({}, 1000),
        ({"max_completion_tokens": 7, "max_tokens": 900}, 7),
        ({"max_output_tokens": 8}, 8),
        ({"generationConfig": {"maxOutputTokens": 9, "candidateCount": 2}}, 18),
        ({"options": {"num_predict": 10}}, 10),
        ({"options": {"num_predict": -1}}, 1000),
        ({"max_tokens": 5, "n": 3}, 15),
        ({"max_tokens": "many"}, 1000 + 1),  # its four characters are text
        ({"max_tokens": 5, "image": "data:image/png;base64," + "A" * 100_000}, 1000 + 5),
    ],
)
async def test_what_is_reserved(more: dict[str, object], reserved: int) -> None:
    limited = Limited({"tokens_per_minute": 100_000})
    response = await limited.ask(chat(body=request(**more)), finish=False)  # type: ignore[arg-type]
    assert left(response) == 100_000 - _estimate(0) - reserved


# --- options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "limits nothing"),
        ({"requests_per_minute": 0}, "give at least 1"),
        ({"requests_per_minute": True}, "give a whole number"),
        ({"rules": [{"requests": 5}]}, "no period"),
        ({"rules": [{"per": "hour"}]}, "needs one of requests, tokens or concurrent"),
        ({"rules": [{"requests": 5, "tokens": 5, "per": "hour"}]}, "needs one of"),
        ({"rules": [{"requests": 5, "per": "fortnight"}]}, "per"),
        ({"rules": [{"concurrent": 5, "per": "hour"}]}, "takes no per"),
        ({"rules": [{"requests": 5, "per": "hour", "burst": 6}]}, "burst above"),
        ({"rules": [{"requests": 5, "per": "hour", "by": ["all", "key"]}]}, "by: all"),
        ({"rules": [{"requests": 5, "per": "hour", "by": []}]}, "by"),
        ({"rules": [{"requests": 5, "per": 0}]}, "out of range"),
        ({"requests_per_minute": 5, "rules": [{"requests": 9, "per": "minute"}]}, "the same"),
        ({"requests_per_minute": 5, "redis_url": "http://x"}, "no address of a Redis"),
        ({"requests_per_minute": 5, "redis_urll": "x"}, "did you mean redis_url"),
        ({"rules": [{"requests": 5, "per": "hour", "match": {"model": "x"}}]}, "models"),
    ],
)
def test_a_mistake_is_told_in_one_line(options: dict[str, object], told: str) -> None:
    found = problems("rate_limit", options)
    assert len(found) >= 1
    assert told in " ".join(found)


def test_a_bad_address_of_a_redis_is_not_repeated() -> None:
    found = problems("rate_limit", {"requests_per_minute": 5, "redis_url": "x://:hunter2@h"})
    assert "hunter2" not in " ".join(found)


@pytest.mark.parametrize(
    ("workers", "redis_url", "wrong"),
    [(1, None, False), (4, None, True), (4, "redis://127.0.0.1:1/0", False)],
)
def test_several_processes_need_a_redis(workers: int, redis_url: str | None, wrong: bool) -> None:
    options = RateLimitOptions.model_validate({"requests_per_minute": 5, "redis_url": redis_url})
    settings = Settings(workers=workers, upstreams=(UpstreamSettings(type="openai"),))
    found = RateLimit.check(options, settings)
    assert bool(found) == wrong
    assert not found or "add redis_url" in found[0]


@pytest.mark.parametrize(
    ("options", "status"),
    [({"tokens_per_minute": 1000}, 426), ({"requests_per_minute": 10}, 200)],
)
async def test_websocket_is_refused_where_what_it_uses_could_not_be_counted(
    options: dict[str, object], status: int
) -> None:
    asked = exchange((b"Upgrade", b"websocket"), method=b"GET", target=b"/v1/realtime")
    assert (await Limited(options).ask(asked)).status == status
