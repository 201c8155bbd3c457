"""Stats: from the sums by hour where they tell, from the rows themselves where they do not.

    since ──┤ rows ├── whole hours: sums ──┤ rows ├── until

The sums tell of whole hours, of all rows or one key's, grouped by one of `DIMENSIONS`, and of
filters that ask only for that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..query.fields import Kind
from ..query.matching import glob
from ..query.tree import And, Node, Not, Op, Or, Test
from .compiling import Compiler, tests_in
from .figures import Counted, Figures, Percentiles, percentiles
from .rollups import DIMENSIONS, HOUR_US, scope_of
from .tables import SEQ_STEP, SUMS, records, rollups

GROUPS = (
    *DIMENSIONS[1:],
    "operation",
    "status",
    "session_id",
    "client_address",
    "user_agent",
    "path",
)
"""Columns that stats can be grouped by; those that are no dimension of the sums take longer."""
_LAST_US = 1 << 52
_AT_ONCE = 10_000


class Span(NamedTuple):
    """What is asked for; see `Reader.stats`."""

    since_us: int | None
    until_us: int | None
    bucket_us: int | None
    by: str | None
    only_key: str | None


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


Key = tuple[int, str | int]
"""bucket's start, group ("" where unknown)"""


async def stats(
    connection: AsyncConnection,
    node: Node,
    span: Span,
    names: Mapping[str, Sequence[str]],
    owned: Sequence[ColumnElement[bool]],
    *,
    sqlite: bool,
) -> list[Bucket]:
    """See `Reader.stats`. Raises ValueError."""
    if span.by is not None and span.by not in GROUPS:
        raise ValueError(f"by is {span.by[:40]!r}; give one of {', '.join(GROUPS)}")
    span, rest = _within(node, span)
    found: dict[Key, Figures] = {}
    rows = Rows(connection, Compiler(sqlite, names).compile(rest), owned, span)
    dimension = _dimension(rest, span)
    since, until = span.since_us or 0, span.until_us or _LAST_US
    first, last = -(-since // HOUR_US), until // HOUR_US
    if dimension is None or first >= last:
        await rows.add(found, since, until)
    else:
        await rows.add(found, since, first * HOUR_US)
        await _add_rollups(connection, found, rest, span, dimension, first, last)
        await rows.add(found, last * HOUR_US, until)
    return [
        _bucket(key, figures, span)
        for key, figures in sorted(found.items(), key=lambda item: (item[0][0], str(item[0][1])))
        if figures.sums[0]
    ]


def _within(node: Node, span: Span) -> tuple[Span, Node]:
    """Bounds of time in the filter bound the span."""
    parts = node.parts if isinstance(node, And) else (node,)
    since, until = span.since_us or 0, span.until_us or _LAST_US
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
    return span._replace(since_us=since, until_us=until), And(tuple(rest))


def _dimension(rest: Node, span: Span) -> str | None:
    """The dimension whose sums tell what is asked for; None: the rows have to."""
    if span.bucket_us is not None and span.bucket_us % HOUR_US:
        return None
    asked = {test.field.column for test in tests_in(rest)}
    if span.by is not None:
        asked.add(span.by)
    if not asked:
        return ""
    one, *more = asked
    if more or one not in DIMENSIONS:
        return None
    return one


class Rows:
    """Adds up rows one by one."""

    def __init__(
        self,
        connection: AsyncConnection,
        chosen: ColumnElement[bool],
        owned: Sequence[ColumnElement[bool]],
        span: Span,
    ) -> None:
        by = records.c[span.by] if span.by is not None else records.c.seq
        columns = (records.c[name] for name in Counted._fields)
        self._query = select(records.c.seq, by.label("group"), *columns).where(chosen, *owned)
        self._connection = connection
        self._span = span

    async def add(self, found: dict[Key, Figures], since_us: int, until_us: int) -> None:
        """Those received in between, `until_us` not included."""
        if since_us >= until_us:
            return
        seq = records.c.seq
        query = self._query.where(seq >= since_us * SEQ_STEP, seq < until_us * SEQ_STEP)
        bucket_us, grouped = self._span.bucket_us, self._span.by is not None
        async with self._connection.stream(query) as result:
            async for part in result.partitions(_AT_ONCE):
                for at, group, *counted in part:
                    start = _start(at // SEQ_STEP, bucket_us)
                    key = (start, ("" if group is None else group) if grouped else "")
                    figures = found.get(key)
                    if figures is None:
                        figures = found[key] = Figures()
                    figures.add(Counted(*counted))


async def _add_rollups(
    connection: AsyncConnection,
    found: dict[Key, Figures],
    rest: Node,
    span: Span,
    dimension: str,
    first: int,
    last: int,
) -> None:
    c = rollups.c
    sums = (c[name] for name in SUMS)
    query = select(c.hour, c.value, *sums, c.durations, c.ttfts).where(
        c.scope == scope_of(span.only_key), c.dimension == dimension, c.hour >= first, c.hour < last
    )
    chosen: dict[str, bool] = {}
    for hour, value, *stored in await connection.execute(query):
        fits = chosen.get(value)
        if fits is None:
            fits = chosen[value] = _fits(rest, value)
        if not fits:
            continue
        key = (_start(hour * HOUR_US, span.bucket_us), value if span.by is not None else "")
        figures = found.get(key)
        if figures is None:
            figures = found[key] = Figures()
        figures.merge_stored(stored[:-2], stored[-2], stored[-1])


def _start(received_us: int, bucket_us: int | None) -> int:
    return 0 if bucket_us is None else received_us // bucket_us * bucket_us


def _fits(node: Node, value: str) -> bool:
    """Does a filter that asks for one text column only choose this value of it?"""
    match node:
        case Test():
            if node.op is Op.NONE:
                return not value
            return bool(value) and glob(str(node.value).lower(), value.lower())
        case Not(part):
            return not _fits(part, value)
        case And(parts):
            return all(_fits(part, value) for part in parts)
        case Or(parts):
            return any(_fits(part, value) for part in parts)


def _bucket(key: Key, figures: Figures, span: Span) -> Bucket:
    sums = dict(zip(SUMS, figures.sums, strict=True))
    pico = sums.pop("cost_pico_usd")
    return Bucket(
        start_us=None if span.bucket_us is None else key[0],
        group=None if span.by is None or key[1] == "" else key[1],
        cost_usd=pico / 1e12 if sums["priced"] else None,
        duration_ms=percentiles(figures.durations),
        ttft_ms=percentiles(figures.ttfts),
        **sums,
    )
