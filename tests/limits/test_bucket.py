"""The arithmetic against a slow and obvious model, under a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.limits import Grant, Limit, MemoryStore, Refusal
from tests.limits.model import Ledger


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def take(store: MemoryStore, limit: Limit, cost: int = 1, key: str = "k") -> Grant | Refusal:
    return store.take([(key, limit, cost)])


def admitted(store: MemoryStore, limit: Limit, tries: int) -> int:
    return sum(isinstance(take(store, limit), Grant) for _ in range(tries))


limits = st.builds(
    lambda amount, period, burst: Limit(amount, period, min(burst, amount)),
    st.integers(1, 200),
    st.sampled_from([0.5, 1.0, 60.0, 3600.0]),
    st.sampled_from([0, 0, 1, 3, 20]),
)
# Steps in parts of the period: many at once, some within an entry's span, some over an edge.
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.001, 0.01, 0.017, 0.1, 0.33, 0.5, 0.99, 1.0, 1.7]),
        st.integers(1, 40),
    ),
    max_size=60,
)


@given(limits, steps)
@settings(max_examples=300, deadline=None)
def test_no_period_ever_holds_more_than_the_limit_and_what_fits_is_let_in(
    limit: Limit, steps: list[tuple[float, int]]
) -> None:
    clock, ledger = Clock(), Ledger(limit)
    store = MemoryStore(clock)
    for pause, wanted in steps:
        clock.now += pause * limit.period_s
        cost = min(wanted, limit.most)
        fits = ledger.surely_fits(cost, clock.now)
        if isinstance(take(store, limit, cost), Grant):
            ledger.charges.append([clock.now, cost])
            if limit.burst:
                assert ledger.level(clock.now) <= limit.burst + 1e-3
        else:
            assert not fits
    assert ledger.most_in_any_period() <= limit.amount


@given(limits, steps)
@settings(max_examples=200, deadline=None)
def test_after_the_told_wait_it_fits_and_well_before_it_does_not(
    limit: Limit, steps: list[tuple[float, int]]
) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    for pause, wanted in steps:
        clock.now += pause * limit.period_s
        cost = min(wanted, limit.most)
        found = take(store, limit, cost)
        if isinstance(found, Refusal):
            assert 0 < found.retry_after_s <= limit.period_s * 1.02
            clock.now += found.retry_after_s * 0.98 - limit.span_s
            if found.retry_after_s > 3 * limit.span_s:
                assert isinstance(take(store, limit, cost), Refusal)
            clock.now += found.retry_after_s * 0.02 + limit.span_s + 1e-5
            assert isinstance(take(store, limit, cost), Grant)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.3, 5.0, 20.0, 61.0]),
            st.integers(1, 500),  # reserved
            st.integers(0, 900),  # used
            st.integers(0, 3),  # settled that many steps later
        ),
        max_size=40,
    )
)
@settings(max_examples=300, deadline=None)
def test_settled_charges_are_those_of_a_ledger_that_was_right_from_the_start(
    steps: list[tuple[float, int, int, int]],
) -> None:
    limit = Limit(1000, 60.0, settles=True)
    clock, ledger = Clock(), Ledger(limit)
    store = MemoryStore(clock)
    open_: list[tuple[int, Grant, int, list[float]]] = []
    for number, (pause, cost, used, later) in enumerate(steps):
        clock.now += pause
        due = [entry for entry in open_ if entry[0] <= number]
        open_ = [entry for entry in open_ if entry[0] > number]
        for _, grant, really, charge in due:
            store.finish(grant, really)
            back = charge[1] - really
            if back >= 0:
                charge[1] = really  # given back where it was charged
            else:
                ledger.charges.append([clock.now, -back])  # charged when it was learned
        found = take(store, limit, cost)
        if isinstance(found, Grant):
            charge = [clock.now, float(cost)]
            ledger.charges.append(charge)
            open_.append((number + later, found, used, charge))
        else:
            assert not ledger.surely_fits(cost, clock.now)
        kept = sum(c for at, c in ledger.charges if at > clock.now - 60)
        late = sum(c for at, c in ledger.charges if at > clock.now - 61)
        left = found.remaining[0]
        assert max(1000 - late, 0) <= left <= max(1000 - kept, 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=50))
def test_slots_in_use_are_never_more_than_there_are_and_come_back(
    moves: list[tuple[bool, int]],
) -> None:
    store, limit = MemoryStore(Clock()), Limit(3, 0.0)
    held: list[Grant] = []
    for takes, which in moves:
        if takes:
            found = take(store, limit)
            assert isinstance(found, Grant) == (len(held) < 3)
            if isinstance(found, Grant):
                held.append(found)
        elif held:
            store.finish(held.pop(which % len(held)), None)
    for grant in held:
        store.finish(grant, None)
    assert admitted(store, limit, 9) == 3


def test_a_burst_before_and_after_an_edge_is_one_burst() -> None:
    clock = Clock(0.0)
    store, limit = MemoryStore(clock), Limit(10, 60.0)
    clock.now = 59.9  # the end of a minute on the clock
    assert admitted(store, limit, 20) == 10
    clock.now = 60.1
    assert admitted(store, limit, 20) == 0
    clock.now = 119.95
    assert admitted(store, limit, 20) == 10


def test_charges_that_share_an_entry_are_not_forgotten_with_its_first() -> None:
    clock = Clock(0.0)
    store, limit = MemoryStore(clock), Limit(10, 60.0)
    assert admitted(store, limit, 1) == 1
    clock.now = 0.9
    assert admitted(store, limit, 20) == 9
    clock.now = 60.5  # in the minute before there were nine
    assert admitted(store, limit, 20) <= 1
    clock.now = 60.95
    assert admitted(store, limit, 20) >= 9


def test_refused_requests_do_not_push_the_next_admission_away() -> None:
    clock = Clock()
    store, limit = MemoryStore(clock), Limit(1, 60.0)
    assert admitted(store, limit, 1) == 1
    for _ in range(599):
        clock.now += 0.1
        assert admitted(store, limit, 1) == 0
    clock.now += 0.11
    assert admitted(store, limit, 1) == 1


def test_a_burst_is_let_through_at_once_and_the_rest_in_an_even_flow() -> None:
    clock = Clock()
    store, limit = MemoryStore(clock), Limit(60, 60.0, burst=5)
    assert admitted(store, limit, 20) == 5
    refused = take(store, limit)
    assert isinstance(refused, Refusal)
    assert refused.retry_after_s == pytest.approx(1.0)
    clock.now += 1.0
    assert admitted(store, limit, 20) == 1
    clock.now += 3.0
    assert admitted(store, limit, 20) == 3


def test_what_comes_rarely_comes_back_to_the_moment() -> None:
    clock = Clock()
    store, limit = MemoryStore(clock), Limit(1, 86400.0)
    assert admitted(store, limit, 1) == 1
    clock.now += 86399.9
    assert admitted(store, limit, 1) == 0
    clock.now += 0.1
    assert admitted(store, limit, 1) == 1


def test_one_refusing_claim_leaves_all_others_uncharged() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    wide, narrow, slots = Limit(100, 60.0), Limit(1, 60.0), Limit(5, 0.0)
    both = [("wide", wide, 1), ("slots", slots, 1), ("narrow", narrow, 1)]
    assert isinstance(store.take(both), Grant)
    for _ in range(50):
        refusal = store.take(both)
        assert isinstance(refusal, Refusal)
        assert refusal.index == 2
    assert admitted(store, slots, 9) == 5  # of the key "k": a bucket of its own
    assert sum(isinstance(store.take([("slots", slots, 1)]), Grant) for _ in range(9)) == 4
    assert sum(isinstance(store.take([("wide", wide, 1)]), Grant) for _ in range(200)) == 99


def test_the_longest_wait_is_told_with_its_rule() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    claims = [("a", Limit(1, 10.0), 1), ("b", Limit(1, 3600.0), 1), ("c", Limit(1, 60.0), 1)]
    assert isinstance(store.take(claims), Grant)
    refusal = store.take(claims)
    assert isinstance(refusal, Refusal)
    assert refusal.index == 1
    assert refusal.retry_after_s == pytest.approx(3600)


def test_a_refund_after_its_period_gives_nothing_back_twice() -> None:
    clock = Clock()
    store, limit = MemoryStore(clock), Limit(100, 60.0, settles=True)
    early = take(store, limit, 100)
    assert isinstance(early, Grant)
    clock.now += 60.0
    assert isinstance(take(store, limit, 100), Grant)
    store.finish(early, 0)
    assert isinstance(take(store, limit, 1), Refusal)


def test_idle_keys_go_and_a_flood_of_new_ones_leaves_the_heavy_ones() -> None:
    clock = Clock()
    store, limit = MemoryStore(clock, most_keys=200), Limit(10, 60.0)
    assert sum(isinstance(take(store, limit, key="heavy"), Grant) for _ in range(20)) == 10
    for number in range(5000):
        take(store, limit, key=f"flood {number}")
    assert len(store) <= 204
    assert isinstance(take(store, limit, key="heavy"), Refusal)
    clock.now += 120
    for number in range(300):
        take(store, limit, key=f"later {number}")
        clock.now += 61
    assert len(store) <= 104


def test_a_slot_in_use_outlives_any_flood() -> None:
    clock = Clock()
    store, slots = MemoryStore(clock, most_keys=200), Limit(1, 0.0)
    grant = take(store, slots, key="held")
    assert isinstance(grant, Grant)
    for number in range(2000):
        take(store, Limit(10, 60.0), key=f"flood {number}")
    assert isinstance(take(store, slots, key="held"), Refusal)
    store.finish(grant, None)
    assert isinstance(take(store, slots, key="held"), Grant)


def test_entries_of_one_bucket_stay_few_however_many_charges() -> None:
    clock = Clock()
    store, limit = MemoryStore(clock), Limit(10**9, 60.0)
    for _ in range(20_000):
        clock.now += 0.01
        take(store, limit)
    (bucket,) = store._buckets.values()
    assert len(bucket.entries) <= 62
