"""The live feed: requests as they arrive, their progress while they stream, their end.

    journals, trace folder ──▶ Tail ──▶ Feed (one thread, one look) ──▶ each Subscription
                                              whose is it? does it pass the filter? is there room?

Runs only while somebody listens. Events, each with the id of its request:

    start      it has come; also told of all that run when one begins to listen
    progress   it runs on
    end        its trace is there: the whole row
    lost       it is over and left no trace
    dismissed  what was told as started does not belong here after all (a filter, another's key)
    missed     the listener was too slow: so many events were left out
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
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
_EVENTS = 2000  # that may wait for one listener
_LISTENERS = 64
_LISTENERS_OF_ONE = 8


class Subscription:
    """One listener: what it may see, what it wants, what waits for it."""

    def __init__(self, viewer: Viewer, node: Node) -> None:
        self.viewer = viewer
        self._node = node
        self._fits = matcher(node)
        self._told: set[str] = set()
        self._found: list[bytes] = []  # of one look, in its thread
        self._waiting: deque[bytes] = deque()
        self._missed = 0
        self._closed = False
        self._news = asyncio.Event()

    # --- in the feed's thread ---

    def started(self, running: Running) -> None:
        """A request runs."""
        if self._owns(running.live.opened) and self._may_fit(running):
            self._told.add(running.row.id)
            self._say("start", live_of(running))

    def progressed(self, running: Running) -> None:
        """It runs on."""
        if running.row.id not in self._told:
            return
        if self._may_fit(running):
            self._say("progress", live_of(running))
        else:
            self._dismiss(running.row.id)

    def ended(self, hit: Hit) -> None:
        """It is over."""
        row, only = hit.row, self.viewer.only_key
        if (only is None or row.key_label == only) and self._fits(row, hit.texts):
            self._told.discard(row.id)
            self._say("end", row_of(row))
        elif row.id in self._told:
            self._dismiss(row.id)

    def lost(self, running: Running) -> None:
        """It is over and left nothing."""
        if running.row.id in self._told:
            self._told.discard(running.row.id)
            self._say("lost", live_of(running))

    def _dismiss(self, trace_id: str) -> None:
        self._told.discard(trace_id)
        self._say("dismissed", {"id": trace_id})

    def _may_fit(self, running: Running) -> bool:
        return foresee(self._node, running.row, known_of(running.row)) is not False

    def _owns(self, opened: Opened) -> bool:
        """Auth has not told the journal who asks. The key has, where it is the only credential."""
        if self.viewer.admin:
            return True
        known = self.viewer.fingerprint
        return known is not None and opened.fingerprint == known and _credentials(opened) == 1

    def _say(self, event: str, data: dict[str, object]) -> None:
        self._found.append(b"event: %b\ndata: %b\n\n" % (event.encode(), orjson.dumps(data)))

    # --- in the loop ---

    def deliver(self) -> None:
        """Put what a look has found to what waits, as far as there is room."""
        found, self._found = self._found, []
        for event in found:
            if len(self._waiting) < _EVENTS:
                self._waiting.append(event)
            else:
                self._missed += 1
        if found:
            self._news.set()

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self._news.set()

    async def events(self) -> AsyncIterator[bytes]:
        """What comes, and a sign of life where nothing does."""
        while not self._closed:
            while self._waiting:
                yield self._waiting.popleft()
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
    """Watches one trace folder for all listeners. A face of `live.tail.Tail`."""

    def __init__(self, trace_dir: Path) -> None:
        self._folder = Folder(trace_dir)
        self._listening: set[Subscription] = set()
        self._joining: list[Subscription] = []
        self._shown: tuple[Subscription, ...] = ()  # to whom this look is told
        self._running: list[Running] = []
        self._task: asyncio.Task[object] | None = None
        self._closed = False

    def subscribe(self, viewer: Viewer, node: Node) -> AsyncIterator[bytes]:
        """Raises Refusal: 429."""
        one = sum(other.viewer == viewer for other in self._listening)
        if len(self._listening) >= _LISTENERS or one >= _LISTENERS_OF_ONE:
            raise Refusal(429, "too_many_feeds", "too many live feeds are open; close one")
        return self._serve(Subscription(viewer, node))

    async def _serve(self, subscription: Subscription) -> AsyncIterator[bytes]:
        self._listening.add(subscription)
        try:
            if self._closed:
                return
            self._joining.append(subscription)
            if self._task is None:
                self._task = spawn(self._watch(), "live feed")
            yield _HEARTBEAT  # the answer begins now, not with the first event
            async for event in subscription.events():
                yield event
        finally:
            self._listening.discard(subscription)

    def close(self) -> None:
        """End all feeds."""
        self._closed = True
        for subscription in self._listening:
            subscription.close()

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
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._task = None
            self._running, self._shown = [], ()
            if followed is not None:
                followed[0].close()

    def _begin(self) -> tuple[Tail, NewTraces]:
        return Tail(self._folder, And(()), self, _PROGRESS_S), NewTraces(self._folder)

    async def _look(self, followed: tuple[Tail, NewTraces]) -> None:
        joining, self._joining = self._joining, []
        try:
            await asyncio.to_thread(self._step, *followed, joining)
        finally:
            for subscription in self._shown:
                subscription.deliver()
            self._shown = tuple(each for each in self._shown if each in self._listening)

    def _step(self, tail: Tail, new: NewTraces, joining: Iterable[Subscription]) -> None:
        for subscription in joining:
            for running in self._running:
                subscription.started(running)
        self._shown = (*self._shown, *joining)
        tail.step(new)

    # --- what Tail tells, in the thread ---

    def started(self, running: Running) -> None:
        """See `live.tail.Face`."""
        for subscription in self._shown:
            subscription.started(running)

    def progressed(self, running: Running) -> None:
        """See `live.tail.Face`."""
        for subscription in self._shown:
            subscription.progressed(running)

    def ended(self, hit: Hit) -> None:
        """See `live.tail.Face`."""
        for subscription in self._shown:
            subscription.ended(hit)

    def lost(self, running: Running) -> None:
        """See `live.tail.Face`."""
        for subscription in self._shown:
            subscription.lost(running)

    def running(self, all_running: list[Running]) -> None:
        """See `live.tail.Face`."""
        self._running = all_running


def _credentials(opened: Opened) -> int:
    """Two of them: only auth knows by which one it went."""
    headers = sum(name.lower() in CREDENTIAL_HEADERS for name, _ in opened.headers)
    return headers + opened.target.count(MASK)
