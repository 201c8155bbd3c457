"""What the API answers, as its OpenAPI document says it, and how it is made of rows."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from ..live.tail import Running
from ..models.endings import StateName
from ..record.row import Row
from ..store.reader import SessionRow
from ..store.stats import Bucket

_HIDDEN = frozenset({"file", "received_us"})  # where it lies is nobody's business; `received_at`


class Answer(BaseModel):
    """No part is missing; null is unknown."""

    model_config = ConfigDict(extra="forbid")


def _row_model() -> type[BaseModel]:
    hints = get_type_hints(Row)
    shown: dict[str, Any] = {  # types, as create_model takes them
        name: (hints[name], ...) for name in Row._fields if name not in _HIDDEN
    }
    at = (str, Field(description="RFC 3339, UTC"))
    return create_model("RequestRow", __base__=Answer, received_at=at, **shown)


RequestRow = _row_model()


class RequestPage(Answer):
    """`cursor`: for the next page; null where there is none."""

    requests: list[RequestRow]  # type: ignore[valid-type]  # made from Row, above
    cursor: str | None


class Excerpt(Answer):
    """A place in what was said."""

    part: str
    before: str
    found: str
    after: str


class SearchHit(Answer):
    """A request and where the words stand in it; none where its trace is gone by now."""

    request: RequestRow  # type: ignore[valid-type]
    excerpts: list[Excerpt]


class SearchPage(Answer):
    """As RequestPage."""

    hits: list[SearchHit]
    cursor: str | None


class Session(Answer):
    """An agent run, as far as it is one key's."""

    session_id: str
    key_label: str | None
    first_at: str
    last_at: str
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class SessionsPage(Answer):
    """As RequestPage; the one with the latest request first."""

    sessions: list[Session]
    cursor: str | None


class Percentiles(Answer):
    """Milliseconds, within 2%."""

    p50: float | None
    p95: float | None
    p99: float | None


class StatsBucket(Answer):
    """`errors`: ended otherwise than `ok`. `cost_usd`: of the `priced` requests whose cost is
    known."""

    start_at: str | None
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


class Stats(Answer):
    """`since_at`: null where nothing bounds it."""

    since_at: str | None
    until_at: str | None
    bucket: str | None
    by: str | None
    buckets: list[StatsBucket]


class Me(Answer):
    """Who looks. `open`: there are no keys, and this machine sees all."""

    admin: bool
    key_label: str | None
    open: bool


class Error(Answer):
    """`position` and `length`: characters of the filter."""

    type: str
    message: str
    parameter: str | None = None
    position: int | None = None
    length: int | None = None


class ErrorAnswer(Answer):
    """Every answer that is none."""

    error: Error


class TraceDocument(BaseModel):
    """A trace; its own schema is src/models/trace.schema.json."""

    model_config = ConfigDict(extra="allow")

    id: str
    state: StateName


def iso(us: int) -> str:
    """Microseconds since 1970 as RFC 3339."""
    seconds, part = divmod(us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{part:06d}Z"


def row_of(row: Row) -> dict[str, object]:
    """RequestRow."""
    told = row._asdict()
    told["received_at"] = iso(told.pop("received_us"))
    del told["file"]
    return told


def session_of(session: SessionRow) -> dict[str, object]:
    """Session."""
    told = asdict(session)
    for name in ("first", "last"):
        told[f"{name}_at"] = iso(told.pop(f"{name}_us"))
    return told


def bucket_of(bucket: Bucket) -> dict[str, object]:
    """StatsBucket."""
    told = {field.name: getattr(bucket, field.name) for field in fields(bucket)}
    start_us = told.pop("start_us")
    told["start_at"] = iso(start_us) if start_us is not None else None
    for name in ("duration_ms", "ttft_ms"):
        told[name] = told[name]._asdict()
    return told


def live_of(running: Running) -> dict[str, object]:
    """What is known of a request that runs."""
    live, row = running.live, running.row
    return {
        "id": row.id,
        "received_at": iso(row.received_us),
        "provider": row.provider,
        "model": live.model,
        "upstream": row.upstream,
        "method": row.method,
        "path": row.path,
        "status": live.answered.status if live.answered is not None else None,
        "request_bytes": live.request_bytes,
        "response_bytes": live.response_bytes,
        "events": live.events,
        "elapsed_ms": round(running.elapsed_s() * 1000, 3),
    }
