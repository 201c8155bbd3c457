"""Lets in who presents a known key, and keeps that key from going any further.

    middlewares:
      - trace
      - auth:
          keys_file: keys.yaml        # and, or instead: keys: [{label: ci, key: "${CI_KEY}"}]

A key is accepted where any provider's client would put it; `X-Client-API-Key` is asked first, so
that a client may send its own provider key in `Authorization` and ours beside it. Browsers, which
can set no header for a WebSocket, offer theirs as a subprotocol. Fails closed.
"""

from __future__ import annotations

import asyncio
import os
from typing import ClassVar, Self
from urllib.parse import unquote_to_bytes

from pydantic import Field, FilePath, PrivateAttr, model_validator

from ..config.settings import Section, Settings
from ..config.values import Seconds
from ..keys.entry import KeyEntry
from ..keys.file import KeysFileError, read_keys
from ..keys.keyring import ClientKey, Keyring, clashes
from ..keys.watching import KeysFileWatch, Stamp, stamp
from ..proxy.exchange import CallNext, Exchange, Header, Response
from ..proxy.providers.base import CREDENTIAL_QUERY
from ..proxy.websocket import offered_key, offers_without_key, wants_websocket
from ..utils.spellings import Spellings
from ..utils.suggesting import did_you_mean
from ..utils.tasks import spawn
from ._asked import Unclear, asked_models, has_body
from .base import Services

_OURS, _AUTHORIZATION, _SUBPROTOCOL, _QUERY = 1, 2, 6, 7
_PLACES = {
    b"x-client-api-key": _OURS,
    b"authorization": _AUTHORIZATION,
    b"x-api-key": 3,
    b"x-goog-api-key": 4,
    b"api-key": 5,
    b"sec-websocket-protocol": _SUBPROTOCOL,
}
_CHALLENGE = b'Bearer realm="llmtap"'
_NO_KEY = "no API key was given; send yours as Authorization: Bearer, or as x-client-api-key"
_BAD_KEY = "the API key is not known here"
_EXPIRED = "the API key has expired"
_UNSEEN_MODELS = "this API key is limited to some models, which a WebSocket may change; use HTTP"


class AuthOptions(Section):
    """Who is let in."""

    keys: tuple[KeyEntry, ...] = Field(default=(), description="keys written here")
    keys_file: FilePath | None = Field(
        default=None, description="YAML with keys: and such a list; read again when it changes"
    )
    reload_s: Seconds = Field(default=0.5, description="how often the file is looked at")

    _from_file: list[ClientKey] = PrivateAttr(default_factory=list)
    _stamp: Stamp = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _load(self) -> Self:
        """The file is read here, so that `llmtap check` finds what is wrong with it."""
        if not self.keys and self.keys_file is None:
            raise ValueError("needs keys or keys_file; make a key with: llmtap keys new")
        if self.keys_file is not None:
            self._stamp = stamp(self.keys_file)
            try:
                self._from_file = read_keys(self.keys_file, os.environ)
            except KeysFileError as error:
                raise ValueError(str(error)) from error
        for _, problem in clashes([*self._from_file, *self.written()]):
            raise ValueError(problem)
        return self

    def written(self) -> list[ClientKey]:
        """The keys that stand in the options themselves."""
        return [entry.client_key() for entry in self.keys]

    def read(self) -> list[ClientKey]:
        """The keys of the file as it was when the options were read."""
        return list(self._from_file)

    def known(self) -> list[ClientKey]:
        """All keys, those of the file as it was when the options were read."""
        return [*self._from_file, *self.written()]

    def watch(self, middleware: Auth) -> KeysFileWatch | None:
        """What reads the file again; None without one."""
        if self.keys_file is None:
            return None
        return KeysFileWatch(self.keys_file, middleware.replace_keys, self._stamp, self.reload_s)


