"""The door for everybody's code: what a middleware is.

class AddHeader:
    class Options(BaseModel): value: str = "1"

    def __init__(self, options: Options, services: Services) -> None: ...

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        exchange.set_header(b"x-team", self.options.value.encode())
        response = await call_next(exchange)
        return response
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol, runtime_checkable

from ..proxy.exchange import CallNext, Exchange, Response
from ..tracing.rules import MaskRules


@dataclass(slots=True, frozen=True)
class Services:
    """What every middleware is given beside its options. Times in seconds.

    `masking`: append in your constructor what traces must not show; whoever writes them heeds it.
    `prices`: the settings' own, in US dollars per million tokens, as decimal texts.
    """

    trace_dir: Path
    quiet: bool = False
    flush_s: float = 5.0
    clock: Callable[[], float] = monotonic
    spooled: bool = False  # a store wants to be told of each trace
    masking: list[MaskRules] = field(default_factory=list)
    prices: tuple[Mapping[str, str | None], ...] = ()


class Middleware(Protocol):
    """One layer around the forwarder.

    What stands before `await call_next(exchange)` happens on the way in, what follows on the way
    out; not calling it is an early answer (`return exchange.refuse(403, "code", "why")`). An
    exception before the answer costs this request a 500 and nothing else. `call_next` is called
    once at most.

    A class may have `Options`, a frozen pydantic model, `async start()` and `async stop()`. It is
    constructed with (options, services), which must do nothing but store. `authenticates = True`
    says that it lets nobody in without a key: only with such a one, or when told to, the program
    listens beyond this machine. `check(options, settings)`, a class method, may tell what is wrong
    with the options in these settings, as texts `problem; what to do`.
    """

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response: ...


@runtime_checkable
class Starts(Protocol):
    """Has something to open before the first request; an exception here ends the program."""

    async def start(self) -> None: ...


@runtime_checkable
class Stops(Protocol):
    """Has something to close after the last request."""

    async def stop(self) -> None: ...


@runtime_checkable
class Counts(Protocol):
    """Has figures for the health page: names to whole numbers."""

    def counters(self) -> dict[str, int]: ...


__all__ = [
    "CallNext",
    "Counts",
    "Exchange",
    "MaskRules",
    "Middleware",
    "Response",
    "Services",
    "Starts",
    "Stops",
]
