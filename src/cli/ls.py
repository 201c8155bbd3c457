"""`llmtap ls`: the traces of a folder, as a table."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import islice
from operator import attrgetter
from typing import Annotated, Any

import typer

from ..query.fields import FIELDS
from ..record.row import Row
from .cells import (
    iso,
    outcome_cells,
    seconds_text,
    time_text,
    tokens_text,
    usd_text,
)
from .choices import named, one_of
from .reading import AsJSON, Config, Limit, TraceDir, Words, filter_of, reading, tell_none
from .screen import Cell, Column, print_table, say_json

_COLUMNS = (
    Column("time (UTC)", least=10, keeps_end=True),
    Column("model", least=8),
    Column("status", right=True),
    Column("tokens", right=True, goes=2),
    Column("ttft", right=True, goes=4),
    Column("duration", right=True, goes=3),
    Column("cause", least=6),
    Column("cost", right=True, goes=1),
    Column("id", least=12),
)


class Order(StrEnum):
    """By what to sort: what the API sorts by, the model, and both kinds of tokens together."""

    TIME = "time"
    RECEIVED = "received"  # the API's name of the same
    MODEL = "model"
    STATUS = "status"
    TOKENS = "tokens"
    IN = "in"
    OUT = "out"
    CACHED = "cached"
    REASONING = "reasoning"
    TTFT = "ttft"
    DURATION = "duration"
    OVERHEAD = "overhead"
    COST = "cost"


def command(
    words: Words = None,
    trace_dir: TraceDir = None,
    config: Config = None,
    limit: Limit = 20,
    sort: Annotated[
        Order,
        typer.Option(
            parser=one_of(Order), metavar=named(Order), help="The latest or largest first."
        ),
    ] = Order.TIME,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    as_json: AsJSON = False,
) -> None:
    """List traces.

    The newest first, times in UTC. `llmtap filters` explains the filter.

    \b
    llmtap ls 'status:>=400 since:2h'
    llmtap ls --sort cost --limit 5 'model:gpt*' -path:/models
    llmtap ls --json --limit 0 cause:client_disconnected
    """
    node, _ = filter_of(words)
    with reading(trace_dir, config) as folder:
        from .looking import hits  # noqa: PLC0415  the providers' forms: not at the start

        rows = (hit.row for hit in hits(folder, node))
        chosen = _ordered(rows, sort, limit + 1 if limit else None, reverse=reverse)
        shown = chosen[: limit or None]
        if as_json:
            for row in shown:
                say_json({"received_at": iso(row.received_us), **row._asdict()})
        elif shown:
            print_table(_COLUMNS, [_cells(row) for row in shown])
        else:
            tell_none(folder)
        if len(chosen) > len(shown):
            print(f"the first {limit}; --limit 0 for all", file=sys.stderr)  # noqa: T201


def _cells(row: Row) -> list[Cell]:
    return [
        (time_text(row.received_us), "dim"),
        (row.model or row.path, ""),
        outcome_cells(row)[0],
        (tokens_text(row), ""),
        (seconds_text(row.ttft_ms), ""),
        (seconds_text(row.duration_ms), ""),
        outcome_cells(row)[1],
        (usd_text(row.cost_usd), ""),
        (row.id, "dim"),
    ]


def _ordered(rows: Iterator[Row], sort: Order, most: int | None, *, reverse: bool) -> list[Row]:
    """What is unknown comes last, either way; of equals the newest first."""
    if sort in (Order.TIME, Order.RECEIVED) and not reverse:
        return list(islice(rows, most))
    value_of = _VALUES[sort]
    known: list[Row] = []
    unknown: list[Row] = []
    for row in rows:
        (unknown if value_of(row) is None else known).append(row)
    if most is None:
        known.sort(key=value_of, reverse=not reverse)
    else:
        pick = heapq.nsmallest if reverse else heapq.nlargest
        known = pick(most, known, key=value_of)
    return [*known, *unknown][:most]


def _tokens(row: Row) -> int | None:
    if row.input_tokens is None and row.output_tokens is None:
        return None
    return (row.input_tokens or 0) + (row.output_tokens or 0)


# Of each order all values are of one type, or None.
_VALUES: dict[Order, Callable[[Row], Any]] = {
    Order.TIME: attrgetter("received_us"),
    Order.RECEIVED: attrgetter("received_us"),
    Order.TOKENS: _tokens,
    **{order: attrgetter(FIELDS[order.value].column) for order in Order if order.value in FIELDS},
}
