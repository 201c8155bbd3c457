"""Point 1: bad requests and bad answers, as they stand in the battery, then mutated and cut.

    pytest tests/faults/test_mutations.py --fault-examples 5000 [--fault-seed N]

Nothing crashes, nothing hangs, nothing is smuggled, and nobody else gets a wrong answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.conftest import Figure
from tests.faults.battery import CLOSE_DELIMITED, GOOD_REQUESTS, GOOD_RESPONSES, REQUESTS, RESPONSES
from tests.faults.driving import Arena
from tests.faults.judging import Try
from tests.faults.mutating import tries

BATCH = 48  # tries at once: most of their time is the program's waiting for more
KINDS = ("crashes", "hangs", "smuggled", "wrong_answers")
# The largest would cost the mutations most of their time and differ from others by size alone.
SMALL = 4000


@pytest.fixture
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with Arena(tmp_path_factory.mktemp("arena")) as started:
        yield started


@pytest.fixture
def number(request: pytest.FixtureRequest) -> int:
    """The seed: the given one, or a new one, printed with the figure either way."""
    given_one = request.config.getoption("--fault-seed")
    return int(given_one) if given_one is not None else random.SystemRandom().randrange(1 << 32)


def batches(items: Sequence[Try]) -> Iterator[Sequence[Try]]:
    return (items[at : at + BATCH] for at in range(0, len(items), BATCH))


def cut(name: str, wire: bytes, end: str, method: bytes, number: int) -> list[Try]:
    """Whole, byte by byte where it is short, and cut at random."""
    dice = random.Random(f"{number} {name} {end} {method!r}")
    some = tuple(dice.randrange(len(wire) + 1) for _ in range(8))
    every = tuple(range(1, len(wire))) if len(wire) < 400 else tuple(range(1, len(wire), 997))
    return [Try(name, wire, cuts, end, method) for cuts in ((), some, every)]


def judge(arena: Arena, figure: Figure, **counts: object) -> None:
    verdicts = arena.verdicts
    health = arena.health()
    lost = health["trace.dropped"] + health["trace.failed"]
    figure(
        1,
        **counts,
        tries=verdicts.tried,
        honest_requests=verdicts.honest,
        **{kind: verdicts.count(kind) for kind in KINDS},
        traces_lost=lost,
    )
    assert not verdicts.wrong, verdicts.told()
    assert lost == 0
    assert verdicts.honest > 0


def test_battery_of_requests(arena: Arena, figure: Figure, number: int) -> None:
    items = [t for n, w in REQUESTS.items() for t in cut(n, w, "stay", b"POST", number)]
    for batch in batches(items):
        arena.requests(batch)
    judge(arena, figure, scenarios=len(REQUESTS), seed=number)


def test_battery_of_answers(arena: Arena, figure: Figure, number: int) -> None:
    items = []
    for at, (name, wire) in enumerate(RESPONSES.items()):
        ends = ("fin", "rst") if name.startswith(("bad_", "found_")) else ("fin",)
        items += [t for end in ends for t in cut(name, wire, end, b"POST", number)[: 3 - at % 2]]
        items.append(Try(name, wire, (), "stay", b"HEAD" if at % 3 == 0 else b"GET"))
    for batch in batches(items):
        arena.responses(batch)
    judge(arena, figure, scenarios=len(RESPONSES), seed=number)


@pytest.mark.parametrize("name", GOOD_REQUESTS)
def test_battery_is_told_what_is_good(arena_of_all: Arena, name: str) -> None:
    """What a client may well send is answered, else the battery could pass on refusals alone."""
    arena_of_all.requests([Try(name, GOOD_REQUESTS[name])])
    assert arena_of_all.arrived
    assert not arena_of_all.verdicts.wrong, arena_of_all.verdicts.told()


@pytest.fixture(scope="module")
def arena_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with Arena(tmp_path_factory.mktemp("arena")) as started:
        yield started


def test_good_answers_pass(arena_of_all: Arena) -> None:
    items = [Try(f"good_{n}", w, (), "stay") for n, w in GOOD_RESPONSES.items()]
    items += [Try(f"good_{n}", w, (), "fin") for n, w in CLOSE_DELIMITED.items()]
    arena_of_all.responses(items)
    assert not arena_of_all.verdicts.wrong, arena_of_all.verdicts.told()


def mutate(
    run: Callable[[Sequence[Try]], None], one: st.SearchStrategy[Try], count: int, number: int
) -> None:
    """Hypothesis draws the tries, batch by batch; each that goes wrong is told with its bytes."""

    @seed(number)
    @settings(
        max_examples=-(-count // BATCH),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(one, min_size=BATCH, max_size=BATCH))
    def all_of(batch: list[Try]) -> None:
        run(batch)

    all_of()


def small(scenarios: dict[str, bytes]) -> dict[str, bytes]:
    return {name: wire for name, wire in scenarios.items() if len(wire) < SMALL}


def test_mutated_requests(
    arena: Arena, figure: Figure, number: int, request: pytest.FixtureRequest
) -> None:
    count = request.config.getoption("--fault-examples")
    mutate(arena.requests, tries(small(REQUESTS), answers=False), count, number)
    judge(arena, figure, mutations=arena.verdicts.tried, seed=number)


def test_mutated_answers(
    arena: Arena, figure: Figure, number: int, request: pytest.FixtureRequest
) -> None:
    count = request.config.getoption("--fault-examples")
    mutate(arena.responses, tries(small(RESPONSES), answers=True), count, number)
    judge(arena, figure, mutations=arena.verdicts.tried, seed=number)
