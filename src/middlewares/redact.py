"""Masks what must not be written down, and where asked, what must not be sent.

    middlewares:
      - trace
      - redact:
          kinds: [email, credit_card]          # known by name
          patterns: ["EMP-[0-9]{6}"]           # regular expressions
          json_paths: ["messages[*].name", metadata.user_id]
          headers: [x-employee]                # traces only
          send: true                           # the request's body is masked for the upstream, too

In traces this holds for everything: bodies, streams (a match that is spread over several events
included), headers, addresses, errors. A body that cannot be looked through (an unknown encoding,
paths in what is no JSON) is left out, and with `send` refused. Until a trace is written, the
journal beside it, which only this user can read, holds what was on the wire.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ..config.settings import Section
from ..proxy.exchange import CallNext, Exchange, Response
from ..proxy.websocket import wants_websocket
from ..tracing.paths import parse_path
from ..tracing.rules import Masker, MaskRules
from ._asked import Unclear, decoded_body, has_body
from .base import Services

_LARGE_BYTES = 256 << 10  # above it the masking is done beside the loop


def _pattern(value: str) -> str:
    try:
        found = re.compile(value).search("")
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}; mend it") from error
    if found:
        raise ValueError("fits an empty text, and so everything; let it ask for a letter at least")
    return value


def _path(value: str) -> str:
    parse_path(value)
    return value


class RedactOptions(Section):
    """What is masked, and where."""

    kinds: tuple[
        Literal["email", "credit_card", "iban", "us_ssn", "ip_address", "api_key", "private_key"],
        ...,
    ] = Field(default=(), description="what is known by name")
    patterns: tuple[Annotated[str, AfterValidator(_pattern)], ...] = Field(
        default=(), description="regular expressions; the whole match is masked"
    )
    json_paths: tuple[Annotated[str, AfterValidator(_path)], ...] = Field(
        default=(), description="messages[*].content, user.email: in requests and answers"
    )
    headers: tuple[str, ...] = Field(default=(), description="names, masked in traces")
    send: bool = Field(default=False, description="mask the request's body for the upstream, too")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.kinds or self.patterns or self.json_paths or self.headers):
            raise ValueError("masks nothing; write kinds: [email] or patterns, json_paths, headers")
        return self

    def rules(self) -> MaskRules:
        """For whoever masks."""
        return MaskRules(self.kinds, self.patterns, self.json_paths, self.headers)


class Redact:
    """The middleware. Without `send` it does its work in the constructor: it says what traces
    must not show, and the recorder sees to it."""

    Options = RedactOptions

    def __init__(self, options: RedactOptions, services: Services) -> None:
        rules = options.rules()
        services.masking.append(rules)
        self._masker = Masker(rules) if options.send else None

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        """Pass the request on, its body masked where that is asked."""
        if self._masker is None or not has_body(exchange):
            if self._masker is not None and wants_websocket(exchange):
                text = "what must not be sent is not looked for in WebSockets: use HTTP"
                return exchange.refuse(426, "websocket_unsupported", text)
            return await call_next(exchange)
        try:
            body = await decoded_body(exchange)
        except Unclear as error:
            return _unsearched(exchange, str(error))
        content_type = exchange.header(b"content-type") or b""
        masked = await _masked(self._masker, body, is_json=b"json" in content_type.lower())
        if masked is None:
            return _unsearched(exchange, "the body is no JSON")
        if masked != body:
            exchange.replace_body(masked)
        return await call_next(exchange)


async def _masked(masker: Masker, body: bytes, *, is_json: bool) -> bytes | None:
    if len(body) <= _LARGE_BYTES:
        return masker.mask_body(body, is_json=is_json)
    return await asyncio.to_thread(masker.mask_body, body, is_json=is_json)


def _unsearched(exchange: Exchange, why: str) -> Response:
    text = f"{why}, and so what must not be sent could not be looked for"
    return exchange.refuse(400, "unreadable_body", text)
