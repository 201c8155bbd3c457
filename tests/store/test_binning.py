"""Bins keep the order of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from src.store.binning import bin_of

numbers = st.floats(0, 1e15) | st.integers(0, 1 << 62)


@given(numbers, numbers)
def test_the_greater_number_is_never_in_the_lesser_bin(one: float, other: float) -> None:
    least, most = sorted((one, other))
    assert (bin_of(least) or 0) <= (bin_of(most) or 0) <= 32_000


def test_bins_are_narrow_and_nothing_has_none() -> None:
    assert bin_of(None) is None
    assert bin_of(0) == 0
    assert bin_of(100.0) == bin_of(100)
    assert (bin_of(2000) or 0) - (bin_of(1000) or 0) in (17, 18)  # log 2 / log 1.04
