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
import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from ..live.tail import Running, Tail
from ..query.scanning import Hit
from ..query.tree import And, Node
from ..record.folder import Folder
from ..record.watching import NewTraces
from ..utils.tasks import spawn
from .door import Viewer
from .errors import Refusal
from .models import live_of, row_of
from .subscription import Subscription, Told

log = logging.getLogger("llmtap.web")

_PAUSE_S = 0.1
_PROGRESS_S = 1.0
_ADMINS = 64  # listeners; there is always room for these
_CLIENTS = 96
_OF_ONE_CLIENT = 16


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
