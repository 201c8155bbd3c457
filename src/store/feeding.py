"""The feeder's work: brings the schema up to date, then feeds, through every failure."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from ..utils.logging import set_up_logging
from . import schema
from .engine import StoreError, open_engine, store_url
from .feed import Feed

log = logging.getLogger("llmtap.store")

AWAY = (SQLAlchemyError, OSError, UnicodeError)
"""A database that cannot be had just now; a host whose name is none is a UnicodeError."""
REFUSED = 4
_TICK_S = 0.25
_BROKEN = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_RETRY_S = (0.25, 0.5, 1.0, 2.0)


class Wanted(Protocol):
    """The settings of `feeder.Settings`."""

    @property
    def trace_dir(self) -> str: ...
    @property
    def database_url(self) -> str | None: ...
    @property
    def last_s(self) -> float: ...


async def run(settings: Wanted, say: Callable[[str], None]) -> int:
    """Feed until the input ends; the exit code."""
    set_up_logging("info")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _ended, ended)
    trace_dir = Path(settings.trace_dir)
    try:
        engine = open_engine(store_url(settings.database_url, trace_dir), writes=True)
    except StoreError as error:
        say(str(error))
        return REFUSED
    feeding = Feeding(Feed(engine, trace_dir), ended, say)
    try:
        await feeding.open(engine)
        await feeding.until_ended(engine)
        await feeding.finish(settings.last_s)
    except StoreError as error:
        say(str(error))
        return REFUSED
    finally:
        await engine.dispose()
    return 0


def _ended(ended: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    ended.set()


class Feeding:
    """Feeds, and tries again later whatever the database says."""

    def __init__(self, feed: Feed, ended: asyncio.Event, say: Callable[[str], None]) -> None:
        self._feed = feed
        self._ended = ended
        self._say = say
        self._failures = 0

    async def open(self, engine: AsyncEngine) -> None:
        """Bring the schema up to date as soon as the database can be reached. Raises StoreError."""
        while not self._ended.is_set():
            try:
                await schema.upgrade(engine)
            except AWAY as error:
                if not self._failures:
                    self._say("away")
                await self._failed(error)
                continue
            self._recovered()
            self._say("ready")
            return

    async def until_ended(self, engine: AsyncEngine) -> None:
        """Batch after batch; between them, a look every quarter of a second."""
        while not self._ended.is_set():
            try:
                if self._failures:  # the database may be another one by now, an empty one
                    await schema.upgrade(engine)
                await self._feed.step()
            except AWAY as error:
                await self._failed(error)
                continue
            self._recovered()
            if not self._feed.behind:  # more together cost less
                await self._pause(_TICK_S)

    async def finish(self, last_s: float) -> None:
        """What is left, if it can be done in that time; the rest waits for the next start, and so
        does all of it where the database is away already."""
        if self._failures:
            return
        deadline = asyncio.get_running_loop().time() + last_s
        while asyncio.get_running_loop().time() < deadline:
            try:
                if not await self._feed.step():
                    return
            except AWAY:
                self._feed.forget()
                await asyncio.sleep(_RETRY_S[0])

    async def _failed(self, error: Exception) -> None:
        self._feed.forget()
        if not self._failures:
            log.warning("the store cannot be written, its rows wait: %s", summary(error))
        pause = _RETRY_S[min(self._failures, len(_RETRY_S) - 1)]
        self._failures += 1
        await self._pause(pause)

    def _recovered(self) -> None:
        if self._failures:
            log.info("the store can be written again, after %d tries", self._failures)
        self._failures = 0

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return


def summary(error: Exception) -> str:
    """The first line of what a driver says, without the statement and its values."""
    said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    broken = getattr(getattr(error, "orig", None), "sqlite_errorname", None) in _BROKEN
    cure = "; move the file away, and run llmtap index" if broken else ""
    return f"{said.splitlines()[0][:200]}{cure}"
