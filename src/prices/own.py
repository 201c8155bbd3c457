"""Prices of one's own, as the configuration lists them: contracts, own machines, new models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase

from .rates import Tiers, rate

VERSION = "config"

_MILLION = 1_000_000
_KINDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")


@dataclass(slots=True, frozen=True)
class OwnPrice:
    """One entry: globs of the model (case does not matter) and of the upstream's name."""

    model: str
    upstream: str
    tiers: Tiers


def read_prices(entries: Iterable[Mapping[str, str | None]]) -> list[OwnPrice]:
    """The entries of the settings: prices as decimal texts, US dollars per million tokens."""
    found = []
    for entry in entries:
        rates = {
            kind: rate(Decimal(price), _MILLION)
            for kind in _KINDS
            if (price := entry.get(kind)) is not None
        }
        model, upstream = str(entry["model"]).lower(), str(entry.get("upstream") or "*")
        found.append(OwnPrice(model, upstream, ((0, rates),)))
    return found


def find(prices: Iterable[OwnPrice], upstream: str, models: Iterable[str]) -> Tiers | None:
    """The first entry that one of the models matches, in the order they are written."""
    names = [model.lower() for model in models]
    for price in prices:
        if fnmatchcase(upstream, price.upstream):
            for name in names:
                if fnmatchcase(name, price.model):
                    return price.tiers
    return None
