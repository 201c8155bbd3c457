"""What an answer cost, read while it passes, for whoever asks.

    chunk ─▶ decoder ─▶ events with figures in them ─▶ assembler ─▶ usage
                    └─▶ a whole JSON body ──────────▶ provider ──┘

Nothing is kept of a stream but its figures: of its events only those that hold some are parsed
(a look for a word instead of parsing each), and what they add up to is begun anew
before it grows. An unstreamed body is gathered, up to a bound.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from typing import Protocol

from .exchange import Exchange, Response
from .providers.reading import loads
from .providers.values import StreamEvent, Usage

_BODY_BYTES = 8 << 20  # of an unstreamed answer; larger ones are embeddings and files
_ASSEMBLED_BYTES = 64 << 10
_FIGURES = (b"sage", b"eval_count")  # usage, usageMetadata, token_usage; Ollama's


class Decoding(Protocol):
    """Undoes a content encoding, piece by piece. Raises ValueError where it cannot."""

    def feed(self, data: bytes) -> bytes: ...


class UsageWatch:
    """The usage of one answer. `events` counts what a stream has brought: about one each token.

    `decoder` makes what undoes a `Content-Encoding`; without one, encoded answers tell nothing.
    """

    __slots__ = (
        "_assembler",
        "_body",
        "_decoding",
        "_fed_bytes",
        "_known",
        "_new_assembler",
        "_operation",
        "_parser",
        "_provider",
        "events",
        "streamed",
    )

    def __init__(
        self, exchange: Exchange, response: Response, decoder: Callable[[str], Decoding] | None
    ) -> None:
        provider = self._provider = exchange.provider
        method, path = exchange.method.decode("latin-1"), exchange.forward_path.decode("latin-1")
        operation = self._operation = provider.operation(method, path)
        content_type = _header(response, b"content-type")
        encoding = _header(response, b"content-encoding")
        self._parser = provider.parser(operation, content_type)
        self._new_assembler = partial(provider.assembler, operation, content_type)
        self._assembler = self._new_assembler() if self._parser is not None else None
        self._fed_bytes = 0
        self._known = Usage()
        self._body: list[bytes] | None = [] if self._parser is None else None
        self._decoding: Decoding | None = None
        if encoding:
            self._undo(encoding, decoder)
        self.events = 0
        self.streamed = self._parser is not None

    def _undo(self, encoding: str, decoder: Callable[[str], Decoding] | None) -> None:
        with suppress(ValueError):
            self._decoding = decoder(encoding) if decoder is not None else None
        if self._decoding is None:
            self._stop()

    def feed(self, chunk: bytes) -> None:
        """Take in a piece of the body as it goes to the client. Hot: once per chunk."""
        if self._decoding is not None:
            try:
                chunk = self._decoding.feed(chunk)
            except ValueError:
                self._stop()
                return
        if self._parser is not None:
            for event in self._parser.feed(chunk):
                self._see(event)
        elif self._body is not None:
            self._fed_bytes += len(chunk)
            self._body.append(chunk)
            if self._fed_bytes > _BODY_BYTES:
                self._stop()

    def _see(self, event: StreamEvent) -> None:
        data = event.data or event.raw
        self.events += bool(event.data)
        if self._assembler is None or not (_FIGURES[0] in data or _FIGURES[1] in data):
            return
        self._assembler.feed(event)
        self._fed_bytes += len(data)
        if self._fed_bytes > _ASSEMBLED_BYTES:
            self._known = _merged(self._known, self._assembler.usage)
            self._assembler = self._new_assembler()
            self._fed_bytes = 0

    def usage(self) -> Usage | None:
        """The provider's own figures so far, None where it told none."""
        if self._parser is not None:
            for event in self._parser.close():
                if event.complete:
                    self._see(event)
        found = self._known
        if self._assembler is not None:
            found = _merged(found, self._assembler.usage)
        elif self._body:
            body = loads(b"".join(self._body))
            found = _merged(found, self._provider.usage(self._operation, body))
        return found if found.input_tokens is not None or found.output_tokens is not None else None

    def _stop(self) -> None:
        self._parser = self._body = self._decoding = None


def watch_usage(
    exchange: Exchange, response: Response, decoder: Callable[[str], Decoding] | None = None
) -> UsageWatch:
    """Read the usage of `response` while it passes; ask for it when the exchange is finished."""
    watch = UsageWatch(exchange, response, decoder)
    exchange.on_chunk(watch.feed)
    return watch


def _merged(old: Usage, new: Usage | None) -> Usage:
    """Later figures replace earlier ones, field by field."""
    if new is None:
        return old
    told = {f.name: value for f in fields(new) if (value := getattr(new, f.name)) is not None}
    return replace(old, **told)


def _header(response: Response, name: bytes) -> str:
    return next((v.decode("latin-1") for k, v in response.headers if k.lower() == name), "")
