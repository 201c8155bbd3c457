"""All that one viewer can see. Endpoints are given this and nothing else, so none can forget whose
requests it may tell of."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, BinaryIO, TypeVar

from fastapi import Depends, Request

from ..query.scanning import Hit
from ..query.tree import Node
from ..record.row import Row
from ..store.reader import Page, Reader, SessionPage
from ..store.stats import Bucket
from .door import Door, Viewer
from .errors import Refusal, gone, not_found
from .feed import Feed
from .files import Body, GoneError, TraceFiles, Which, without_bodies
from .sending import EventStream
from .turns import Turns

T = TypeVar("T")
_LATE_S = 1.0  # what the database should have ended by then is left to itself


@dataclass(slots=True)
class Site:
    """What there is to see, and who lets in. `query_s`: for what is asked of the store, and as long
    again for a turn."""

    reader: Reader
    files: TraceFiles
    door: Door
    feed: Feed
    query_s: float = 20.0
    queries: Turns = field(default_factory=lambda: Turns(8, 4))
    reads: Turns = field(default_factory=lambda: Turns(4, 2))  # of traces: threads, and memory
    checked: bool = False

    async def check(self) -> None:
        """Raises StoreError or SQLAlchemyError while the store cannot be read."""
        if not self.checked:
            await self.reader.check()
            self.checked = True


class View:
    """The store, the traces and the live feed, as far as they are `viewer`'s."""

    def __init__(self, site: Site, viewer: Viewer) -> None:
        self._site = site
        self.viewer = viewer
        self._only = viewer.only_key

    @property
    def is_open(self) -> bool:
        """Whether there are no keys at all."""
        return self._site.door.is_open

    async def page(self, node: Node, *, sort: str, cursor: str | None, limit: int) -> Page:
        """See `Reader.page`."""
        reader = self._site.reader
        return await self._ask(
            lambda: reader.page(node, sort=sort, cursor=cursor, limit=limit, only_key=self._only)
        )

    async def sessions(self, *, cursor: str | None, limit: int) -> SessionPage:
        """See `Reader.sessions`."""
        reader = self._site.reader
        return await self._ask(
            lambda: reader.sessions(cursor=cursor, limit=limit, only_key=self._only)
        )

    async def stats(
        self,
        node: Node,
        *,
        since_us: int | None,
        until_us: int | None,
        bucket_us: int | None,
        by: str | None,
    ) -> list[Bucket]:
        """See `Reader.stats`."""
        reader = self._site.reader
        return await self._ask(
            lambda: reader.stats(
                node,
                since_us=since_us,
                until_us=until_us,
                bucket_us=bucket_us,
                by=by,
                only_key=self._only,
            )
        )

    async def document(self, trace_id: str) -> BinaryIO:
        """The whole trace, open. Raises Refusal: 404, 410."""
        return await self._found(trace_id, self._site.files.open)

    async def outline(self, trace_id: str) -> bytes:
        """The trace without what was said. Raises as `document`."""

        def read(row: Row, only_key: str | None) -> bytes | None:
            data = self._site.files.read(row, only_key)
            return without_bodies(data) if data is not None else None

        return await self._found(trace_id, read)

    async def body(self, trace_id: str, which: Which) -> Body:
        """One body of a trace. Raises as `document`; NotKeptError."""
        return await self._found(
            trace_id, lambda row, only_key: self._site.files.body(row, only_key, which)
        )

    async def hits(self, page: Page, show: Callable[[Row, Hit | None], T]) -> list[T]:
        """What `show` makes, in a thread, of each row and what was said in it: None where the trace
        is gone, or where there is no more time to read it."""
        until = time.monotonic() + self._site.query_s

        def read() -> list[T]:
            return [
                show(row, self._said(row) if time.monotonic() < until else None)
                for row in page.rows
            ]

        return await self._read(read)

    def _said(self, row: Row) -> Hit | None:
        with contextlib.suppress(GoneError):
            data = self._site.files.read(row, self._only)
            return Hit(row, data) if data is not None else None
        return None

    def live(self, node: Node, *, was_away: bool) -> EventStream:
        """The events of `feed.py`, for as long as somebody listens. Raises Refusal: 429."""
        feed = self._site.feed
        subscription = feed.subscribe(self.viewer, node, was_away=was_away)
        return EventStream(subscription.events(), lambda: feed.leave(subscription))

    async def _found(self, trace_id: str, read: Callable[[Row, str | None], T | None]) -> T:
        row = await self._ask(lambda: self._site.reader.get(trace_id, self._only))
        if row is None:
            raise not_found()
        try:
            found = await self._read(lambda: read(row, self._only))
        except GoneError:
            raise gone() from None
        if found is None:
            raise not_found()
        return found

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Some at a time, and none for ever. Raises Refusal: 503; TimeoutError."""
        site = self._site
        async with site.queries.turn(self.viewer, site.query_s):
            async with asyncio.timeout(site.query_s + _LATE_S):
                await site.check()
                return await ask()

    async def _read(self, read: Callable[[], T]) -> T:
        """The same for what blocks: in a thread."""
        async with self._site.reads.turn(self.viewer, self._site.query_s):
            return await asyncio.to_thread(read)


async def look(request: Request) -> View:
    """Whoever asks, let in. Raises Refusal, when its time has come."""
    site: Site = request.app.state.site
    try:
        return View(site, site.door.viewer(request))
    except Refusal as refusal:
        await asyncio.sleep(refusal.delay_s)
        raise


Looking = Annotated[View, Depends(look)]
