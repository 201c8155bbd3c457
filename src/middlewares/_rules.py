"""The rules of `rate_limit`: as they are written in the config, and as they are asked per request.

rules:
  - {requests: 600, per: minute, burst: 20}                   # each key
  - {tokens: 200000, per: minute, by: [key, model]}
  - {concurrent: 4, by: address}
  - {requests: 1000, per: day, by: all, match: {models: "gpt-4*", tiers: free}}
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection
from fnmatch import translate
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..limits import Limit
from ..proxy.exchange import Exchange

_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_KEY_CHARACTERS = 128


def _listed(value: object) -> object:
    """One is written without brackets."""
    return [value] if isinstance(value, str) else value


def _period(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number and value not in tuple(_SECONDS):
        raise ValueError("is no period; give second, minute, hour, day or a number of seconds")
    return value


Period = Annotated[str | float, BeforeValidator(_period)]
Globs = Annotated[tuple[str, ...], BeforeValidator(_listed)]
By = Literal["key", "tier", "model", "address", "upstream", "all"]
Count = Annotated[int, Field(ge=1, le=10**12, strict=True)]
OnFailure = Literal["open", "closed"]


class Match(BaseModel):
    """Which requests a rule is for: those that fit one of the globs under each name given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    models: Globs = Field(default=(), description="models asked for")
    keys: Globs = Field(default=(), description="labels of client keys")
    tiers: Globs = Field(default=(), description="tiers of client keys")
    upstreams: Globs = Field(default=(), description="names of upstreams")


