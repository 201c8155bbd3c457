"""Labels for traces, fixed ones and ones the client gives in headers.

    middlewares:
      - trace
      - tag: {tags: [prod], headers: {x-team: team, x-run: run}, strip: true}

`X-Team: blue` gives the tag `team:blue`; an empty name (`x-label: ""`) gives the value alone.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ..config.settings import Section
from ..proxy.exchange import CallNext, Exchange, Response
from ..utils.redaction import is_secret_header
from .base import Services

TAG_CHARACTERS = 200


class TagOptions(Section):
    """Which tags."""

    tags: tuple[str, ...] = Field(default=(), description="put on each request")
    headers: dict[str, str] = Field(
        default={}, description="header to tag name: the value becomes name:value"
    )
    strip: bool = Field(default=False, description="do not send these headers upstream")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not self.tags and not self.headers:
            raise ValueError("needs tags or headers; write headers: {x-team: team}")
        for name in self.headers:
            if is_secret_header(name.lower().encode()):
                raise ValueError(f"{name} holds a secret, which no trace may show; take it out")
        return self


class Tag:
    """The middleware."""

    Options = TagOptions

    def __init__(self, options: TagOptions, services: Services) -> None:
        del services
        self._fixed = options.tags
        self._names = {name.lower().encode(): tag for name, tag in options.headers.items()}
        self._strip = options.strip

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        """Tag the exchange and pass it on."""
        tags = exchange.tags
        tags += self._fixed
        for name, value in exchange.headers:
            lower = name.lower()
            if lower in self._names:
                tags.append(_tag(self._names[lower], value))
                if self._strip:
                    exchange.remove_header(name)
        return await call_next(exchange)


def _tag(name: str, value: bytes) -> str:
    """One line of plain text: the client's bytes may be anything."""
    text = value[: TAG_CHARACTERS * 4].decode("utf-8", "replace").strip()
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return (f"{name}:{shown}" if name else shown)[:TAG_CHARACTERS]
