"""The upstream's side of a WebSocket: a connection that has been upgraded.

    HTTP/1.1 ──101──▶ OPEN ──▶ LEAVING (what is written goes out, then it closes) ──▶ closed

Bytes pass both ways as they come; of the frames only the heads are looked at, for their size and
for a close. It never serves anybody else; its slot in the pool is free when it is closed.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

from ..bodies import ResponseBody
from ..errors import BodyError
from ..exchange import Cause, Exchange
from ..frames import FrameWalker, close_frame
from ..websocket import ClientFrames
from .base import TransportLimits

_LEAVE_S = 2.0  # for a last frame to go out
_GOING_AWAY, _TOO_BIG = (1001, "going away"), (1009, "the message is too large")


class Upgraded(Protocol):
    """The connection that was upgraded: it keeps its deadline and its place in the pool."""

    deadline: float
    transport: asyncio.Transport

    def connection_lost(self, error: Exception | None) -> None: ...


class Tunnel(asyncio.Protocol):
    """What an upgraded connection's bytes go through, both ways. `body`: the upstream's frames."""

    def __init__(
        self,
        connection: Upgraded,
        exchange: Exchange,
        frames: ClientFrames,
        limits: TransportLimits,
    ) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._exchange = exchange
        self._frames = frames
        self._limits = limits
        self._up = FrameWalker(limits.message_bytes)
        self.down = FrameWalker(limits.message_bytes)
        self.body = ResponseBody(self)
        self._write_paused = False
        self._reading_paused = False
        self._leaving = False
        self._await_more()
        frames.connect(self)

    def data_received(self, data: bytes) -> None:
        """From the upstream. Hot: once per read."""
        self._await_more()
        passing = self.down.walk(data)
        if self.down.closed:
            self._exchange.end(Cause.OK)
        if passing:
            self.body.feed(passing)
        if self.down.over:
            self._refuse("upstream")

    def write_frames(self, data: bytes) -> None:
        """From the client. Hot: once per read."""
        if self._leaving:
            return
        self._await_more()
        passing = self._up.walk(data)
        if self._up.closed:
            self._exchange.end(Cause.OK)
        if passing:
            self._transport.write(passing)
        if self._up.over:
            self._refuse("client")

    def _await_more(self) -> None:
        self._connection.deadline = monotonic() + self._limits.idle_s

    # --- ends ----------------------------------------------------------------------------------

    def connection_lost(self, error: Exception | None) -> None:
        """The upstream is gone: an end where somebody has said so, else a cut."""
        self._leaving = True
        self._connection.connection_lost(error)
        if self.down.closed or self._up.closed:
            self.body.finish()
        elif error is None:
            why = "the upstream closed the WebSocket without a close frame"
            self.body.finish(BodyError("upstream_eof", why))
        else:
            why = f"the connection to the upstream broke: {error}"
            self.body.finish(BodyError("upstream_reset", why))

    def expire(self, now: float) -> None:
        """The deadline has passed: neither side has sent anything."""
        if self._leaving:
            self._transport.abort()
        elif self._reading_paused:
            self._connection.deadline = now + self._limits.idle_s  # the client's side judges
        else:
            why = f"neither side sent anything for {self._limits.idle_s:g} s"
            self.body.finish(BodyError("timeout", why))
            self._leave(_GOING_AWAY)

    def abort(self) -> None:
        """Nobody is there for the upstream any more. That a client has vanished is passed on as
        what it is, a connection that ends; only where it was us who ended it, it is said."""
        gone = self._exchange.cause is Cause.CLIENT_DISCONNECTED
        self._leave(None if gone else _GOING_AWAY)

    def _refuse(self, sender: str) -> None:
        size = self._limits.message_bytes
        why = f"the {sender} sent a WebSocket message of more than {size} bytes"
        self._exchange.end(Cause.REJECTED, why)
        self.body.finish(BodyError("rejected", why))
        self._leave(_TOO_BIG)

    def _leave(self, parting: tuple[int, str] | None) -> None:
        """Close, with a last frame if there is room for one; what was written before goes out."""
        if self._leaving:
            return
        self._leaving = True
        if self._write_paused:
            self._transport.abort()
            return
        if parting is not None and self._up.between and not self._up.closed:
            self._transport.write(close_frame(*parting, masked=True))
        self._connection.deadline = monotonic() + _LEAVE_S
        self._transport.close()

    # --- flow control --------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self._write_paused = True
        self._frames.pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._frames.resume()

    def pause_reading(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._await_more()
            self._transport.resume_reading()


__all__ = ["Tunnel"]
