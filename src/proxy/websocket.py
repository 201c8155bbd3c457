"""The client's side of a WebSocket: its handshake, and the frames that follow it.

    client ──feed_data──▶ ClientFrames ──write_frames──▶ Tunnel ──▶ upstream
    upstream ──▶ Tunnel ──feed──▶ ResponseBody ──▶ client           (transport/tunnel.py)

A handshake is a request like any other, for every middleware; its answer, a 101, has a body like
any other, which are the upstream's frames. Only what the client sends after it needs a way of its
own, which is here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from .bodies import HIGH_WATER, RequestBody, Source
from .errors import ProxyError
from .exchange import Cause, Exchange
from .frames import FrameWalker, close_frame
from .headers import KIND, Header, Kind, connection_tokens

log = logging.getLogger("llmtap.proxy")

_OFFER = b"sec-websocket-protocol"
_KEY = b"openai-insecure-api-key."  # how browsers, which can set no header, hand their key over
_PLAIN_TOKENS = frozenset({b"upgrade", b"keep-alive"})

# What a client is told where there is still something to tell it (RFC 6455 7.4.1).
_FAREWELLS = {
    Cause.SHUTDOWN: (1012, "the proxy was stopped"),
    Cause.TIMEOUT: (1001, "the time is over"),
    Cause.REJECTED: (1009, "the message is too large"),
}


def wants_websocket(exchange: Exchange) -> bool:
    """Is this an upgrade to WebSocket? Codex tries one first and falls back on 426."""
    if exchange.method != b"GET":
        return False
    upgrade = exchange.header(b"upgrade")
    return upgrade is not None and upgrade.lower() == b"websocket"


class FrameSink(Protocol):
    """Where a client's frames go: the upstream's side. `down`: what has come from there."""

    down: FrameWalker

    def write_frames(self, data: bytes) -> None: ...


class ClientFrames(RequestBody):
    """The body of a handshake, which is empty, and what follows it.

    That is held (and soon the client is paused) until the upstream has agreed and the client was
    told so. Observers see it as it came.
    """

    __slots__ = ("_frames", "_held", "_over", "_tunnel", "opened")

    def __init__(self, source: Source) -> None:
        super().__init__(source, 0, 0)
        self.complete = True
        self._frames: list[bytes] = []
        self._held = 0
        self._over = False
        self._tunnel: FrameSink | None = None
        self.opened = False  # the client was told that it is connected

    def feed_data(self, data: bytes) -> None:
        """Take what the client sends; named so that it can stand in for an HTTP parser. Hot."""
        if self._over:
            return
        if not self.opened or self._tunnel is None:
            self._frames.append(data)
            self._held += len(data)
            if self._held > HIGH_WATER:
                self._source.pause_reading()
            return
        self._tunnel.write_frames(data)
        self._show(data)

    def connect(self, tunnel: FrameSink) -> None:
        """The upstream has agreed: this is where frames go once the client knows it."""
        self._tunnel = tunnel

    def open(self) -> None:
        """The client is told: pass on what it has sent already, and all that follows."""
        self.opened = True
        frames, self._frames = self._frames, []
        for data in frames:
            self.feed_data(data)
        if not self._held_back:
            self._source.resume_reading()

    def fail(self, error: ProxyError) -> None:  # noqa: ARG002 - the form of a body
        """The client left, or is not listened to any more."""
        self._over = True
        self._frames.clear()

    def pause(self) -> None:
        """The upstream does not take more for now."""
        self._held_back = True
        self._source.pause_reading()

    def farewell(self, cause: Cause | None) -> bytes:
        """What the client is still told before it is cut: a close frame, or nothing where it would
        fall into another frame, behind another close, or hide that the upstream is gone."""
        tunnel, parting = self._tunnel, _FAREWELLS.get(cause) if cause is not None else None
        if tunnel is None or parting is None or tunnel.down.closed or not tunnel.down.between:
            return b""
        return close_frame(*parting, masked=False)

    def _show(self, data: bytes) -> None:
        for observer in self._observers or ():
            try:
                observer(data)
            except Exception:  # a middleware's: anything may come
                log.exception("an observer of frames failed and is dropped for this WebSocket")
                self._drop(observer)


def handshake_headers(
    received: Sequence[Header], kept: list[Header], *, managed: bool
) -> list[Header]:
    """The end-to-end headers `kept` of those `received`, with `Upgrade` and `Connection` again in
    their places. `managed`: the client's key is taken out, the upstream's own goes in its header.
    """
    passing = iter(kept)
    coming = next(passing, None)
    headers: list[Header] = []
    for pair in received:
        kind = KIND[pair[0]]
        if coming is not None and (pair is coming or (kind is Kind.HOST and pair[0] is coming[0])):
            headers.append(coming)
            coming = next(passing, None)
        elif pair[0].lower() == b"upgrade":
            headers.append(pair)
        elif kind is Kind.CONNECTION and b"upgrade" in (tokens := connection_tokens(pair[1])):
            headers.append(pair if tokens <= _PLAIN_TOKENS else (pair[0], b"Upgrade"))
    if managed and any(offered_key(value) for name, value in headers if name.lower() == _OFFER):
        return _without_offered_key(headers)
    return headers


def offered_key(value: bytes) -> bytes:
    """The key in a `Sec-WebSocket-Protocol`, empty where there is none."""
    for offer in value.split(b","):
        offer = offer.strip()  # noqa: PLW2901 - the same offer
        if offer.startswith(_KEY):
            return offer[len(_KEY) :]
    return b""


def offers_without_key(headers: Sequence[Header]) -> bytes:
    """All subprotocols that are offered, but what carries a key: one header's value."""
    values = [value for name, value in headers if name.lower() == _OFFER]
    offers = [offer.strip() for value in values for offer in value.split(b",")]
    return b", ".join(offer for offer in offers if offer and not offer.startswith(_KEY))


def _without_offered_key(headers: list[Header]) -> list[Header]:
    rest = offers_without_key(headers)
    left: list[Header] = []
    for name, value in headers:
        if name.lower() != _OFFER:
            left.append((name, value))
        elif rest:
            left.append((name, rest))
            rest = b""
    return left


__all__ = [
    "ClientFrames",
    "FrameSink",
    "handshake_headers",
    "offered_key",
    "offers_without_key",
    "wants_websocket",
]
