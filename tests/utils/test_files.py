from __future__ import annotations

import resource

import pytest

from src.utils.files import allow_files

SOFT, HARD = 700, 900


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The system's limits, pretended: lowering the hard one could not be undone."""
    now = [(SOFT, HARD)]

    def set_limits(_: int, to: tuple[int, int]) -> None:
        assert to[0] <= to[1] == HARD
        now.append(to)

    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    return now


@pytest.mark.parametrize(
    ("needed", "allowed", "soft"),
    [(100, 100, SOFT), (SOFT, SOFT, SOFT), (800, 800, 800), (5000, HARD, HARD)],
    ids=["enough", "just enough", "raised", "as far as it goes"],
)
def test_soft_limit_is_raised_to_what_is_needed_and_never_lowered(
    limits: list[tuple[int, int]], needed: int, allowed: int, soft: int
):
    assert allow_files(needed) == allowed
    assert limits[-1] == (soft, HARD)


def test_a_system_that_refuses_leaves_it_as_it_was(monkeypatch: pytest.MonkeyPatch):
    def refuses(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "setrlimit", refuses)
    assert allow_files(800) == SOFT
