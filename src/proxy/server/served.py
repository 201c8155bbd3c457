"""What a connection is given: by uvicorn its config and its state, below them the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from ...utils.tasks import Sweeper
from ...utils.ulid import ULIDs
from ..counts import ServerCounts
from ..gateway import Gateway
from ..limits import ServerLimits


class Served(Protocol):
    """What is served: the application, as a connection needs it."""

    gateway: Gateway
    server_limits: ServerLimits
    server_counts: ServerCounts
    new_id: ULIDs
    sweeper: Sweeper
    own_answers: dict[bytes, Callable[[], tuple[int, bytes]]]


class UvicornConfig(Protocol):
    """uvicorn's Config, as far as it is used."""

    loaded_app: object


class UvicornState(Protocol):
    """uvicorn's ServerState, as far as it is used."""

    connections: set[Any]  # of protocols, ours among uvicorn's own


def unwrapped(app: object) -> Served:
    """The application itself, from below what uvicorn wraps around it by default."""
    while not hasattr(app, "gateway"):
        app = getattr(app, "app")  # noqa: B009 - ASGI middlewares name it so by habit only
    return cast(Served, app)
