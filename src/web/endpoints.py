"""The endpoints: each takes what was asked and a `View`, and answers JSON."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.responses import Response, StreamingResponse

from ..query.excerpts import excerpts, searched
from ..query.prefilter import time_bounds
from ..query.scanning import Hit
from ..query.tree import Test
from ..record.row import Row
from ..store.cursors import CursorError
from .asking import (
    BUCKETS_US,
    DocumentAsked,
    Filtered,
    NothingAsked,
    PageAsked,
    SearchAsked,
    SessionsAsked,
    StatsAsked,
    TraceId,
)
from .errors import Refusal, bad_parameter
from .files import NotKeptError, Which
from .models import (
    ErrorAnswer,
    Me,
    RequestPage,
    SearchPage,
    SessionsPage,
    Stats,
    TraceDocument,
    bucket_of,
    iso,
    row_of,
    session_of,
)
from .sending import FileResponse
from .view import Looking, look

_MOST_BUCKETS = 5000
_SHOWN_BUCKETS = 300
_ERRORS = {
    401: "no key, or one that is not known",
    403: "not served to where this comes from",
    422: "a parameter that is wrong, with what would be right",
    429: "too many wrong keys, or too many live feeds",
    503: "the store does not answer, this took too long, or too much is asked at once",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {  # FastAPI's type
    status: {"model": ErrorAnswer, "description": text} for status, text in _ERRORS.items()
}
_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "there is none, or it is somebody else's"},
    410: {"model": ErrorAnswer, "description": "it has just been deleted"},
}

# Whoever looks is asked for here once more: no endpoint of this router goes without.
router = APIRouter(
    prefix="/api",
    dependencies=[
        Depends(look),
        Depends(HTTPBearer(auto_error=False, scheme_name="bearer")),  # for the document only
        Depends(APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header")),
    ],
    responses=_RESPONSES,
)
Id = Annotated[TraceId, Path(description="the trace's id")]


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


@router.get("/me", response_model=Me)
async def me(view: Looking, _: Annotated[NothingAsked, Query()]) -> Response:
    """Who looks."""
    viewer = view.viewer
    return _json(
        {
            "admin": viewer.admin,
            "key_label": None if viewer.admin else viewer.label,
            "open": view.is_open,
        }
    )


@router.get("/requests", response_model=RequestPage)
async def requests(view: Looking, asked: Annotated[PageAsked, Query()]) -> Response:
    """Requests that pass a filter, page by page. What comes in meanwhile shifts no page."""
    try:
        page = await view.page(
            asked.node(), sort=asked.sort, cursor=asked.cursor, limit=asked.limit
        )
    except CursorError as error:
        raise bad_parameter("cursor", str(error)) from None
    return _json({"requests": [row_of(row) for row in page.rows], "cursor": page.cursor})


@router.get("/request/{id}", response_model=TraceDocument, responses=_MISSING)
async def request(
    view: Looking, id: Id, asked: Annotated[DocumentAsked, Query()]  # noqa: A002  the path's name
) -> Response:
    """A whole trace, or with `bodies=0` all but what was said."""
    if asked.bodies == "0":
        return Response(await view.outline(id), media_type="application/json")
    return FileResponse(await view.document(id), {}, "application/json")


@router.get(
    "/request/{id}/body/{which}",
    response_class=Response,
    responses={
        **_MISSING,
        200: {
            "description": "the body, decoded",
            "content": {
                "application/json": {},
                "text/plain": {},
                "application/octet-stream": {},
            },
        },
    },
)
async def body(
    view: Looking,
    id: Id,  # noqa: A002  the path's name
    which: Which,
    _: Annotated[NothingAsked, Query()],
) -> Response:
    """One body of a trace, decoded: JSON, text (a stream as it came), or bytes."""
    try:
        found = await view.body(id, which)
    except NotKeptError as error:
        raise Refusal(404, "body_not_kept", str(error)) from None
    headers = {"Content-Disposition": f'attachment; filename="{id}.{which}"'}
    if isinstance(found.data, bytes):
        return Response(found.data, headers=headers, media_type=found.media_type)
    return FileResponse(found.data, headers, found.media_type)


@router.get("/sessions", response_model=SessionsPage)
async def sessions(view: Looking, asked: Annotated[SessionsAsked, Query()]) -> Response:
    """Agent runs."""
    try:
        page = await view.sessions(cursor=asked.cursor, limit=asked.limit)
    except CursorError as error:
        raise bad_parameter("cursor", str(error)) from None
    return _json({"sessions": [session_of(each) for each in page.sessions], "cursor": page.cursor})


@router.get("/stats", response_model=Stats)
async def stats(view: Looking, asked: Annotated[StatsAsked, Query()]) -> Response:
    """Counts, tokens, cost and percentiles: over time, by a field, or both."""
    node = asked.node()
    since_us, until_us = time_bounds(node)
    bucket_us = BUCKETS_US[asked.bucket] if asked.bucket is not None else None
    if bucket_us is not None:
        since_us = _since(since_us, until_us, bucket_us)
    found = await view.stats(
        node,
        since_us=since_us,
        until_us=until_us,
        bucket_us=bucket_us,
        by=asked.by.column if asked.by is not None else None,
    )
    return _json(
        {
            "since_at": iso(since_us) if since_us is not None else None,
            "until_at": iso(until_us) if until_us is not None else None,
            "bucket": asked.bucket,
            "by": asked.by,
            "buckets": [bucket_of(bucket) for bucket in found],
        }
    )


def _since(since_us: int | None, until_us: int | None, bucket_us: int) -> int:
    """Where nothing is said, the latest buckets. Raises Refusal for more than can be shown."""
    until = until_us if until_us is not None else time.time_ns() // 1000
    if since_us is None:
        return max(until - _SHOWN_BUCKETS * bucket_us, 0) // bucket_us * bucket_us
    if (until - since_us) // bucket_us > _MOST_BUCKETS:
        text = (
            f"is too fine: more than {_MOST_BUCKETS} of them; take a longer one or a later since:"
        )
        raise bad_parameter("bucket", text)
    return since_us


@router.get("/search", response_model=SearchPage)
async def search(view: Looking, asked: Annotated[SearchAsked, Query()]) -> Response:
    """Where something was said, with what stands around it."""
    node = asked.node()
    tests = searched(node)
    if not tests:
        raise bad_parameter("q", "asks for no words; give some, like timeout or answer:sorry")
    try:
        page = await view.page(node, sort="-received", cursor=asked.cursor, limit=asked.limit)
    except CursorError as error:
        raise bad_parameter("cursor", str(error)) from None
    hits = await view.hits(page, partial(_hit, tests, asked.each))
    return _json({"hits": hits, "cursor": page.cursor})


def _hit(tests: tuple[Test, ...], each: int, row: Row, hit: Hit | None) -> dict[str, object]:
    places = excerpts(tests, hit.texts(), each) if hit is not None else ()
    return {"request": row_of(row), "excerpts": [asdict(place) for place in places]}


@router.get(
    "/live",
    response_class=StreamingResponse,
    responses={200: {"description": "server-sent events", "content": {"text/event-stream": {}}}},
)
async def live(
    view: Looking,
    asked: Annotated[Filtered, Query()],
    last_event_id: Annotated[
        str | None, Header(description="nothing is sent again: `missed`")
    ] = None,
) -> Response:
    """Requests as they arrive, their progress while they stream, their end."""
    return view.live(asked.node(), was_away=last_event_id is not None)
