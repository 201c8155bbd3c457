"""Limits of requests, tokens and simultaneous requests; what is over them is answered 429.

    rate_limit: {requests_per_minute: 60}

Every request counts, whatever it asks for. All rules decide together: what one refuses is charged
to none. Tokens are reserved by an estimate before the request goes on (no more than the whole
budget, so that a request is never too large for ever) and settled by the provider's own figures
at the end; nothing was answered, nothing is charged; an answer that tells no figures keeps its
estimate. The counts live in this process (`limits.memory`) or at a Redis (`limits.shared`).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from ..config.settings import Settings
from ..limits import Claim, Grant, MemoryStore, Refusal, StoreUnavailable
from ..limits.shared import RedisStore
from ..proxy.exchange import CallNext, Exchange, Response
from ..proxy.websocket import wants_websocket
from ..utils.spellings import Spellings
from ._rules import Count, OnFailure, Rule, RuleOptions
from ._spending import NOTHING, Asked, Running, read_request
from .base import Services


def _redis_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        known = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("is no address of a Redis; write it as redis://host:6379/0 or rediss://…")
    return value


class RateLimitOptions(BaseModel):
    """Options of the rate_limit middleware."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    requests_per_minute: Count | None = Field(
        default=None, description="each key; short for a rule"
    )
    tokens_per_minute: Count | None = Field(default=None, description="each key; short for a rule")
    concurrent: Count | None = Field(
        default=None, description="at the same time, each key; the same"
    )
    rules: tuple[RuleOptions, ...] = Field(default=(), description="all of them hold at once")
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        default=None, description="where processes and machines share their counts"
    )
    redis_timeout_ms: int = Field(
        default=100, ge=1, le=10_000, description="a request waits no longer"
    )
    redis_prefix: str = Field(
        default="llmtap", min_length=1, description="of all keys at the Redis"
    )
    on_store_failure: OnFailure = Field(
        default="open", description="requests go on (open) or 503 (closed)"
    )
    lease_s: float = Field(
        default=15.0, ge=0.3, le=3600, description="slots of a killed process are kept"
    )
    assumed_output_tokens: int = Field(
        default=1000, ge=0, description="reserved for an answer whose request sets no bound"
    )
    headers: bool = Field(
        default=False, description="tell limits on every answer, not on refusals alone"
    )
    max_keys: int = Field(
        default=50_000, ge=100, description="counts held in memory; idle ones go first"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        rules = [Rule(options, self.on_store_failure) for options in self.all_rules()]
        if not rules:
            raise ValueError("limits nothing; write requests_per_minute: 60, or rules")
        if len({rule.prefix for rule in rules}) < len(rules):
            raise ValueError("has two rules that count the same; take one out or give them names")
        return self

    def all_rules(self) -> tuple[RuleOptions, ...]:
        """The short forms written out, then the rules."""
        short: list[RuleOptions] = []
        if self.requests_per_minute is not None:
            short.append(RuleOptions(requests=self.requests_per_minute, per="minute"))
        if self.tokens_per_minute is not None:
            short.append(RuleOptions(tokens=self.tokens_per_minute, per="minute"))
        if self.concurrent is not None:
            short.append(RuleOptions(concurrent=self.concurrent))
        return (*short, *self.rules)


_UNCOUNTED = "tokens or models are limited here, and a WebSocket's are not counted; use HTTP"


class RateLimit:
    """The rate_limit middleware."""

    Options = RateLimitOptions

    def __init__(self, options: RateLimitOptions, services: Services) -> None:
        self._options = options
        self._rules = [Rule(o, options.on_store_failure) for o in options.all_rules()]
        self._all_for_every = not any(o.match.model_fields_set for o in options.all_rules())
        self._reads_body = _read_body(self._rules)
        self._finishes = any(rule.kind != "requests" for rule in self._rules)
        self._memory: MemoryStore | None = None
        self._redis: RedisStore | None = None
        if options.redis_url is None:
            self._memory = MemoryStore(services.clock, options.max_keys, tells=options.headers)
        else:
            self._redis = _redis_store(options, options.redis_url, services)
        self._admitted = self._refused = 0

    @classmethod
    def check(cls, options: RateLimitOptions, settings: Settings) -> list[str]:
        """What is wrong with these options in these settings, as `problem; what to do`."""
        processes = max(settings.workers, _processes_of_uvicorn())
        if options.redis_url is None and processes > 1:
            what = f"counts in each process alone and there are {processes}"
            return [f"{what}; add redis_url: redis://host:6379/0, or serve with workers: 1"]
        return []

    async def start(self) -> None:
        """Connect to the Redis, where there is one; it may be away."""
        if self._redis is not None:
            await self._redis.start()

    async def stop(self) -> None:
        """Give back what is held there, and close."""
        if self._redis is not None:
            await self._redis.stop()

    def counters(self) -> dict[str, int]:
        """Figures for the health page."""
        counts = {"admitted": self._admitted, "refused": self._refused}
        if self._memory is not None:
            return {**counts, "keys": len(self._memory)}
        decided = self._redis.outage.requests if self._redis is not None else 0
        return {**counts, "without_store": decided}

    async def __call__(  # noqa: C901 - one pass, in the order it happens
        self, exchange: Exchange, call_next: CallNext
    ) -> Response:
        """Take what the request needs, or refuse it. Hot: once per request."""
        if exchange.refusal is not None:
            return await call_next(exchange)  # the gateway refuses it anyway
        rules = self._rules
        if not self._all_for_every:
            rules = [rule for rule in rules if rule.is_for(exchange)]
        asked = NOTHING
        if self._reads_body and _read_body(rules):
            if wants_websocket(exchange):
                return exchange.refuse(426, "websocket_unsupported", _UNCOUNTED)
            asked = await read_request(exchange, rules, self._options.assumed_output_tokens)
        ruled, claims = _claims(rules, exchange, asked)
        if not claims:
            return await call_next(exchange)
        try:
            if self._memory is not None:
                verdict = self._memory.take(claims)
            else:
                verdict = await self._shared().take(claims, exchange.id)
        except StoreUnavailable:
            return await self._go_without(exchange, call_next, ruled, claims)
        if isinstance(verdict, Refusal):
            self._refused += 1
            return _refuse(exchange, ruled, verdict)
        self._admitted += 1
        if not self._finishes:
            response = await call_next(exchange)
        else:
            response = await self._run(exchange, call_next, verdict, asked)
        if self._options.headers:
            _tell(exchange, response, ruled, verdict)
        return response

    def _shared(self) -> RedisStore:
        assert self._redis is not None  # noqa: S101  where there is no memory store
        return self._redis

    async def _run(
        self, exchange: Exchange, call_next: CallNext, grant: Grant, asked: Asked
    ) -> Response:
        """Go on with what has to be given back at the end, however that comes."""
        store = self._memory if self._memory is not None else self._shared()
        running = Running(store.finish, grant, asked)
        exchange.on_finish(running.finish)
        response = await call_next(exchange)
        running.answered(exchange, response)
        return response

    async def _go_without(
        self, exchange: Exchange, call_next: CallNext, ruled: Sequence[Rule], claims: list[Claim]
    ) -> Response:
        """The Redis does not answer: refuse where a rule wants it, else go on unlimited."""
        if any(rule.closed for rule in ruled):
            self._refused += 1
            text = "the limits cannot be checked at the moment; try again"
            headers = ((b"retry-after", b"1"),)
            return exchange.refuse(503, "rate_limit_unavailable", text, headers)
        free = self._shared().hold(claims, exchange.id)
        if free is not None:
            exchange.on_finish(lambda _exchange: free())
        return await call_next(exchange)


def _redis_store(options: RateLimitOptions, url: SecretStr, services: Services) -> RedisStore:
    # The library takes 0.2 s to import: not for those who count in memory.
    from ..limits.link import Link  # noqa: PLC0415

    return RedisStore(
        Link(url.get_secret_value()),
        services.clock,
        timeout_s=options.redis_timeout_ms / 1000,
        lease_s=options.lease_s,
        prefix=options.redis_prefix,
    )


def _read_body(rules: Sequence[Rule]) -> bool:
    return any(rule.reads_body for rule in rules)


def _claims(
    rules: Sequence[Rule], exchange: Exchange, asked: Asked
) -> tuple[list[Rule], list[Claim]]:
    """What is to be taken, and under which rule each. Hot."""
    ruled: list[Rule] = []
    claims: list[Claim] = []
    for rule in rules:
        limit, cost = rule.limit, 1
        if limit.settles:
            cost = min(asked.tokens, limit.most)
            if not cost:
                continue
        for key in rule.keys(exchange, asked.models):
            ruled.append(rule)
            claims.append((key, limit, cost))
    return ruled, claims


def _refuse(exchange: Exchange, ruled: Sequence[Rule], refusal: Refusal) -> Response:
    """429 with what a client needs to come back in time."""
    seconds = max(ceil(refusal.retry_after_s), 1)
    rule = ruled[refusal.index]
    headers = [(b"retry-after", b"%d" % seconds)]
    if rule.kind != "concurrent":
        left = 0 if rule.kind == "requests" else refusal.remaining[refusal.index]
        headers += exchange.provider.rate_limit_headers(
            rule.kind, rule.limit.amount, left, refusal.retry_after_s, time.time()
        )
    text = f"Rate limit reached: {rule.words}. Try again in {seconds} s."
    return exchange.refuse(429, "rate_limit_exceeded", text, tuple(headers))


_TELLS = Spellings(lambda name: b"ratelimit-" in name)  # whether such a header tells a limit


def _tell(exchange: Exchange, response: Response, ruled: Sequence[Rule], grant: Grant) -> None:
    """Add the limits to an answer that tells none: of each kind the tightest. Hot."""
    for name, _ in response.headers:
        if _TELLS[name]:
            return
    tightest: dict[str, tuple[int, Rule]] = {}
    for rule, left in zip(ruled, grant.remaining, strict=True):
        kind = rule.kind
        if kind != "concurrent" and (kind not in tightest or left < tightest[kind][0]):
            tightest[kind] = left, rule
    tell = exchange.provider.rate_limit_headers
    for left, rule in tightest.values():
        limit = rule.limit
        response.headers += tell(rule.kind, limit.amount, left, limit.period_s, time.time())


def _processes_of_uvicorn() -> int:
    """How many serve where uvicorn was started by itself: `uvicorn src.main:app --workers 4`.

    Only its children ask, they inherit its command line; a `--reload` has one.
    """
    if multiprocessing.parent_process() is None:
        return 1
    words = [*sys.argv, ""]
    for word, following in pairwise(words):
        name, _, value = word.partition("=")
        if name == "--workers" and (value or following).isdecimal():
            return int(value or following)
    given = os.environ.get("WEB_CONCURRENCY", "")
    return int(given) if given.isdecimal() and "--reload" not in words else 1


__all__ = ["RateLimit", "RateLimitOptions"]
