"""Which prices hold for a request: one's own, else the library's. Each model is looked up once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from . import own
from .rates import Tiers

_KEPT_MODELS = 1024
_NAME_CHARACTERS = 200  # a longer model name is nobody's


class Asked(NamedTuple):  # a dataclass would take three times as long to make and to look up
    """Whose prices are asked for. `kind`: the provider's type.

    `names`: all that the model is called, the surest first; `known`: how many of them a library
    may know it by (a deployment's name is its owner's alone).
    """

    kind: str
    upstream: str
    base_url: str
    names: tuple[str, ...]
    known: int
    tier: str = ""  # service_tier of the answer
    speed: str = ""


@dataclass(slots=True)
class Priced:
    """Rates that depend on the time, and where they are from."""

    at: Callable[[int], Tiers]
    version: str


@dataclass(slots=True)
class Prices:
    """All prices of one process."""

    own: list[own.OwnPrice] = field(default_factory=list)
    _known: dict[Asked, Priced | None] = field(default_factory=dict)

    @classmethod
    def read(cls, entries: Iterable[Mapping[str, str | None]]) -> Prices:
        """With the own prices of the settings."""
        return cls(own.read_prices(entries))

    def load(self) -> None:
        """What the first price would load, now: 0.12 s."""
        _library()

    def find(self, asked: Asked) -> Priced | None:
        """The prices for this; None: unknown, which is not free. Hot: 0.4 µs once it is known."""
        try:
            return self._known[asked]
        except KeyError:
            pass
        if len(self._known) >= _KEPT_MODELS:
            self._known.clear()
        found = self._known[asked] = _of_config(self.own, asked) or _of_library(asked)
        return found


def _of_config(prices: list[own.OwnPrice], asked: Asked) -> Priced | None:
    tiers = own.find(prices, asked.upstream, asked.names)
    return None if tiers is None else Priced(lambda _: tiers, own.VERSION)


def _of_library(asked: Asked) -> Priced | None:
    if not asked.known:
        return None
    library = _library()
    if library is None:
        return None
    context = {"service_tier": asked.tier, "speed": asked.speed}
    context = {name: value for name, value in context.items() if value}
    for model in asked.names[: asked.known]:
        if len(model) <= _NAME_CHARACTERS:
            found = library.find(asked.kind, asked.base_url, model, context)
            if found is not None:
                return Priced(found.at, library.VERSION)
    return None


def _library() -> ModuleType | None:
    try:
        return import_module(".library", __package__)
    except ImportError:
        return None  # traces are written all the same