class Auth:
    """The middleware. Sets `exchange.key_label` and `exchange.key_tier`."""

    Options = AuthOptions
    authenticates: ClassVar[bool] = True  # binding beyond loopback asks for such a middleware

    def __init__(self, options: AuthOptions, services: Services) -> None:
        del services
        self._options = options
        self._written = options.written()
        self._ring = Keyring(options.known())
        self._places = Spellings(lambda name: _PLACES.get(name, 0))
        self._watch: asyncio.Task[object] | None = None

    @classmethod
    def check(cls, options: AuthOptions, settings: Settings) -> list[str]:
        """Upstreams that keys may use and nobody has configured."""
        names = {upstream.name for upstream in settings.upstreams}
        return [
            f"key {key.label} names an unknown upstream {name}; {did_you_mean(name, names)}"
            for key in options.known()
            for name in sorted((key.upstreams or frozenset()) - names)
        ]

    async def start(self) -> None:
        """Begin to watch the keys file."""
        watch = self._options.watch(self)
        if watch is not None:
            self._watch = spawn(watch.run(), "auth: keys file")

    async def stop(self) -> None:
        """Watch no more."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    def replace_keys(self, from_file: list[ClientKey]) -> None:
        """What the keys file holds now, beside the keys of the options."""
        self._ring = Keyring([*from_file, *self._written])

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        """Let the request pass, or say no as its provider would. Hot: once per request."""
        key = self._identify(exchange)
        if key is None:
            return self._unknown(exchange)
        exchange.key_label = key.label
        exchange.key_tier = key.tier
        if key.expires_ns is not None and key.expires_ns <= exchange.received_ns:
            return _unauthorized(exchange, _EXPIRED, invalid=True)
        upstream = exchange.upstream
        if key.upstreams is not None and upstream and upstream.name not in key.upstreams:
            text = f"this API key may not use {upstream.name}"
            return exchange.refuse(403, "upstream_not_allowed", text)
        if key.models is not None and (refusal := await _model_refused(exchange, key)):
            return refusal
        return await call_next(exchange)

    def _identify(self, exchange: Exchange) -> ClientKey | None:
        """The key of the first place that holds a known one.

        Known keys are taken out wherever they stand; with a key of the upstream's own its provider
        does that, for all of the places.
        """
        found: ClientKey | None = None
        first = _QUERY
        upstream = exchange.upstream
        keeps = upstream is not None and upstream.api_key is not None
        places, find = self._places, self._ring.find
        for name, value in [pair for pair in exchange.headers if places[pair[0]]]:
            place = places[name]
            if place == _AUTHORIZATION:
                key = find(_bearer(value))
            elif place != _SUBPROTOCOL:
                key = find(value)
            else:
                found = found or self._in_offers(exchange, value)
                continue
            if key is not None and place < first:
                found, first = key, place
            if not keeps and (key is not None or place == _OURS):
                exchange.remove_header(name)
        if exchange.query:
            in_query = self._in_query(exchange, keeps)
            return found or in_query
        return found

    def _in_offers(self, exchange: Exchange, value: bytes) -> ClientKey | None:
        """The key among the subprotocols. Only the others are offered to the upstream."""
        key = self._ring.find(offered_key(value))
        if key is None:
            return None
        rest = offers_without_key(exchange.headers)
        if rest:
            exchange.set_header(b"Sec-WebSocket-Protocol", rest)
        else:
            exchange.remove_header(b"Sec-WebSocket-Protocol")
        return key

    def _in_query(self, exchange: Exchange, keeps: bool) -> ClientKey | None:
        found: ClientKey | None = None
        left: list[bytes] = []
        parts = exchange.query.split(b"&")
        for part in parts:
            key = self._ring.find(value) if (value := _parameter(part)) else None
            found = found or key
            if key is None:
                left.append(part)
        if len(left) < len(parts) and not keeps:
            exchange.replace_query(b"&".join(left))
        return found

    def _unknown(self, exchange: Exchange) -> Response:
        given = any(_gives(self._places[n], v) for n, v in exchange.headers) or any(
            _parameter(part) for part in exchange.query.split(b"&")
        )
        return _unauthorized(exchange, _BAD_KEY if given else _NO_KEY, invalid=given)


def _bearer(value: bytes) -> bytes:
    """The credential of an Authorization header, empty for other schemes."""
    if value.startswith(b"Bearer "):  # as nearly everyone writes it
        return value[7:].strip()
    return value[7:].strip() if value[:7].lower() == b"bearer " else b""


def _gives(place: int, value: bytes) -> bool:
    return bool(offered_key(value)) if place == _SUBPROTOCOL else bool(place)


def _parameter(part: bytes) -> bytes:
    """The value of a query parameter that carries keys, else empty."""
    name, _, value = part.partition(b"=")
    return unquote_to_bytes(value) if unquote_to_bytes(name) in CREDENTIAL_QUERY else b""


def _unauthorized(exchange: Exchange, message: str, *, invalid: bool) -> Response:
    """401 with its challenge (RFC 9110 11.6.1, RFC 6750 3)."""
    challenge = _CHALLENGE + (b', error="invalid_token"' if invalid else b"")
    header: Header = (b"www-authenticate", challenge)
    return exchange.refuse(401, "invalid_api_key", message, (header,))


async def _model_refused(exchange: Exchange, key: ClientKey) -> Response | None:
    """The refusal of a model this key may not use. What has a body must name one."""
    try:
        names = await asked_models(exchange)
    except Unclear as error:
        text = f"this API key is limited to some models, and {error}"
        return exchange.refuse(400, "unclear_model", text)
    for name in sorted(names):
        if not key.allows_model(name):
            text = f"this API key may not use the model {name[:100]}"
            return exchange.refuse(403, "model_not_allowed", text)
    if not names and wants_websocket(exchange):
        return exchange.refuse(426, "websocket_unsupported", _UNSEEN_MODELS)
    if not names and has_body(exchange):
        text = "this API key is limited to some models, and the request names none"
        return exchange.refuse(403, "model_not_allowed", text)
    return None
