"""Tokens of one request: reserved by an estimate, settled by the provider's own figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..limits import Grant
from ..limits.estimate import input_tokens, output_tokens
from ..proxy.exchange import Cause, Exchange, Response
from ..proxy.providers.reading import loads
from ..proxy.usage import UsageWatch, watch_usage
from ..tracing.decoding import Decoder
from ._asked import DECODED_BYTES, DECODED_RATIO, Unclear, asked_models, decoded_body, has_body
from ._rules import Rule

_NO_OUTPUT = frozenset({"embeddings", "embed_content", "batch_embed_contents", "moderations"})


class Asked:
    """What a request asks for. `models` None: cannot be told. `tokens`: in and out, estimated."""

    __slots__ = ("input_tokens", "models", "tokens")

    def __init__(self, models: set[str] | None, input_tokens: int, tokens: int) -> None:
        self.models = models
        self.input_tokens = input_tokens
        self.tokens = tokens


NOTHING = Asked(set(), 0, 0)


async def read_request(exchange: Exchange, rules: Sequence[Rule], assumed: int) -> Asked:
    """Read the request's body for the rules that need it. Raises ProxyError if it never ends."""
    models: set[str] | None = set()
    if any(rule.needs_models for rule in rules):
        try:
            models = await asked_models(exchange)
        except Unclear:
            models = None
    if not any(rule.kind == "tokens" for rule in rules):
        return Asked(models, 0, 0)
    method, path = exchange.method.decode("latin-1"), exchange.forward_path.decode("latin-1")
    operation = exchange.provider.operation(method, path)
    runs = exchange.provider.is_inference(operation) or (operation == "other" and method == "POST")
    if not runs:
        return Asked(models, 0, 0)
    body = await _parsed(exchange)
    tokens_in = input_tokens(body)
    tokens_out = 0 if operation in _NO_OUTPUT else output_tokens(body, assumed)
    return Asked(models, tokens_in, max(tokens_in + tokens_out, 1))


async def _parsed(exchange: Exchange) -> object | None:
    """The request's JSON, None where it has none that can be read."""
    if not has_body(exchange):
        return None
    try:
        return loads(await decoded_body(exchange))
    except Unclear:
        return None


class Running:
    """A request that holds something; gives it back at the end."""

    __slots__ = ("_asked", "_finish", "_grant", "_watch")

    def __init__(
        self, finish: Callable[[Grant, int | None], None], grant: Grant, asked: Asked
    ) -> None:
        self._finish = finish
        self._grant = grant
        self._asked = asked
        self._watch: UsageWatch | None = None

    def answered(self, exchange: Exchange, response: Response) -> None:
        """Look at the answer of an upstream for what it has cost."""
        if self._asked.tokens and exchange.upstream_status is not None:
            self._watch = watch_usage(exchange, response, _decoder)

    def finish(self, exchange: Exchange) -> None:
        """Called once, whatever happened."""
        self._finish(self._grant, self._used(exchange) if self._asked.tokens else None)

    def _used(self, exchange: Exchange) -> int | None:
        """Tokens really used; None where nobody knows and the estimate has to stand."""
        status = exchange.upstream_status
        if status is None or status >= 400:
            return 0
        watch = self._watch
        usage = watch.usage() if watch is not None else None
        told_in = usage.input_tokens if usage is not None else None
        told_out = usage.output_tokens if usage is not None else None
        if exchange.cause is Cause.OK:
            return None if usage is None else (told_in or 0) + (told_out or 0)
        if watch is None or not watch.streamed:
            return None
        # Cut short: what was told came at the beginning, and each event has brought about one.
        begun = told_in if told_in is not None else self._asked.input_tokens
        return begun + max(told_out or 0, watch.events)


def _decoder(encoding: str) -> Decoder:
    return Decoder(encoding, DECODED_BYTES, DECODED_RATIO)
