"""Counts at a Redis, shared by any number of processes and machines, decided by its clock.

    take ─▶ waiting ─┐
    finish ─▶ later ─┴─▶ one call at a time ─▶ limits.lua ─▶ answers

What comes while a call is under way goes with the next one: one connection is enough for
thousands of decisions a second, and a request waits for two round trips at most.

    UP ── a call fails or takes too long ──▶ DOWN: every take fails at once, nobody waits
     ▲                                        │
     └────── the probe was answered ──────────┘   one probe at a time, 0.1 s apart, then up to 2 s

Slots are leases: renewed while their request runs, over by themselves where the process is gone.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

from ..utils.tasks import spawn
from .claims import Claim, Grant, Refusal, StoreUnavailable
from .outage import Outage
from .script import Call, Free, Hold, Operation, Settle, Take, read_answer

_TAKES = 128  # in one call: about 2 ms of the Redis
_LATER = 256
_LATER_KEPT = 10_000  # what waits for a Redis that is away; the oldest is given up
_PROBE_S = 0.1
_PROBE_MOST_S = 2.0
_FLUSH_S = 0.5

_Waiting = tuple[Take, "asyncio.Future[Grant | Refusal]", float]


class Wire(Protocol):
    """What carries the calls: `link.Link`. `address` is for log lines, without credentials;
    `waited_s` grows with the time that calls take."""

    address: str
    waited_s: float

    def open(self) -> None: ...

    async def call(self, call: Call, timeout_s: float) -> Sequence[Sequence[int]]:
        """Answers in the order of the operations; StoreUnavailable at `timeout_s` at the latest."""

    async def close(self) -> None: ...


class RedisStore:
    """`timeout_s` bounds the wait of every take, connecting included; `lease_s` is how long a
    slot outlives its process. `clock`: seconds, never going back."""

    def __init__(
        self,
        link: Wire,
        clock: Callable[[], float],
        *,
        timeout_s: float,
        lease_s: float,
        prefix: str = "llmtap",
    ) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._lease_s = lease_s
        # The braces keep all buckets on one node of a Redis Cluster: they are decided together.
        self._prefix = f"{{{prefix}}}:".encode()
        self._waiting: deque[_Waiting] = deque()
        self._later: deque[Operation] = deque(maxlen=_LATER_KEPT)
        self._held: dict[str, list[str]] = {}
        self._sender: asyncio.Task[object] | None = None
        self._renewing: asyncio.Task[object] | None = None
        self._probing: asyncio.Task[object] | None = None
        self.outage = Outage(link.address, clock)

    async def start(self) -> None:
        """Connect, so that the first request need not. A Redis that is away is no failure."""
        self._link.open()
        self._renewing = spawn(self._renew_for_ever(), "leases")
        try:
            await self._link.call(self._call([]), self._timeout_s)
        except StoreUnavailable as error:
            self._fail(str(error))

    async def stop(self) -> None:
        """Give back what is to be given back, if it goes quickly, and close."""
        for task in (self._renewing, self._probing):
            if task is not None:
                task.cancel()
        self._wake()
        if self._sender is not None and not self._sender.done():
            await asyncio.wait((self._sender,), timeout=_FLUSH_S)
        self.outage.stop()
        await self._link.close()

    async def take(self, claims: Sequence[Claim], holder: str) -> Grant | Refusal:
        """All claims or none of them; slots in the name of `holder`, unique to the request.

        Raises StoreUnavailable, after `timeout_s` at the latest.
        """
        if self.outage.lasts:
            self.outage.count()
            raise StoreUnavailable(self.outage.reason)
        future: asyncio.Future[Grant | Refusal] = asyncio.get_running_loop().create_future()
        self._waiting.append((Take(holder, claims), future, self._link.waited_s))
        self._wake()
        try:
            return await future
        except StoreUnavailable:
            self.outage.count()
            raise

    def finish(self, grant: Grant, used: int | None) -> None:
        """Free the slots; settle the estimates to `used`, None to leave them. Once per grant."""
        holder, taken_us = cast(tuple[str, int], grant.marks)
        if keys := self._held.pop(holder, None):
            self._later.append(Free(holder, keys))
        estimates = [claim for claim in grant.claims if claim[1].settles]
        if estimates and used is not None:
            self._later.append(Settle(taken_us, estimates, used))
        self._wake()

    def hold(self, claims: Sequence[Claim], holder: str) -> Callable[[], None] | None:
        """Slots of a request that runs though the Redis was not asked: it learns of them with
        the next renewal. The result frees them; None where there are none."""
        keys = _slots(claims)
        if not keys:
            return None
        self._held[holder] = keys
        return lambda: self._let_go(holder)

    def _let_go(self, holder: str) -> None:
        keys = self._held.pop(holder, None)
        if keys:
            self._later.append(Free(holder, keys))
            self._wake()

    # --- the one call that is under way ------------------------------------------------------

    def _wake(self) -> None:
        idle = self._sender is None or self._sender.done()
        if idle and not self.outage.lasts and (self._waiting or self._later):
            self._sender = spawn(self._send(), "limits")

    async def _send(self) -> None:
        while (self._waiting or self._later) and not self.outage.lasts:
            taking = [self._waiting.popleft() for _ in range(min(len(self._waiting), _TAKES))]
            taking = [waiting for waiting in taking if not waiting[1].done()]
            later = [self._later.popleft() for _ in range(min(len(self._later), _LATER))]
            try:
                await self._send_these(taking, later)
            except StoreUnavailable as error:
                # Freeing twice does no harm, settling twice would.
                self._later.extendleft(op for op in reversed(later) if isinstance(op, Free))
                self._fail(str(error))
            finally:
                _refuse(taking, self.outage.reason)

    async def _send_these(self, taking: Sequence[_Waiting], later: Sequence[Operation]) -> None:
        waited_s = self._link.waited_s - taking[0][2] if taking else 0.0
        within = max(self._timeout_s - waited_s, 0.001)
        ops = [*later, *(take for take, _, _ in taking)]
        answers = await self._link.call(self._call(ops), within)
        for (take, future, _), answer in zip(taking, answers[len(later) :], strict=True):
            self._answer(take, future, read_answer(take, answer))

    def _answer(
        self, take: Take, future: asyncio.Future[Grant | Refusal], found: Grant | Refusal
    ) -> None:
        if isinstance(found, Grant) and (keys := _slots(take.claims)):
            self._held[take.holder] = keys
        if not future.done():
            future.set_result(found)
        elif isinstance(found, Grant):  # the client left while it was being decided
            self.finish(found, 0)

    def _call(self, ops: Sequence[Operation]) -> Call:
        return Call(self._prefix, ops, self._lease_s)

    # --- when it fails, and while it holds ---------------------------------------------------

    def _fail(self, reason: str) -> None:
        """Nobody waits any more; one probe looks for the Redis from here on."""
        self.outage.begin(reason)
        _refuse(self._waiting, reason)
        self._waiting.clear()
        if self._probing is None or self._probing.done():
            self._probing = spawn(self._probe(), "redis probe")

    async def _probe(self) -> None:
        pause = _PROBE_S
        while True:
            # Many processes lose the same Redis at the same time; they do not return as one.
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311  no secret
            try:
                await self._link.call(self._call([]), self._timeout_s)
            except StoreUnavailable as error:
                self.outage.begin(str(error))
                pause = min(pause * 2, _PROBE_MOST_S)
                continue
            self.outage.end()
            self._renew()
            self._wake()
            return

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if not self.outage.lasts:
                self._renew()

    def _renew(self) -> None:
        self._later.extend(Hold(holder, keys) for holder, keys in self._held.items())
        self._wake()


def _refuse(waiting: Iterable[_Waiting], reason: str) -> None:
    for _, future, _ in waiting:
        if not future.done():
            future.set_exception(StoreUnavailable(reason))


def _slots(claims: Sequence[Claim]) -> list[str]:
    return [key for key, limit, _ in claims if not limit.period_s]
