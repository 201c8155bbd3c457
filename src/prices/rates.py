"""Prices per token and what an answer comes to with them, to the last digit.

Everything is counted once: what has a price of its own is taken out of what it is part of, and
what has none costs as that does. Integers, divided once at the end: three times 0.1 is 0.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

Rates = Mapping[str, int]
"""What one token of each kind costs, in `DOLLAR`ths: those of `WHOLE` and `APART`, and `request`
for each request."""

DOLLAR = 10**15  # a million tokens for a dollar are 10^9 of these each: nine digits to spare

Tiers = tuple[tuple[int, Rates], ...]
"""Rates for a whole request whose input is above a number of tokens; ascending, the first is 0."""

WHOLE = ("input", "output", "cache_read", "cache_write")

APART = {
    "cache_write_1h": "cache_write",
    "reasoning": "output",
    "input_audio": "input",
    "input_image": "input",
    "input_video": "input",
    "output_audio": "output",
    "output_image": "output",
    "output_video": "output",
    "cache_read_audio": "cache_read",
    "cache_read_image": "cache_read",
    "search": "",
}
"""Kinds that may have a price of their own, and what their tokens are counted in otherwise."""


@dataclass(slots=True)
class Tokens:
    """What was used. `input` includes what was read from and written to caches, `output` reasoning.

    None is unknown; an `output` of None makes the cost unknown, 0 does not.
    """

    input: int | None
    output: int | None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    apart: Mapping[str, int] | None = None


@dataclass(slots=True)
class Cost:
    """In US dollars. `input` is what was neither read from nor written to a cache.

    `usd` is their sum, and what is charged by the piece (searches, requests).
    """

    usd: float
    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None


def rate(price: Decimal, units: int) -> int:
    """A price in US dollars for so many units, as `Rates` hold it for one."""
    return round(price * DOLLAR / units)


def rates_for(tiers: Tiers, input_tokens: int) -> Rates:
    """The rates of the highest tier that this input is above."""
    found = tiers[0][1]
    for above, rates in tiers[1:]:
        if input_tokens > above:
            found = rates
    return found


def cost(tiers: Tiers, tokens: Tokens) -> Cost | None:
    """What it comes to; None where a count or a price that is needed is unknown. Hot: 2 µs."""
    if tokens.input is None or tokens.output is None:
        return None
    rates = rates_for(tiers, tokens.input)
    read, written = tokens.cache_read, tokens.cache_write
    fresh = tokens.input - (read or 0) - (written or 0)
    if fresh < 0:
        return None  # more cached than there was: these figures are not what they seem
    left = {
        "input": fresh,
        "output": tokens.output,
        "cache_read": read or 0,
        "cache_write": written or 0,
    }
    spent = dict.fromkeys(WHOLE, 0)
    pieces = rates.get("request", 0)
    if tokens.apart is not None:
        pieces += _apart(rates, tokens.apart, left, spent)
    if tokens.reasoning and "reasoning" in rates:  # hardly ever: it costs what output does
        _apart(rates, {"reasoning": tokens.reasoning}, left, spent)
    for kind, number in left.items():
        if number:
            price = rates.get(kind)
            if price is None and kind != "output":
                price = rates.get("input")
            if price is None:
                return None
            spent[kind] += price * number
    return Cost(
        (sum(spent.values()) + pieces) / DOLLAR,
        spent["input"] / DOLLAR,
        spent["output"] / DOLLAR,
        None if read is None else spent["cache_read"] / DOLLAR,
        None if written is None else spent["cache_write"] / DOLLAR,
    )


def _apart(
    rates: Rates, apart: Mapping[str, int], left: dict[str, int], spent: dict[str, int]
) -> int:
    """Price what has its own price and take it out of what is left; the sum of the pieces."""
    pieces = 0
    for kind, number in apart.items():
        price, whole = rates.get(kind), APART.get(kind)
        if price is None or whole is None:
            continue
        if not whole:
            pieces += price * number
            continue
        # Never more than there is: providers count sound that was cached in both.
        counted = min(number, left[whole])
        left[whole] -= counted
        spent[whole] += price * counted
    return pieces
