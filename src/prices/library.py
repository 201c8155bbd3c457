"""The prices of `genai-prices`, a table kept up to date by its release, without any network.

Imported with the first trace that has something to price: that takes 0.12 s and 19 MB (pydantic
and an HTTP client that is never used come with it), which a recorder of unpriced traffic does
not need.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from genai_prices import __version__
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from .rates import Rates, Tiers, rate

VERSION = f"genai-prices {__version__}"

# Whose prices are meant where the address is not the provider's own (gateways, mirrors). A model
# of an unknown address and type has no price that anybody could know.
_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "azure": "azure",
    "openrouter": "openrouter",
}

_KINDS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "input_image_mtok": "input_image",
    "input_video_mtok": "input_video",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "output_video_mtok": "output_video",
    "cache_audio_read_mtok": "cache_read_audio",
    "cache_image_read_mtok": "cache_read_image",
    "web_searches_kcount": "search",
    "requests_kcount": "request",
}


class ModelRates:
    """The rates of one model, which may change with the day and the hour."""

    __slots__ = ("_context", "_info", "_minute", "_steady", "_tiers")

    def __init__(self, info: ModelInfo, context: Mapping[str, str]) -> None:
        self._info = info
        self._context = context
        self._steady = isinstance(info.prices, ModelPrice) and not context
        self._minute = -1
        self._tiers: Tiers = ()

    def at(self, unix_s: int) -> Tiers:
        """Those of a request that came then."""
        minute = 0 if self._steady else unix_s // 60
        if minute != self._minute:
            when = datetime.fromtimestamp(unix_s, UTC)
            self._tiers = _tiers(self._info.get_prices(when, self._context or None))
            self._minute = minute
        return self._tiers


def find(kind: str, base_url: str, model: str, context: Mapping[str, str]) -> ModelRates | None:
    """The rates of a model at a provider of this type and address; None where it is unknown.

    `context`: what the answer says about how it was served (`service_tier`, `speed`).
    """
    snapshot = get_snapshot()
    try:
        provider = _provider(kind, base_url)
        if provider is None:
            return None
        _, info = snapshot.find_provider_model(model.removeprefix("models/"), provider, None, None)
    except LookupError:
        return None
    # Another provider's model, served by this one: what it says of tiers holds there only.
    own = any(info is known for known in provider.models)
    return ModelRates(info, context if own and info.price_variants else {})


def _provider(kind: str, base_url: str) -> Provider | None:
    snapshot = get_snapshot()
    try:
        return snapshot.find_provider(None, None, base_url)
    except LookupError:
        name = _PROVIDERS.get(kind)
        return snapshot.find_provider(None, name, None) if name else None


def _tiers(prices: ModelPrice) -> Tiers:
    """Flat rates, one table for each number of input tokens at which something changes."""
    known = {
        kind: price
        for key, kind in _KINDS.items()
        if (price := prices.__dict__.get(key)) is not None
    }
    starts = {0}
    for price in known.values():
        if isinstance(price, TieredPrices):
            starts.update(tier.start for tier in price.tiers)
    return tuple((start, _rates(known, start)) for start in sorted(starts))


def _rates(known: Mapping[str, Decimal | TieredPrices], start: int) -> Rates:
    return {
        kind: rate(_above(price, start), 1000 if kind in {"search", "request"} else 1_000_000)
        for kind, price in known.items()
    }


def _above(price: Decimal | TieredPrices, start: int) -> Decimal:
    if not isinstance(price, TieredPrices):
        return price
    found = price.base
    for tier in price.tiers:
        if 0 < tier.start <= start:
            found = tier.price
    return found
