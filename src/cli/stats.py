"""`llmtap stats`: what a folder's traces add up to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from ..query.groups import Group
from ..record.figures import Figures, Value, percentile, summed
from ..record.row import Row
from .cells import count_text, iso, seconds_text, time_text, usd_text
from .choices import among
from .reading import AsJSON, Config, TraceDir, Words, filter_of, reading
from .screen import Cell, Column, print_table, say_json

_FIGURES = (
    Column("requests", right=True),
    Column("errors", right=True, goes=2),
    Column("in", right=True, goes=1),
    Column("cached", right=True, goes=5),
    Column("out", right=True, goes=1),
    Column("cost", right=True),
    Column("ttft p50", right=True, goes=4),
    Column("p95", right=True, goes=6),
    Column("duration p50", right=True, goes=3),
    Column("p95", right=True, goes=7),
)


_DAY = "day"
_BY = (_DAY, *Group)


def command(
    words: Words = None,
    trace_dir: TraceDir = None,
    config: Config = None,
    by: Annotated[
        str,
        typer.Option(
            parser=partial(among, _BY), metavar="WHAT", help=f"One line for each {', '.join(_BY)}."
        ),
    ] = _DAY,
    as_json: AsJSON = False,
) -> None:
    """Add traces up.

    Counts, errors (all that did not end ok), tokens, cost and times, one line a group and one for
    all; days are UTC's. A cost with a + leaves out requests that were not free, but whose price is
    not known.

    \b
    llmtap stats
    llmtap stats --by model since:7d
    llmtap stats --by status key:alice
    """
    node, _ = filter_of(words)
    with reading(trace_dir, config) as folder:
        from .looking import hits  # noqa: PLC0415  the providers' forms: not at the start

        groups, total = summed((hit.row for hit in hits(folder, node)), _group_of(by))
        ordered = sorted(groups.items(), key=_last, reverse=True)
        if as_json:
            for name, figures in ordered:
                say_json({by: name, **_told(figures)})
        else:
            lines = [
                [("-" if name is None else str(name), ""), *_cells(figures)]
                for name, figures in ordered
            ]
            lines.append([("all", "bold"), *_cells(total)])
            print_table((_names(by), *_FIGURES), lines)


def _names(by: str) -> Column:
    """Of paths, the ends tell more."""
    return Column(by, least=24, keeps_end=True) if by == Group.PATH else Column(by, least=10)


def _group_of(by: str) -> Callable[[Row], Value]:
    if by == _DAY:
        return lambda row: time_text(row.received_us)[:10]
    return Group(by).of


def _last(item: tuple[Value, Figures]) -> tuple[int, str]:
    return item[1].last_us, "" if item[0] is None else str(item[0])


def _cells(figures: Figures) -> list[Cell]:
    more = "+" if figures.unpriced else ""
    cost = usd_text(figures.cost_usd) + more if figures.priced else "-"
    return [
        (str(figures.requests), ""),
        (str(figures.errors), "red" if figures.errors else "dim"),
        (count_text(figures.input_tokens), ""),
        (count_text(figures.cache_read_tokens), ""),
        (count_text(figures.output_tokens), ""),
        (cost, ""),
        *((seconds_text(percentile(figures.ttfts, percent)), "") for percent in (50, 95)),
        *((seconds_text(percentile(figures.durations, percent)), "") for percent in (50, 95)),
    ]


def _told(figures: Figures) -> dict[str, object]:
    return {
        "requests": figures.requests,
        "errors": figures.errors,
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "cache_read_tokens": figures.cache_read_tokens,
        "cost_usd": round(figures.cost_usd, 9) if figures.priced else None,
        "priced": figures.priced,
        "unpriced": figures.unpriced,
        "first_at": iso(figures.first_us),
        "last_at": iso(figures.last_us),
        **{f"ttft_ms_p{p}": percentile(figures.ttfts, p) for p in (50, 95, 99)},
        **{f"duration_ms_p{p}": percentile(figures.durations, p) for p in (50, 95, 99)},
    }
