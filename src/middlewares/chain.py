"""The middlewares as one callable, first is outermost."""

from __future__ import annotations

from collections.abc import Sequence

from ..proxy.errors import ProxyError
from ..proxy.exchange import CallNext, Exchange, Response
from .base import Middleware


class Layer:
    """A middleware bound to what comes after it; remembers who said no or broke."""

    __slots__ = ("_call_next", "_middleware", "_name")

    def __init__(self, name: str, middleware: Middleware, call_next: CallNext) -> None:
        self._name = name
        self._middleware = middleware
        self._call_next = call_next

    async def __call__(self, exchange: Exchange) -> Response:
        try:
            response = await self._middleware(exchange, self._call_next)
            refused = response.refused  # whoever returned no Response is named below, too
        except ProxyError:
            raise
        except Exception:
            if exchange.rejected_by is None:
                exchange.rejected_by = self._name
            raise
        if refused and exchange.rejected_by is None and exchange.forwarded is None:
            exchange.rejected_by = self._name
        return response


def build_chain(layers: Sequence[tuple[str, Middleware]], forward: CallNext) -> CallNext:
    """`forward` behind all `layers` (name, middleware), the first of them outermost."""
    call_next = forward
    for name, middleware in reversed(layers):
        call_next = Layer(name, middleware, call_next)
    return call_next
