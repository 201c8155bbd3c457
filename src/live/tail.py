"""What `tail` and the live feed tell: joined from the journals of what runs and the files of what
is over."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from ..query.foreseeing import foresee
from ..query.matching import matcher
from ..query.scanning import Hit, scan
from ..query.tree import Node
from ..record.folder import Folder, TraceFile
from ..record.row import Row
from ..record.watching import NewTraces
from ..tracing.following import FolderFollower, Live

_PAUSE_S = 0.1
_LAST_S = 2.0  # what is over is looked for: who watches wants what comes
_NO_TRACE_S = 10.0  # after its end; the recorder is behind, or there was no room for it
_ELSEWHERE_S = 1.0
_REMEMBERED = 10_000
_KNOWN = frozenset(
    {
        "id",
        "received_us",
        "provider",
        "upstream",
        "method",
        "path",
        "client_address",
        "user_agent",
    }
)
_LATER = ("model", "status")


@dataclass(slots=True)
class Running:
    """A request on the screen. `row` has of it what is known."""

    live: Live
    row: Row
    told_at: float = field(default_factory=time.monotonic)

    def elapsed_s(self) -> float:
        """Since it came."""
        return max(time.monotonic() - self.live.opened.started, 0.0)


class Face(Protocol):
    """Where it is shown."""

    def started(self, running: Running) -> None:
        """A request has come."""

    def progressed(self, running: Running) -> None:
        """It runs on; told every now and then."""

    def ended(self, hit: Hit) -> None:
        """Its trace is there."""

    def lost(self, running: Running) -> None:
        """It is over and left no trace."""

    def running(self, all_running: list[Running]) -> None:
        """What runs now; told all the time."""


class Tail:
    """One `tail`."""

    def __init__(self, folder: Folder, node: Node, face: Face, every_s: float) -> None:
        self._folder = folder
        self._node = node
        self._fits = matcher(node)
        self._face = face
        self._every_s = every_s
        self._followed = FolderFollower(folder.root)
        self._running: dict[str, Running] = {}
        self._done: set[str] = set()
        self._over: OrderedDict[str, None] = OrderedDict()

    def run(self, last: int) -> None:
        """Until interrupted. Raises OSError where there is no folder."""
        new = NewTraces(self._folder)
        until = time.monotonic() + _LAST_S
        before = scan(self._folder, self._node, lambda _: time.monotonic() < until)
        for hit in list(islice(before, last))[::-1]:
            self._face.ended(hit)
        try:
            while True:
                self.step(new)
                time.sleep(_PAUSE_S)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of all files."""
        self._followed.close()

    def step(self, new: NewTraces) -> None:
        """Look once. What runs is read before the folder: no end comes before its start."""
        live = self._followed.poll()
        for identity, each in live.items():
            if identity not in self._over:
                self._go_on(identity, each)
        for file in new.poll():
            self._end(file)
        for identity in self._running.keys() - live.keys():
            self._remember(identity)  # its journal is gone; its file comes, or will
        self._give_up(new)
        self._followed.forget(self._done)
        self._done.clear()
        self._face.running(list(self._running.values()))

    def _go_on(self, identity: str, live: Live) -> None:
        running = self._running.get(identity)
        if running is None or _has_more(live, running.row):
            row = _row(live)
            if foresee(self._node, row, known_of(row)) is False:
                self._running.pop(identity, None)
                return
            if running is not None:
                running.row = row
        if running is None:
            running = self._running[identity] = Running(live, row)
            self._face.started(running)
        running.live = live
        if time.monotonic() - running.told_at >= self._every_s:
            running.told_at = time.monotonic()
            self._face.progressed(running)

    def _end(self, file: TraceFile) -> None:
        self._remember(file.id)
        data = self._folder.read(file)
        row = self._folder.row(file, data) if data is not None else None
        if row is not None and data is not None:
            hit = Hit(row, data)
            if self._fits(row, hit.texts):
                self._face.ended(hit)

    def _give_up(self, new: NewTraces) -> None:
        """What ended long ago and left no file."""
        now = time.monotonic()
        for identity, running in list(self._running.items()):
            finished = running.live.finished
            ago_s = now - finished.t_finished if finished is not None else 0.0
            if ago_s > _ELSEWHERE_S and not new.watches(running.row.received_us):
                self._find(identity, new)
            if ago_s > _NO_TRACE_S and identity in self._running:
                self._remember(identity)
                self._face.lost(running)

    def _find(self, identity: str, new: NewTraces) -> None:
        """Its file lies where nobody looks: it ran for days, or the clock was set meanwhile."""
        for file in self._folder.find(identity):
            new.known(file)
            self._end(file)

    def _remember(self, identity: str) -> None:
        self._running.pop(identity, None)
        self._over[identity] = None
        if len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)
        self._done.add(identity)


def known_of(row: Row) -> frozenset[str]:
    """The columns of a running request that will not change."""
    return _KNOWN | {name for name in _LATER if getattr(row, name) is not None}


def _has_more(live: Live, row: Row) -> bool:
    """Of _LATER: a body may come piece by piece."""
    return row.model != live.model or row.status != _status(live)


def _status(live: Live) -> int | None:
    return live.answered.status if live.answered is not None else None


def _row(live: Live) -> Row:
    opened = live.opened
    name, _, _, kind = opened.upstream
    agents = [value for name, value in opened.headers if name.lower() == b"user-agent"]
    nothing = dict.fromkeys(Row._fields)
    told: dict[str, object] = {
        "id": opened.id,
        "received_us": opened.received_ns // 1000,
        "provider": kind,
        "model": live.model,
        "status": _status(live),
        "upstream": name,
        "method": opened.method.decode("latin-1"),
        "path": opened.target.partition(b"?")[0].decode("utf-8", "replace"),
        "client_address": opened.client or None,
        "user_agent": agents[0].decode("latin-1") if agents else None,
        "tags": (),
        "tools": (),
    }
    return Row(**{**nothing, **told})  # type: ignore[arg-type]  # what is not known is not asked
