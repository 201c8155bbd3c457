"""Stats: from the sums by hour where they tell, from the rows themselves where they do not.

    since ──┤ rows ├── whole hours or days: sums ──┤ rows ├── until

`_source` says which sums tell what is asked for: those of an hour know one of `DIMENSIONS`, or one
tool or tag; those of a day know all of `DIMENSIONS` at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import orjson
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..query.fields import Kind
from ..query.folding import lower
from ..query.groups import Group
from ..query.matching import glob
from ..query.tree import And, Node, Not, Op, Or, Test
from .compiling import Compiler, tests_in
from .figures import Figures, Percentiles
from .rollups import ALL, COMBINED, DAY_HOURS, DIMENSIONS, HOUR_US, scope_of
from .row_sums import LAST_US, Breakdown, Key, Rows
from .session_stats import Sessions
from .tables import LIST_COLUMNS, SUMS, rollups

_GROUPS = tuple(group.column for group in Group)
"""Columns that stats can be grouped by; those that are no dimension of the sums take longer."""


@dataclass(slots=True, frozen=True)
class Bucket:
    """`start_us`: None where there is one bucket only. `group`: the value of `by`, None where it
    is unknown or nothing was asked for. `errors`: ended otherwise than `ok`. `cost_usd`: of the
    `priced` rows whose cost is known; None where there are none."""

    start_us: int | None
    group: str | int | None
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    priced: int
    duration_ms: Percentiles
    ttft_ms: Percentiles


async def stats(
    connection: AsyncConnection,
    node: Node,
    breakdown: Breakdown,
    names: Mapping[str, Sequence[str]],
    owned: Sequence[ColumnElement[bool]],
    *,
    sqlite: bool,
) -> list[Bucket]:
    """See `Reader.stats`. Raises ValueError."""
    if breakdown.by is not None and breakdown.by not in _GROUPS:
        raise ValueError(f"by is {breakdown.by[:40]!r}; give one of {', '.join(_GROUPS)}")
    breakdown, rest = _within(node, breakdown)
    found = await _figures(Question(connection, rest, breakdown, names, owned, sqlite))
    return [
        _bucket(key, figures, breakdown)
        for key, figures in sorted(found.items(), key=lambda item: (item[0][0], str(item[0][1])))
        if figures.sums[0]
    ]


class Question(NamedTuple):
    """What `stats` was asked for. `rest`: the filter without the bounds of time of `breakdown`."""

    connection: AsyncConnection
    rest: Node
    breakdown: Breakdown
    names: Mapping[str, Sequence[str]]
    owned: Sequence[ColumnElement[bool]]
    sqlite: bool


async def _figures(asked: Question) -> dict[Key, Figures]:
    if asked.breakdown.by == "session_id" and asked.rest == And(()):
        of_all = asked._replace(breakdown=asked.breakdown._replace(by=None))
        if _source(of_all.rest, of_all.breakdown) is not None:
            sums = Sessions(asked.connection, asked.breakdown, asked.owned, sqlite=asked.sqlite)
            found = await sums.add_up(await _figures(of_all))
            if found is not None:
                return found
    return await _figures_by_time(asked)


async def _figures_by_time(asked: Question) -> dict[Key, Figures]:
    """Of whole hours or days from sums, where these tell what is asked for."""
    connection, rest, breakdown, names, owned, sqlite = asked
    found: dict[Key, Figures] = {}
    source = _source(rest, breakdown)
    since, until = breakdown.bounds
    unit = source.hours * HOUR_US if source is not None else LAST_US
    first, last = -(-since // unit) * unit, until // unit * unit
    whole = source is None or first >= last
    # What few rows there are at the edges is looked at one by one.
    chosen = Compiler(sqlite, names, by_row=not whole).compile(rest)
    rows = Rows(connection, chosen, owned, breakdown)
    if source is None or whole:
        await rows.add(found, since, until)
    else:
        await rows.add(found, since, first)
        await _add_sums(connection, found, source, breakdown, (first // HOUR_US, last // HOUR_US))
        await rows.add(found, last, until)
    return found


def _within(node: Node, breakdown: Breakdown) -> tuple[Breakdown, Node]:
    """Bounds of time in the filter are its bounds, too."""
    parts = node.parts if isinstance(node, And) else (node,)
    since, until = breakdown.bounds
    rest = []
    for part in parts:
        if not isinstance(part, Test) or part.field.kind is not Kind.TIME:
            rest.append(part)
            continue
        at = int(str(part.value))
        if part.op in (Op.GE, Op.GT):
            since = max(since, at + (part.op is Op.GT))
        elif part.op in (Op.LT, Op.LE):
            until = min(until, at + (part.op is Op.LE))
        else:
            rest.append(part)
    return breakdown._replace(since_us=since, until_us=until), And(tuple(rest))


class Source(NamedTuple):
    """Sums to add up: of a dimension, as it is in `rollups`, each of so many hours. `group_of`: the
    group of one of its values; None: it is not chosen."""

    scope: str
    dimension: str
    hours: int
    group_of: Callable[[str], str | None]


def _source(rest: Node, breakdown: Breakdown) -> Source | None:
    """The sums that tell what is asked for; None: the rows have to."""
    unit = breakdown.bucket_us or DAY_HOURS * HOUR_US
    if unit % HOUR_US:
        return None
    member = _one_member(rest)
    if member is not None and breakdown.by is None and breakdown.only_key is None:
        kind, wanted = member
        return Source(ALL, kind, 1, lambda value: "" if value == wanted else None)
    asked = {test.field.column for test in tests_in(rest)}
    if breakdown.by is not None:
        asked.add(breakdown.by)
    if not asked <= set(DIMENSIONS):
        return None
    if len(asked) < 2:
        one = asked.pop() if asked else ""
        return Source(
            scope_of(breakdown.only_key), one, 1, partial(_group_of_one, rest, breakdown, one)
        )
    if unit % (DAY_HOURS * HOUR_US):
        return None
    return Source(ALL, COMBINED, DAY_HOURS, partial(_group_of_all, rest, breakdown))


def _one_member(node: Node) -> tuple[str, str] | None:
    """The kind and value, if the filter asks for one tool or one tag and nothing else."""
    if isinstance(node, And) and len(node.parts) == 1:
        (node,) = node.parts
    if not isinstance(node, Test) or node.field.kind is not Kind.LIST or node.op is not Op.MATCH:
        return None
    value = lower(str(node.value))
    return None if "*" in value else (LIST_COLUMNS[node.field.column], value)


def _group_of_one(rest: Node, breakdown: Breakdown, name: str, value: str) -> str | None:
    if not _fits(rest, {name: value}):
        return None
    return value if breakdown.by is not None else ""


def _group_of_all(rest: Node, breakdown: Breakdown, packed: str) -> str | None:
    values = dict(zip(DIMENSIONS[1:], orjson.loads(packed), strict=True))
    if breakdown.only_key is not None and values["key_label"] != breakdown.only_key:
        return None
    if not _fits(rest, values):
        return None
    return values[breakdown.by] if breakdown.by is not None else ""


async def _add_sums(
    connection: AsyncConnection,
    found: dict[Key, Figures],
    source: Source,
    breakdown: Breakdown,
    hours: tuple[int, int],
) -> None:
    c = rollups.c
    sums = (c[name] for name in SUMS)
    query = select(c.hour, c.value, *sums, c.durations, c.ttfts).where(
        c.scope == source.scope,
        c.dimension == source.dimension,
        c.hour >= hours[0],
        c.hour < hours[1],
    )
    group_of = cache(source.group_of)
    for hour, value, *stored in await connection.execute(query):
        group = group_of(value)
        if group is None:
            continue
        key = (_start(hour * HOUR_US, breakdown.bucket_us), group)
        figures = found.get(key)
        if figures is None:
            figures = found[key] = Figures()
        figures.merge_stored(stored[:-2], stored[-2], stored[-1])


def _start(received_us: int, bucket_us: int | None) -> int:
    return 0 if bucket_us is None else received_us // bucket_us * bucket_us


def _fits(node: Node, values: Mapping[str, str]) -> bool:
    """Does a filter that asks for no other text columns than these choose such a row?"""
    match node:
        case Test():
            value = values[node.field.column]
            if node.op is Op.NONE:
                return not value
            return bool(value) and glob(lower(str(node.value)), lower(value))
        case Not(part):
            return not _fits(part, values)
        case And(parts):
            return all(_fits(part, values) for part in parts)
        case Or(parts):
            return any(_fits(part, values) for part in parts)


def _bucket(key: Key, figures: Figures, breakdown: Breakdown) -> Bucket:
    requests, errors, input_, output, cached, written, reasoning, pico, priced = figures.sums
    durations, ttfts = figures.percentiles()
    return Bucket(
        start_us=None if breakdown.bucket_us is None else key[0],
        group=None if breakdown.by is None or key[1] == "" else key[1],
        requests=requests,
        errors=errors,
        input_tokens=input_,
        output_tokens=output,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        cost_usd=pico / 1e12 if priced else None,
        priced=priced,
        duration_ms=durations,
        ttft_ms=ttfts,
    )
