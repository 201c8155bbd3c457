"""The figures as Markdown: medians with ranges, ratios pair by pair, asked against measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from bench.measure import RequestRound, StreamRound
from bench.traces import Traces

Round = TypeVar("Round")
DIRECT, NGINX, PLAIN, TRACED = "direct", "nginx", "llmtap, no tracing", "llmtap, tracing"


@dataclass(slots=True)
class Results:
    """Rounds by system, in the order they were run; the i-th of each belong together.

    machine, date, how: of the run, for a reader; counts_said: requests and traces by the
    program's own last lines.
    """

    machine: str
    date: str
    how: str
    requests: dict[str, list[RequestRound]] = field(default_factory=dict)
    streams: dict[str, list[StreamRound]] = field(default_factory=dict)
    long: dict[str, list[StreamRound]] = field(default_factory=dict)
    starts_s: list[float] = field(default_factory=list)
    counts_said: list[tuple[int, int]] = field(default_factory=list)


def markdown(results: Results) -> str:
    parts = ["# What llmtap costs", _setting(results)]
    parts += ["## Asked and measured", _asked(results)]
    if results.requests:
        parts += ["## Requests, 64 connections", _many(results)]
        parts += ["## Requests, one connection", _one(results)]
    if results.streams:
        parts += ["## 500 streams of 50 events a second, 2 s each", _streams(results.streams)]
    if results.long:
        parts += ["## 500 streams of 50 events a second, 10 s each", _streams(results.long)]
    parts += ["## Traces", _traces(results)]
    return "\n\n".join(parts) + "\n"


def _setting(results: Results) -> str:
    return (
        f"{results.date}, {results.machine}.\n\n{results.how} The proxy with all its processes has "
        "one core, the upstream and the load the other; nginx is one worker with proxy_buffering "
        "off. Each figure is the median (least to most) over the rounds; the systems take turns, "
        "and a ratio is taken within a round: ratios are what a noisy machine can tell. "
        "`python -m bench.run --write` makes this page."
    )


# --- asked and measured ---


def _asked(results: Results) -> str:
    requests, streams = results.requests, results.streams
    traced = streams.get(TRACED, [])
    rows = [
        _row(
            "requests/s without tracing, of nginx's ≥ 0.40",
            _ratios(requests, PLAIN, lambda r: r.many.per_s),
            lambda x: x >= 0.40,
        ),
        _row(
            "requests/s with tracing, of nginx's ≥ 0.20",
            _ratios(requests, TRACED, lambda r: r.many.per_s),
            lambda x: x >= 0.20,
        ),
        _row(
            "the same, counted until the last trace is written",
            _ratios(requests, TRACED, lambda r: r.per_s_drained),
            lambda x: x >= 0.20,
        ),
        _row(
            "failed requests of llmtap: 0",
            [float(r.many.failed) for name in (PLAIN, TRACED) for r in requests.get(name, [])],
            lambda x: x == 0,
            worst=max,
            digits=0,
        ),
        _row(
            "answered requests without a trace: 0",
            [float(_lost(r.traces)) for r in requests.get(TRACED, [])],
            lambda x: x == 0,
            worst=max,
            digits=0,
        ),
        _row(
            "p50 at one connection with tracing, of nginx's ≤ 2",
            _ratios(requests, TRACED, lambda r: r.one.p50_us),
            lambda x: x <= 2,
        ),
        _row(
            "events/s of 500 streams of 2 s with tracing, of nginx's ≥ 0.98",
            _ratios(streams, TRACED, lambda r: r.streams.events_per_s),
            lambda x: x >= 0.98,
            digits=3,
        ),
        _row(
            "errors in these streams: 0",
            [float(r.streams.errors) for r in traced],
            lambda x: x == 0,
            worst=max,
            digits=0,
        ),
        _row("added delay p99 ≤ 5 ms", _added_ms(streams, TRACED), lambda x: x <= 5),
        _row(
            "the same streams, 10 s each: events/s of nginx's ≥ 0.98",
            _ratios(results.long, TRACED, lambda r: r.streams.events_per_s),
            lambda x: x >= 0.98,
            digits=3,
        ),
        _row(
            "the same streams, 10 s each: added delay p99 ≤ 5 ms",
            _added_ms(results.long, TRACED),
            lambda x: x <= 5,
        ),
        _row(
            "peak memory of all its processes ≤ 150 MB",
            [r.memory.pss_mb for r in traced],
            lambda x: x <= 150,
            worst=max,
            digits=0,
        ),
        _row("start to the first answer < 1 s", results.starts_s, lambda x: x < 1),
    ]
    return _table(("asked", "measured", "holds"), rows)


def _row(
    asked: str,
    values: Sequence[float],
    holds: Callable[[float], bool],
    *,
    worst: Callable[[Sequence[float]], float] = median,
    digits: int = 2,
) -> tuple[str, str, str]:
    """The median decides; where a single bad round is one too many, `worst` does."""
    if not values:
        return asked, "not measured", ""
    return asked, _spread(values, digits), "yes" if holds(worst(values)) else "**no**"


# --- tables ---


def _many(results: Results) -> str:
    rows = []
    for name, rounds in results.requests.items():
        rows.append(
            (
                name,
                _spread([r.many.per_s for r in rounds], 0),
                _spread(_ratios(results.requests, name, lambda r: r.many.per_s), 2),
                _number([r.cpu_us for r in rounds], 1) if name != DIRECT else "",
                f"{sum(r.many.failed for r in rounds)}",
                _spread([r.memory.pss_mb for r in rounds], 0) if name != DIRECT else "",
            )
        )
        if name == TRACED:
            drained = [r.per_s_drained for r in rounds]
            share = _ratios(results.requests, name, lambda r: r.per_s_drained)
            child = _number([r.child_cpu_us for r in rounds], 1)
            title = "… until the last trace is written"
            row = (title, _spread(drained, 0), _spread(share, 2), f"({child} of it the recorder)")
            rows.append((*row, "", ""))
    heads = ("", "requests/s", "of nginx's", "CPU µs a request", "failed", "PSS MB")
    return _table(heads, rows)


def _one(results: Results) -> str:
    rows = [
        (
            name,
            _spread([r.one.p50_us for r in rounds], 0),
            _spread(_ratios(results.requests, name, lambda r: r.one.p50_us), 2),
            _spread([r.one.p99_us for r in rounds], 0),
            _spread(_ratios(results.requests, name, lambda r: r.one.p99_us), 2),
        )
        for name, rounds in results.requests.items()
    ]
    return _table(("", "p50 µs", "of nginx's", "p99 µs", "of nginx's"), rows)


def _streams(streams: dict[str, list[StreamRound]]) -> str:
    rows = [
        (
            name,
            _spread([r.streams.events_per_s for r in rounds], 0),
            _spread(_ratios(streams, name, lambda r: r.streams.events_per_s), 3),
            f"{sum(r.streams.errors for r in rounds)}",
            _spread([r.streams.first_p99_us / 1e3 for r in rounds], 1),
            _spread([r.streams.delay_p50_us / 1e3 for r in rounds], 2),
            _spread([r.streams.delay_p99_us / 1e3 for r in rounds], 2),
            _spread(_added_ms(streams, name), 2) if name != DIRECT else "",
            _spread([r.memory.rss_mb for r in rounds], 0) if name != DIRECT else "",
            _spread([r.memory.pss_mb for r in rounds], 0) if name != DIRECT else "",
        )
        for name, rounds in streams.items()
    ]
    heads = ("", "events/s", "of nginx's", "errors", "first byte p99 ms", "delay p50 ms")
    table = _table((*heads, "delay p99 ms", "added p99 ms", "RSS MB", "PSS MB"), rows)
    return (
        f"{table}\n\nAdded: the round's delay less that of `direct`. Memory: peaks over all "
        "processes of the system; RSS sums their VmHWM, so pages that two share count twice; PSS "
        "counts them once (sampled, five times a second)."
    )


def _traces(results: Results) -> str:
    rows = []
    kinds: list[tuple[str, Sequence[RequestRound | StreamRound]]] = [
        ("requests", results.requests.get(TRACED, [])),
        ("streams", results.streams.get(TRACED, [])),
        ("long streams", results.long.get(TRACED, [])),
    ]
    for kind, rounds in kinds:
        for number, traces in enumerate((r.traces for r in rounds), 1):
            if traces is not None:
                row = (f"{traces.answered}", f"{traces.files}", f"{traces.lost}")
                drained = f"{traces.drain_s:.2f}"
                rows.append(
                    (f"{kind} {number}", *row, drained, f"{traces.short} of {traces.looked_at}")
                )
    heads = ("round", "answered", "files", "lost", "drained after s", "not whole")
    text = (
        "Files may pass the answers by the requests that the load client cut at its end. Not "
        "whole: of some 300 files read, those that lack a body or an event or did not end well."
    )
    unequal = [said for said in results.counts_said if said[0] != said[1]]
    if results.counts_said:
        said = "each time as many" if not unequal else f"not as many: {unequal}"
        text += f" The program's own last line said requests and traces: {said}."
    return f"{_table(heads, rows)}\n\n{text}" if rows else "Not measured."


def _lost(traces: Traces | None) -> int:
    return traces.lost if traces else 0


# --- numbers ---


def _ratios(
    by_system: dict[str, list[Round]], name: str, value: Callable[[Round], float]
) -> list[float]:
    pairs = zip(by_system.get(name, []), by_system.get(NGINX, []), strict=False)
    return [value(ours) / value(nginx) for ours, nginx in pairs if value(nginx)]


def _added_ms(streams: dict[str, list[StreamRound]], name: str) -> list[float]:
    pairs = zip(streams.get(name, []), streams.get(DIRECT, []), strict=False)
    return [(a.streams.delay_p99_us - b.streams.delay_p99_us) / 1e3 for a, b in pairs]


def _number(values: Sequence[float], digits: int) -> str:
    return f"{median(values):,.{digits}f}" if values else ""


def _spread(values: Sequence[float], digits: int) -> str:
    """Median (least to most)."""
    if not values:
        return ""
    low, high = f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"
    return f"{_number(values, digits)} ({low} to {high})" if low != high else low


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
