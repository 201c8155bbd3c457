"""The wire to the Redis: one connection, one call at a time, never longer than it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from time import monotonic
from typing import cast
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from ..utils.tasks import spawn
from .claims import StoreUnavailable
from .script import SOURCE, Call

# Waiting is counted in slices: where this process's own loop is late, with its timers and with the
# bytes that lie in its sockets, that is not the Redis's doing and no reason to go without it.
_SLICE_S = 0.005

Answers = Sequence[Sequence[int]]


class Link:
    """Calls the script. `address` is for log lines: the URL without its credentials; `waited_s`
    how long its calls were waited for, all together."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._password = urlsplit(url).password
        self._source = ""
        self._sha = ""
        self._redis: Redis | None = None
        self.address = address_of(url)
        self.waited_s = 0.0

    def open(self) -> None:
        """Read the script and make the client; it connects with the first call."""
        self._source = SOURCE.read_text("utf-8")
        # Redis names scripts by their SHA-1: an address, nothing is secured by it.
        self._sha = sha1(self._source.encode(), usedforsecurity=False).hexdigest()
        self._redis = Redis.from_url(
            self._url,
            retry=Retry(NoBackoff(), 0),  # whoever waits 100 ms has no time for a second try
            socket_connect_timeout=None,  # the caller's limit holds for everything
            socket_keepalive=True,
        )

    async def call(self, call: Call, timeout_s: float) -> Answers:
        """The script's answers to the operations of `call`.

        Raises StoreUnavailable with the reason, after `timeout_s` at the latest; whether the
        operations were done is then not known, and the connection is closed.
        """
        task = spawn(self._outcome(call), "redis call")
        over = self.waited_s + timeout_s
        while not task.done() and self.waited_s < over:
            before = monotonic()
            slice_s = min(_SLICE_S, over - self.waited_s)
            await asyncio.wait((task,), timeout=slice_s)
            self.waited_s += min(monotonic() - before, slice_s)
        if not task.done():
            task.cancel()
            raise StoreUnavailable(f"no answer within {timeout_s * 1000:.0f} ms")
        outcome = task.result()
        if isinstance(outcome, StoreUnavailable):
            raise outcome
        return cast(Answers, outcome)

    async def _outcome(self, call: Call) -> Answers | StoreUnavailable:
        try:
            return await self._evaluate(call)
        except (RedisError, OSError) as error:
            text = f"{type(error).__name__}: {error}"
            return StoreUnavailable(text.replace(self._password or "\0", "…"))

    async def _evaluate(self, call: Call) -> Answers:
        if self._redis is None:
            raise OSError("the store is closed")
        arguments: tuple[str | int | bytes, ...]
        arguments = (len(call.keys), *call.keys, call.argument)
        try:
            return await self._run(self._redis, "EVALSHA", self._sha, *arguments)
        except NoScriptError:  # a Redis that was started since: it keeps the script from here on
            return await self._run(self._redis, "EVAL", self._source, *arguments)

    async def _run(self, redis: Redis, *command: str | int | bytes) -> Answers:
        answers = await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # theirs
        return cast(Answers, answers)

    async def close(self) -> None:
        """Close the connection."""
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()


def address_of(url: str) -> str:
    """`redis://user:secret@host:6379/0` as `host:6379/0`."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path