class RuleOptions(BaseModel):
    """One rule: one of requests, tokens or concurrent."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str | None = Field(default=None, description="for messages; default: told by the rest")
    requests: Count | None = Field(default=None, description="so many requests in any period")
    tokens: Count | None = Field(
        default=None, description="so many tokens, in and out, in any period"
    )
    concurrent: Count | None = Field(default=None, description="so many requests at the same time")
    per: Period | None = Field(
        default=None, description="the period: second, minute, hour, day, or seconds"
    )
    by: Annotated[tuple[By, ...], BeforeValidator(_listed)] = Field(
        default=("key",),
        description="who has one of their own: key (the address where there is none), tier, model,"
        " address, upstream, several of these; all share one with all",
    )
    burst: Count | None = Field(
        default=None, description="so many at once, the rest in an even flow"
    )
    match: Match = Field(default=Match(), description="only these requests; default: every one")
    on_store_failure: OnFailure | None = Field(default=None, description="as the one for all rules")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        given = [n for n in ("requests", "tokens", "concurrent") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("needs one of requests, tokens or concurrent; write another rule")
        if self.concurrent is not None:
            if self.per is not None or self.burst is not None:
                raise ValueError("has concurrent, which takes no per and no burst; take them out")
        elif self.per is None:
            raise ValueError(f"has {given[0]} and no period; add per: minute, hour or day")
        if not self.by:
            raise ValueError("has by with nobody in it; name key, tier, model, address or all")
        if isinstance(self.per, float) and not 0.1 <= self.per <= 366 * 86400:
            raise ValueError("has a period out of range; give 0.1 seconds to a year")
        if self.burst is not None and self.burst > (self.requests or self.tokens or 0):
            raise ValueError(f"has a burst above {given[0]}, which can never come; lower it")
        if "all" in self.by and len(self.by) > 1:
            raise ValueError("has by: all with others; take one out")
        return self


class Rule:
    """One rule, ready to be asked. `kind` is requests, tokens or concurrent.

    `reads_body`: the model or an estimate is needed for it. `closed`: refuses without its store.
    """

    __slots__ = ("_by", "_match", "_models", "_read", "closed", "kind", "limit", "prefix", "words")

    def __init__(self, options: RuleOptions, on_store_failure: OnFailure) -> None:
        self.kind, amount = next(
            (kind, amount)
            for kind in ("requests", "tokens", "concurrent")
            if (amount := getattr(options, kind)) is not None
        )
        period_s = _SECONDS.get(str(options.per), 0.0) or float(options.per or 0)
        burst = options.burst if options.burst != amount else None
        self.limit = Limit(amount, period_s, burst or 0, settles=self.kind == "tokens")
        self.closed = (options.on_store_failure or on_store_failure) == "closed"
        self._by = options.by
        # What tells the bucket, where one thing does and the body is not among it: mostly.
        self._read = _READ.get(self._by[0]) if len(self._by) == 1 else None
        match = options.match
        self._models = _fitting(match.models)
        self._match = [
            (read, fits)
            for read, globs in (
                (_label, match.keys),
                (_tier, match.tiers),
                (_upstream, match.upstreams),
            )
            if (fits := _fitting(globs)) is not None
        ]
        self.words = _words(options, self.kind, amount)
        # The same rule has the same buckets on every machine, wherever it stands in its config.
        chosen = match.model_dump_json(exclude_defaults=True)
        told = options.name or f"{'+'.join(self._by)}:{period_s:g}:{chosen}"
        self.prefix = f"{self.kind}:{_short(told)}:"

    @property
    def reads_body(self) -> bool:
        """Nothing can be said of a request until its body is here."""
        return self.kind == "tokens" or self.needs_models

    @property
    def needs_models(self) -> bool:
        """Which models a request names decides where it is counted, or whether."""
        return "model" in self._by or self._models is not None

    def is_for(self, exchange: Exchange) -> bool:
        """Whether key, tier and upstream are those of the rule."""
        for read, fits in self._match:
            text = read(exchange)
            if text is None or not fits(text):
                return False
        return True

    def keys(self, exchange: Exchange, models: Collection[str] | None) -> list[str]:
        """The buckets a request is counted in. `models` None: they cannot be told, any may be
        meant, so the rule holds. Hot."""
        if self._models is not None and models is not None and not any(map(self._models, models)):
            return []
        if self._read is not None:
            return [self.prefix + self._read(exchange)]
        by = self._by
        asked = sorted(models) if models and "model" in by else [""]
        rest = "|".join(_READ[name](exchange) for name in by if name != "model")
        return [f"{self.prefix}{rest}|{_short(model)}" for model in asked]


def _label(exchange: Exchange) -> str | None:
    return exchange.key_label


def _tier(exchange: Exchange) -> str | None:
    return exchange.key_tier


def _upstream(exchange: Exchange) -> str | None:
    return exchange.upstream.name if exchange.upstream is not None else None


def _address(exchange: Exchange) -> str:
    """The peer's own: what it says of others in X-Forwarded-For is not believed (reliability 85).

    Of IPv6 the network: a client has 2^64 addresses.
    """
    address = exchange.client.rpartition(":")[0]
    return _network(address) if ":" in address else address


@lru_cache(4096)
def _network(address: str) -> str:
    try:
        bits = int(ipaddress.IPv6Address(address.strip("[]").partition("%")[0]))
    except ValueError:
        return address
    mapped = ipaddress.IPv6Address(bits).ipv4_mapped
    return str(mapped) if mapped else f"{ipaddress.IPv6Address(bits >> 64 << 64)}/64"


def _by_key(exchange: Exchange) -> str:
    label = exchange.key_label
    return "=" + label if label is not None else _address(exchange)


_READ: dict[str, Callable[[Exchange], str]] = {
    "key": _by_key,
    "tier": lambda exchange: exchange.key_tier or "",
    "address": _address,
    "upstream": lambda exchange: _upstream(exchange) or "",
    "all": lambda _exchange: "",
}


def _fitting(globs: tuple[str, ...]) -> Callable[[str], object] | None:
    return re.compile("|".join(map(translate, globs))).match if globs else None


def _short(text: str) -> str:
    """What clients choose must not make keys as long as they like."""
    if len(text) <= _KEY_CHARACTERS:
        return text
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _words(options: RuleOptions, kind: str, amount: int) -> str:
    """`60 requests per minute for each key`."""
    per = f"{options.per:g} seconds" if isinstance(options.per, float) else options.per
    what = "requests at a time" if kind == "concurrent" else f"{kind} per {per}"
    each = " and ".join(options.by)
    text = f"{amount} {what} " + ("in all" if each == "all" else f"for each {each}")
    return f"{text} ({options.name})" if options.name else text
