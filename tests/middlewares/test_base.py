from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import src.middlewares
from src.middlewares.base import Counts, Services, Starts, Stops


class Bare:
    pass


class Full:
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def counters(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize("protocol", [Starts, Stops, Counts])
def test_what_a_middleware_can_do_is_seen_by_what_it_has(protocol: type):
    assert isinstance(Full(), protocol)
    assert not isinstance(Bare(), protocol)


def test_services_are_frozen(tmp_path: Path):
    services = Services(trace_dir=tmp_path)
    with pytest.raises(FrozenInstanceError):
        services.quiet = True  # type: ignore[misc]  # that is the point
    assert services.clock() > 0


def test_everything_a_middleware_needs_is_exported():
    for name in src.middlewares.__all__:
        assert getattr(src.middlewares, name)
    assert set(src.middlewares.__all__) >= {
        "CallNext",
        "Exchange",
        "Middleware",
        "Response",
        "Services",
    }
