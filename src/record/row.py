"""The row of a trace: what lists, filters and sums need, and where the trace lies.

Made from the document alone, so that an index of rows can be made again at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from .conversation import answer_of
from .parts import Turn
from .reading import array, mapping
from .texts import tools_called

Document = Mapping[str, Any]  # a parsed trace, of this version of the schema or a later one


class Row(NamedTuple):
    """One finished exchange. None is unknown, 0 is zero. A tuple: there are many of them.

    `received_us`: microseconds since 1970, UTC. `file`: the trace's path below the trace folder,
    with slashes. `*_ms` are milliseconds, `cost_usd` US dollars, `*_bytes` bytes on the wire.
    `tools`: the tools the answer calls, each once. `path` is the request's, without its query.
    """

    id: str
    received_us: int
    file: str
    state: str
    provider: str
    model: str | None
    operation: str
    upstream: str | None
    method: str
    path: str
    status: int | None
    cause: str
    phase: str
    error_type: str | None
    error_message: str | None
    duration_ms: float | None
    ttft_ms: float | None
    overhead_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    usage_source: str
    cost_usd: float | None
    cost_source: str | None
    session_id: str | None
    parent_id: str | None
    key_label: str | None
    key_fingerprint: str | None
    client_address: str | None
    user_agent: str | None
    streamed: bool
    attempts: int
    request_bytes: int
    response_bytes: int
    tags: tuple[str, ...]
    tools: tuple[str, ...]


def row_of(document: Document, file: str, answer: tuple[Turn, ...] | None = None) -> Row:
    """The row of a trace; `answer` as `answer_of` gives it, where that was asked already. Raises
    KeyError, TypeError or ValueError for what is no trace."""
    summary, usage, cost = document["summary"], document["usage"], document["cost"] or {}
    client, session, timing = document["client"], document["session"], document["timing"]
    request, response, error = document["request"], document["response"], document["error"] or {}
    upstream = document["upstream"] or {}
    return Row(
        id=document["id"],
        received_us=microseconds(timing["received_at"]),
        file=file,
        state=document["state"],
        provider=summary["provider"],
        model=summary["model"],
        operation=summary["operation"],
        upstream=upstream.get("name"),
        method=request["method"],
        path=request["path"],
        status=summary["status"],
        cause=summary["cause"],
        phase=document["termination"]["phase"],
        error_type=error.get("type"),
        error_message=error.get("message"),
        duration_ms=summary["duration_ms"],
        ttft_ms=summary["ttft_ms"],
        overhead_ms=timing["overhead_ms"],
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cache_read_tokens=usage["cache_read_tokens"],
        cache_write_tokens=usage["cache_write_tokens"],
        reasoning_tokens=usage["reasoning_tokens"],
        usage_source=usage["source"],
        cost_usd=summary["cost_usd"],
        cost_source=cost.get("source"),
        session_id=session["id"],
        parent_id=session["parent_id"],
        key_label=client["key_label"],
        key_fingerprint=client["key_fingerprint"],
        client_address=client["address"],
        user_agent=client["user_agent"],
        streamed=document["stream"] is not None,
        attempts=len(upstream.get("attempts") or ()),
        request_bytes=(request["body"] or {}).get("wire_bytes") or 0,
        response_bytes=((response or {}).get("body") or {}).get("wire_bytes") or 0,
        tags=tuple(document["tags"]),
        tools=_tools(document, answer_of(document) if answer is None else answer),
    )


def keep_tools(document: dict[str, Any]) -> None:
    """Leave the names of the called tools in `ext`, under the name of the middleware that traces:
    `row_of` finds them there when the answer is gone."""
    if tools := _tools(document, answer_of(document)):
        document["ext"]["trace"] = {**mapping(document["ext"].get("trace")), "tools": list(tools)}


def _tools(document: Document, answer: tuple[Turn, ...]) -> tuple[str, ...]:
    if called := tools_called(answer):
        return called
    kept = array(mapping(mapping(document.get("ext")).get("trace")).get("tools"))
    return tuple(name for name in kept if isinstance(name, str))


def microseconds(timestamp: str) -> int:
    """RFC 3339 as microseconds since 1970. Raises ValueError."""
    at = datetime.fromisoformat(timestamp)
    return int(at.timestamp()) * 1_000_000 + at.microsecond
