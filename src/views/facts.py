"""The figures of a trace as short lines: what it was, how long it took, how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..utils.inert import inert_line
from .lines import Line, Style


def head(document: Mapping[str, Any]) -> Iterator[Line]:
    """What was asked, of whom, and in which session."""
    summary, request, session = document["summary"], document["request"], document["session"]
    query = "" if request["query"] is None else f"?{request['query']}"
    yield Line(f"{document['id']}  {document['timing']['received_at']}", Style.TITLE)
    yield _line(f"{request['method']} {request['path']}{query}")
    model = summary["model"] or "no model"
    yield _line(f"{summary['provider']} · {model} · {summary['operation']}")
    if session["id"] is not None:
        parent = f", continues {session['parent_id']}" if session["parent_id"] else ""
        yield _line(f"session {session['id']} ({session['source']}){parent}", Style.DIM)
    client = document["client"]
    who = [client["key_label"], client["user_agent"], client["address"]]
    if any(who):
        yield _line(f"from {' · '.join(part for part in who if part)}", Style.DIM)
    if document["tags"]:
        yield _line(f"tags {' '.join(map(str, document['tags']))}", Style.DIM)


def end(document: Mapping[str, Any]) -> Iterator[Line]:
    """How it ended, what it took, what it cost."""
    yield _ended(document)
    if (error := document["error"]) is not None:
        told = ": ".join(part for part in (error["type"], error["message"]) if part)
        yield _line(f"error {told or 'without a word'} ({error['source']})", Style.BAD)
    yield _line(_timing(document["timing"]))
    if used := usage(document["usage"]):
        yield _line(used)
    if (cost := document["cost"]) is not None:
        yield _line(f"cost ${cost['usd']:.6f} ({cost['source']})")
    yield from _attempts(document["upstream"]["attempts"])


def _ended(document: Mapping[str, Any]) -> Line:
    summary, ended = document["summary"], document["termination"]
    status = "no answer" if summary["status"] is None else str(summary["status"])
    detail = f": {ended['detail']}" if ended["detail"] else ""
    style = Style.GOOD if ended["cause"] == "ok" else Style.BAD
    return _line(f"{status} {ended['cause']} in {ended['phase']}{detail}", style)


def _timing(timing: Mapping[str, Any]) -> str:
    shown = [
        ("took", timing["finished_ms"]),
        ("first token", timing["first_token_ms"]),
        ("headers", timing["upstream_headers_ms"]),
        ("longest gap", timing["max_gap_ms"]),
        ("overhead", timing["overhead_ms"]),
    ]
    parts = [f"{name} {duration(value)}" for name, value in shown if value is not None]
    if (speed := timing["output_tokens_per_s"]) is not None:
        parts.append(f"{speed:,.1f} tokens/s")
    return " · ".join(parts) or "no times"


def usage(used: Mapping[str, Any]) -> str:
    """`1,812 in (1,800 from the cache), 31 out`; "" where nothing is known."""
    parts = []
    if used["input_tokens"] is not None:
        extra = [
            f"{used[name]:,} {what}"
            for name, what in (
                ("cache_read_tokens", "from the cache"),
                ("cache_write_tokens", "into the cache"),
            )
            if used[name]
        ]
        parts.append(f"{used['input_tokens']:,} in" + (f" ({', '.join(extra)})" if extra else ""))
    if used["output_tokens"] is not None:
        reasoned = f" ({used['reasoning_tokens']:,} reasoning)" if used["reasoning_tokens"] else ""
        parts.append(f"{used['output_tokens']:,} out{reasoned}")
    if not parts:
        return ""
    return f"tokens {', '.join(parts)}" + (", estimated" if used["source"] == "estimated" else "")


def _attempts(attempts: list[Mapping[str, Any]]) -> Iterator[Line]:
    """Only where there was more than one."""
    for number, tried in enumerate(attempts if len(attempts) > 1 else [], 1):
        became = tried["error"] or tried["status"]
        key = f" with {tried['key_label']}" if tried["key_label"] else ""
        yield _line(f"try {number}{key} at {duration(tried['started_ms'])}: {became}", Style.DIM)


def duration(ms: float) -> str:
    """`3.2 ms`, `424 ms`, `12.3 s`, `4 min 5 s`"""
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes} min {seconds} s"


def _line(text: str, style: Style = Style.PLAIN) -> Line:
    return Line(inert_line(text), style)
