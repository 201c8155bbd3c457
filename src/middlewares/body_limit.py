"""Refuses request bodies over a size, with 413, before the upstream has seen anything.

    middlewares:
      - trace
      - body_limit: {bytes: 4MB, models: {"gpt-4o*": 20MB, "*-mini": 200kB}}

An announced length is judged before the body is read; a chunked body is counted as it comes. The
first glob that covers the model decides, and `bytes` for all others. Sizes are those on the wire.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from pydantic import Field

from ..config.settings import Section
from ..config.values import Size
from ..proxy.exchange import CallNext, Exchange, Response
from ._asked import Unclear, announced_bytes, asked_models, has_body
from .base import Services


class BodyLimitOptions(Section):
    """How much."""

    bytes: Size = Field(description="of a request's body, as 500kB, 4MB or a number")
    models: dict[str, Size] = Field(
        default={}, description="glob of a model to its own size; the first that fits counts"
    )


class BodyLimit:
    """The middleware."""

    Options = BodyLimitOptions

    def __init__(self, options: BodyLimitOptions, services: Services) -> None:
        del services
        self._bytes = options.bytes
        self._models = options.models
        self._least = min(options.bytes, *options.models.values(), options.bytes)
        self._most = max(options.bytes, *options.models.values(), options.bytes)

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        """Pass on what is small enough. The body is read only where its model decides."""
        announced = announced_bytes(exchange)
        if announced > self._most or not exchange.limit_body(self._most):
            return _too_large(exchange, self._most)
        certain = announced <= self._least and not exchange.body.chunked
        if self._models and not certain and has_body(exchange):
            limit = await self._limit(exchange)
            if exchange.body.size > limit:
                return _too_large(exchange, limit)
        return await call_next(exchange)

    async def _limit(self, exchange: Exchange) -> int:
        """The smallest of what its models may have; what cannot be told gets the general limit."""
        try:
            models = await asked_models(exchange)
        except Unclear:
            models = set()
        await exchange.read_body()
        return min((self._limit_of(model) for model in models), default=self._bytes)

    def _limit_of(self, model: str) -> int:
        fitting = (size for glob, size in self._models.items() if fnmatchcase(model, glob))
        return next(fitting, self._bytes)


def _too_large(exchange: Exchange, limit: int) -> Response:
    text = f"the request body is over the limit of {limit} bytes"
    return exchange.refuse(413, "request_too_large", text)
