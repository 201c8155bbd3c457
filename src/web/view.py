"""All that one viewer can see. Endpoints are given this and nothing else, so none can forget whose
requests it may tell of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from ..query.scanning import Hit
from ..query.tree import Node
from ..record.row import Row
from ..store.reader import Page, Reader, SessionPage
from ..store.stats import Bucket
from .door import Door, Viewer
from .errors import not_found
from .feed import Feed
from .files import Body, TraceFiles, Which

T = TypeVar("T")
_QUERY_S = 30.0
_AT_ONCE = 8


@dataclass(slots=True)
class Site:
    """What there is to see, and who lets in."""

    reader: Reader
    files: TraceFiles
    door: Door
    feed: Feed
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
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

    async def document(self, trace_id: str) -> bytes:
        """The whole trace. Raises Refusal: 404."""
        row = await self._row(trace_id)
        data = await asyncio.to_thread(self._site.files.read, row, self._only)
        if data is None:
            raise not_found()
        return data

    async def body(self, trace_id: str, which: Which) -> Body:
        """One body of a trace. Raises Refusal: 404; NotKeptError."""
        row = await self._row(trace_id)
        body = await asyncio.to_thread(self._site.files.body, row, self._only, which)
        if body is None:
            raise not_found()
        return body

    def said(self, row: Row) -> Hit | None:
        """What was said in the trace of a row that was read by this view; None if it is gone.
        Blocks: for a thread."""
        data = self._site.files.read(row, self._only)
        return Hit(row, data) if data is not None else None

    def live(self, node: Node) -> AsyncIterator[bytes]:
        """The events of `feed.py`, for as long as somebody listens. Raises Refusal: 429."""
        return self._site.feed.subscribe(self.viewer, node)

    async def _row(self, trace_id: str) -> Row:
        row = await self._ask(lambda: self._site.reader.get(trace_id, self._only))
        if row is None:
            raise not_found()
        return row

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Some at a time, and none for ever."""
        async with asyncio.timeout(_QUERY_S), self._site.turns:
            await self._site.check()
            return await ask()


async def look(request: Request) -> View:
    """Whoever asks, let in. Raises Refusal."""
    site: Site = request.app.state.site
    return View(site, site.door.viewer(request))


Looking = Annotated[View, Depends(look)]
