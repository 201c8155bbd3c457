from __future__ import annotations

from src.utils.ulid import ALPHABET, ULIDs, ulid_time_ms

MS = 1_000_000


def test_ids_sort_by_the_order_they_were_made_in() -> None:
    made = [make() for make in [ULIDs()] for _ in range(20_000)]
    assert made == sorted(set(made))


def test_an_id_is_26_characters_of_the_alphabet_and_tells_its_time() -> None:
    made = ULIDs()(1_795_000_000_123 * MS)
    assert len(made) == 26
    assert set(made) <= set(ALPHABET)
    assert ulid_time_ms(made) == 1_795_000_000_123


def test_a_clock_that_goes_back_does_not_make_an_earlier_id() -> None:
    make = ULIDs()
    first = make(2000 * MS)
    assert make(1000 * MS) > first


def test_a_clock_that_stands_still_never_runs_out() -> None:
    make = ULIDs(clock_ns=lambda: 5000 * MS)
    made = [make() for _ in range(60_000)]
    assert made == sorted(set(made))
    assert ulid_time_ms(made[-1]) - 5000 < 10, "it borrows milliseconds when one is full"


def test_two_makers_do_not_meet() -> None:
    clock = lambda: 7000 * MS  # noqa: E731
    assert not {ULIDs(clock)() for _ in range(1000)} & {ULIDs(clock)() for _ in range(1000)}
