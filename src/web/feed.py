"""The live feed: requests as they arrive, their progress while they stream, their end.

    journals, trace folder ──▶ Tail ──▶ Feed (one thread, one look) ──▶ each Subscription
                                              whose is it? does it pass the filter? is there room?

Runs only while somebody listens. Events, each with the id of its request:

    start      it has come; also told of all that run when one begins to listen
    progress   it runs on
    end        its trace is there: the whole row
    lost       it is over and left no trace
    dismissed  what was told as started does not belong here after all (a filter, another's key)
    missed     so many events were left out: the listener was too slow; null: it was away, as its
               Last-Event-ID says, and nobody has counted. /api/requests has what is missing
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path

import orjson

from ..live.tail import Running, Tail, known_of
from ..query.foreseeing import foresee
from ..query.matching import matcher
from ..query.scanning import Hit
from ..query.tree import And, Node
from ..record.folder import Folder
from ..record.watching import NewTraces
from ..tracing.records import Opened
from ..utils.redaction import CREDENTIAL_HEADERS, MASK
from ..utils.tasks import spawn
from .door import Viewer
from .errors import Refusal
from .models import live_of, row_of

log = logging.getLogger("llmtap.web")

_PAUSE_S = 0.1
_PROGRESS_S = 1.0
_HEARTBEAT_S = 15.0
_HEARTBEAT = b": still here\n\n"
_BEGIN = b"retry: 3000\n\n"  # whatever ends from now on is told
_JOINING_S = 5.0
_AWAY = b'event: missed\ndata: {"count":null}\n\n'
_EVENTS = 4000  # that may wait for one listener,
_BYTES = 4 << 20  # and their size
_ADMINS = 64  # listeners; there is always room for these
_CLIENTS = 96
_OF_ONE_CLIENT = 16


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


class Feed:
    """Watches one trace folder for all listeners. A face of `live.tail.Tail`. `knows`: whether who
    was let in may still be told anything."""

    def __init__(self, trace_dir: Path, knows: Callable[[Viewer], bool]) -> None:
        self._folder = Folder(trace_dir)
        self._knows = knows
        self._listening: set[Subscription] = set()
        self._joining: list[Subscription] = []
        self._shown: tuple[Subscription, ...] = ()  # to whom this look is told
        self._running: list[Running] = []
        self._task: asyncio.Task[object] | None = None
        self._closed = False

    def subscribe(self, viewer: Viewer, node: Node, *, was_away: bool = False) -> Subscription:
        """One more listener, until it leaves. Raises Refusal: 429, 503."""
        if self._closed:
            raise Refusal(503, "ending", "llmtap is ending")
        if not self._has_room(viewer):
            raise Refusal(429, "too_many_feeds", "too many live feeds are open; close one")
        subscription = Subscription(viewer, node, was_away=was_away)
        self._listening.add(subscription)
        self._joining.append(subscription)
        if self._task is None:
            self._task = spawn(self._watch(), "live feed")
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """It listens no more."""
        self._listening.discard(subscription)

    def close(self) -> None:
        """End all feeds."""
        self._closed = True
        self._end(self._listening)

    def _has_room(self, viewer: Viewer) -> bool:
        admins = sum(other.viewer.admin for other in self._listening)
        if viewer.admin:
            return admins < _ADMINS
        own = sum(other.viewer == viewer for other in self._listening)
        return own < _OF_ONE_CLIENT and len(self._listening) - admins < _CLIENTS

    def _end(self, listeners: Iterable[Subscription]) -> None:
        for subscription in listeners:
            subscription.close()

    def _end_unknown(self) -> None:
        """Those whose key has been taken away meanwhile."""
        self._end(each for each in self._listening if not self._knows(each.viewer))

    async def _watch(self) -> None:
        followed: tuple[Tail, NewTraces] | None = None
        try:
            while self._listening and not self._closed:
                try:
                    if followed is None:
                        followed = await asyncio.to_thread(self._begin)
                    await self._look(followed)
                except OSError as error:  # the folder is not there yet, or for a moment
                    log.debug("the live feed sees nothing: %s", error)
                except Exception:  # a task's root: who listens comes again, to a new one
                    log.exception("the live feed begins anew")
                    _closed(followed)
                    followed = None
                    self._end(self._listening)
                self._end_unknown()
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._task = None
            self._running, self._shown = [], ()
            _closed(followed)

    def _begin(self) -> tuple[Tail, NewTraces]:
        return Tail(self._folder, And(()), self, _PROGRESS_S), NewTraces(self._folder)

    async def _look(self, followed: tuple[Tail, NewTraces]) -> None:
        joining, self._joining = self._joining, []
        try:
            await asyncio.to_thread(self._step, *followed, joining)
        finally:
            self._end_unknown()
            for subscription in self._shown:
                subscription.deliver()
            for subscription in joining:
                subscription.join()
            self._shown = tuple(each for each in self._shown if each in self._listening)

    def _step(self, tail: Tail, new: NewTraces, joining: Iterable[Subscription]) -> None:
        for subscription in joining:
            for running in self._running:
                subscription.started(running, _told("start", running))
        self._shown = (*self._shown, *joining)
        tail.step(new)

    # --- what Tail tells, in the thread ---

    def started(self, running: Running) -> None:
        """See `live.tail.Face`."""
        told = _told("start", running)
        for subscription in self._shown:
            subscription.started(running, told)

    def progressed(self, running: Running) -> None:
        """See `live.tail.Face`."""
        told = _told("progress", running)
        for subscription in self._shown:
            subscription.progressed(running, told)

    def ended(self, hit: Hit) -> None:
        """See `live.tail.Face`."""
        told = Told("end", partial(row_of, hit.row))
        for subscription in self._shown:
            subscription.ended(hit, told)

    def lost(self, running: Running) -> None:
        """See `live.tail.Face`."""
        told = _told("lost", running)
        for subscription in self._shown:
            subscription.lost(running, told)

    def running(self, all_running: list[Running]) -> None:
        """See `live.tail.Face`."""
        self._running = all_running


def _told(name: str, running: Running) -> Told:
    return Told(name, partial(live_of, running))


def _closed(followed: tuple[Tail, NewTraces] | None) -> None:
    if followed is not None:
        followed[0].close()


def _credentials(opened: Opened) -> int:
    """Two of them: only auth knows by which one it went."""
    headers = sum(name.lower() in CREDENTIAL_HEADERS for name, _ in opened.headers)
    return headers + opened.target.count(MASK)
