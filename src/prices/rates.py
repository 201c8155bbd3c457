"""Prices per token and what an answer comes to with them, to the last digit.

Everything is counted once: what has a price of its own is taken out of what it is part of, and
what has none costs as that does. Decimals: three times 0.1 is 0.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

Rates = Mapping[str, Decimal]
"""US dollars for one token of each kind: those of `APART`, `WHOLE`, and `request` for each."""

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

_ZERO = Decimal(0)


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


def rates_for(tiers: Tiers, input_tokens: int) -> Rates:
    """The rates of the highest tier that this input is above."""
    found = tiers[0][1]
    for above, rates in tiers[1:]:
        if input_tokens > above:
            found = rates
    return found


def cost(tiers: Tiers, tokens: Tokens) -> Cost | None:
    """What it comes to; None where a count or a price that is needed is unknown. Hot: 3 µs."""
    if tokens.input is None or tokens.output is None:
        return None
    rates = rates_for(tiers, tokens.input)
    read, written = tokens.cache_read or 0, tokens.cache_write or 0
    left = {
        "input": tokens.input - read - written,
        "output": tokens.output,
        "cache_read": read,
        "cache_write": written,
    }
    if left["input"] < 0:
        return None  # more cached than there was: these figures are not what they seem
    usd = dict.fromkeys(WHOLE, _ZERO)
    pieces = rates.get("request", _ZERO)
    if tokens.apart:
        pieces += _apart(rates, tokens.apart, left, usd)
    if tokens.reasoning and "reasoning" in rates:  # hardly ever: it costs what output does
        pieces += _apart(rates, {"reasoning": tokens.reasoning}, left, usd)
    for kind, number in left.items():
        if not number:
            continue
        rate = rates.get(kind)
        if rate is None and kind != "output":
            rate = rates.get("input")
        if rate is None:
            return None
        usd[kind] += rate * number
    return Cost(
        float(sum(usd.values(), pieces)),
        float(usd["input"]),
        float(usd["output"]),
        None if tokens.cache_read is None else float(usd["cache_read"]),
        None if tokens.cache_write is None else float(usd["cache_write"]),
    )


def _apart(
    rates: Rates, apart: Mapping[str, int], left: dict[str, int], usd: dict[str, Decimal]
) -> Decimal:
    """Price what has its own price and take it out of what is left; the sum of the pieces."""
    pieces = _ZERO
    for kind, number in apart.items():
        rate, whole = rates.get(kind), APART.get(kind)
        if rate is None or whole is None:
            continue
        if not whole:
            pieces += rate * number
            continue
        # Never more than there is: providers count sound that was cached in both.
        counted = min(number, left[whole])
        left[whole] -= counted
        usd[whole] += rate * counted
    return pieces
