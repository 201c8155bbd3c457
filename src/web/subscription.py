"""One listener of the live feed: is it his, does it pass his filter, is there room for it?

The feed's thread hands in what a look has found; the loop takes from it what the listener is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cached_property

import orjson

from ..live.tail import Running, known_of
from ..query.foreseeing import foresee
from ..query.matching import matcher
from ..query.scanning import Hit
from ..query.tree import Node
from ..tracing.records import Opened
from ..utils.redaction import CREDENTIAL_HEADERS, MASK
from .door import Viewer

_HEARTBEAT_S = 15.0
_HEARTBEAT = b": still here\n\n"
_BEGIN = b"retry: 3000\n\n"  # whatever ends from now on is told
_JOINING_S = 5.0
_AWAY = b'event: missed\ndata: {"count":null}\n\n'
_EVENTS = 4000  # that may wait for one listener,
_BYTES = 4 << 20  # and their size


class Told:
    """An event, written once for all who are told of it."""

    def __init__(self, name: str, data: Callable[[], Mapping[str, object]]) -> None:
        self._name = name
        self._data = data

    @cached_property
    def written(self) -> bytes:
        """As it is sent. The id of an end is what a browser that comes back sends as the last."""
        data = self._data()
        known = f"id: {data['id']}\n" if self._name == "end" else ""
        return f"event: {self._name}\n{known}data: ".encode() + orjson.dumps(data) + b"\n\n"


class Subscription:
    """One listener: what it may see, what it wants, what waits for it."""

    def __init__(self, viewer: Viewer, node: Node, *, was_away: bool = False) -> None:
        self.viewer = viewer
        self._node = node
        self._fits = matcher(node)
        self._was_away = was_away
        self._told: set[str] = set()
        self._found: list[bytes] = []  # of one look, in its thread
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._missed = 0
        self._closed = False
        self._news = asyncio.Event()
        self._joined = asyncio.Event()

    # --- in the feed's thread ---

    def started(self, running: Running, told: Told) -> None:
        """A request runs."""
        if self._owns(running.live.opened) and self._may_fit(running):
            self._told.add(running.row.id)
            self._found.append(told.written)

    def progressed(self, running: Running, told: Told) -> None:
        """It runs on."""
        if running.row.id not in self._told:
            return
        if self._may_fit(running):
            self._found.append(told.written)
        else:
            self._dismiss(running.row.id)

    def ended(self, hit: Hit, told: Told) -> None:
        """It is over."""
        row, only = hit.row, self.viewer.only_key
        if (only is None or row.key_label == only) and self._fits(row, hit.texts):
            self._told.discard(row.id)
            self._found.append(told.written)
        elif row.id in self._told:
            self._dismiss(row.id)

    def lost(self, running: Running, told: Told) -> None:
        """It is over and left nothing."""
        if running.row.id in self._told:
            self._told.discard(running.row.id)
            self._found.append(told.written)

    def _dismiss(self, trace_id: str) -> None:
        self._told.discard(trace_id)
        self._found.append(Told("dismissed", lambda: {"id": trace_id}).written)

    def _may_fit(self, running: Running) -> bool:
        return foresee(self._node, running.row, known_of(running.row)) is not False

    def _owns(self, opened: Opened) -> bool:
        """Auth has not told the journal who asks. The key has, where it is the only credential."""
        if self.viewer.admin:
            return True
        known = self.viewer.fingerprint
        return known is not None and opened.fingerprint == known and _credentials(opened) == 1

    # --- in the loop ---

    def deliver(self) -> None:
        """Put what a look has found to what waits, as far as there is room. What is left out is one
        gap, which is told where it is."""
        found, self._found = self._found, []
        if self._closed:
            return
        for event in found:
            full = len(self._waiting) >= _EVENTS or self._bytes + len(event) > _BYTES
            if self._missed or (full and self._waiting):
                self._missed += 1
            else:
                self._waiting.append(event)
                self._bytes += len(event)
        if found:
            self._news.set()

    def join(self) -> None:
        """It is told of all that comes from now on."""
        self._joined.set()

    def close(self) -> None:
        """Nothing more is told, whatever waits."""
        self._closed = True
        self._joined.set()
        self._waiting.clear()
        self._missed = self._bytes = 0
        self._news.set()

    async def events(self) -> AsyncIterator[bytes]:
        """What comes, and a sign of life where nothing does."""
        with contextlib.suppress(TimeoutError):  # a folder that is not there yet
            async with asyncio.timeout(_JOINING_S):
                await self._joined.wait()
        yield _BEGIN
        if self._was_away:
            yield _AWAY
        while not self._closed:
            while self._waiting:
                event = self._waiting.popleft()
                self._bytes -= len(event)
                yield event
            if self._missed:
                missed, self._missed = self._missed, 0
                yield b'event: missed\ndata: {"count":%d}\n\n' % missed
            self._news.clear()
            if self._waiting or self._closed:
                continue
            try:
                async with asyncio.timeout(_HEARTBEAT_S):
                    await self._news.wait()
            except TimeoutError:
                yield _HEARTBEAT


def _credentials(opened: Opened) -> int:
    """Two of them: only auth knows by which one it went."""
    headers = sum(name.lower() in CREDENTIAL_HEADERS for name, _ in opened.headers)
    return headers + opened.target.count(MASK)
