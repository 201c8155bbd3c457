"""Errors as the API tells them: JSON, what would be right, never what was sent.

{"error": {"type": "bad_filter", "message": "…", "parameter": "q", "position": 7, "length": 3}}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..query.errors import FilterError
from ..store.engine import StoreError, was_too_long
from ..utils.redaction import redact_text

log = logging.getLogger("llmtap.web")

_SHOWN_NAME = 40
_TYPES = {404: "not_found", 405: "method_not_allowed"}


class Refusal(Exception):
    """Ends a request with this answer, `delay_s` later. `more` stands beside type and message."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        delay_s: float = 0.0,
        **more: object,
    ) -> None:
        super().__init__(message)
        self.delay_s = delay_s
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, object] = {"type": kind, "message": message, **more}

    def response(self) -> Response:
        """The answer."""
        return error_response(self.status, self.body, self.headers)


def not_found() -> Refusal:
    """Also for what is there and somebody else's: nobody is told which."""
    return Refusal(404, "not_found", "there is no such request")


def gone() -> Refusal:
    """Only for what whoever asks may see."""
    return Refusal(
        410,
        "gone",
        "its trace was deleted; its row goes, too, at the latest by llmtap index",
    )


def bad_filter(error: FilterError) -> Refusal:
    """A mistake in `q`, with its place."""
    return Refusal(
        422,
        "bad_filter",
        redact_text(error.message),
        parameter="q",
        position=error.position,
        length=error.length,
    )


def bad_parameter(name: str, message: str) -> Refusal:
    """A parameter that is wrong in itself."""
    return Refusal(422, "bad_parameter", message, parameter=name)


def error_response(
    status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> Response:
    """`body` below `error`, as JSON."""
    content = orjson.dumps({"error": body})
    return Response(content, status, dict(headers or {}), "application/json")


def error_bytes(status: int, kind: str, message: str) -> bytes:
    """The same as bytes, where there is no request yet."""
    content = orjson.dumps({"error": {"type": kind, "message": message}})
    return (
        b"HTTP/1.1 %d \r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%b" % (status, len(content), content)
    )


def install(app: FastAPI) -> None:
    """Every error the app can end with is told in this way."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(FilterError, _bad_filter)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreError, _store)
    app.add_exception_handler(SQLAlchemyError, _store)
    app.add_exception_handler(TimeoutError, _too_long)
    app.add_exception_handler(Exception, _failed)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101  as installed
    return error.response()


async def _bad_filter(_: Request, error: Exception) -> Response:
    assert isinstance(error, FilterError)  # noqa: S101  as installed
    return bad_filter(error).response()


async def _invalid(_: Request, error: Exception) -> Response:
    """FastAPI's own would send the input back."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  as installed
    first: Mapping[str, Any] = error.errors()[0]
    name = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":
        shown = name if len(name) <= _SHOWN_NAME and name.isidentifier() else "one"
        message = f"unknown parameter {shown}; /api/openapi.json names those there are"
        return Refusal(422, "unknown_parameter", message).response()
    message = str(first["msg"]).removeprefix("Value error, ")
    return bad_parameter(name, message).response()


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  as installed
    body = {"type": _TYPES.get(error.status_code, "error"), "message": error.detail}
    return error_response(error.status_code, body, error.headers)


async def _store(request: Request, error: Exception) -> Response:
    if isinstance(error, DBAPIError) and was_too_long(error):
        return await _too_long(request, error)
    if isinstance(error, StoreError):
        message = str(error)
    else:
        log.warning("the store does not answer: %s", type(error).__name__)
        message = "the store does not answer; try again"
    return error_response(
        503, {"type": "store_unavailable", "message": message}, {"Retry-After": "2"}
    )


async def _too_long(_: Request, error: Exception) -> Response:
    del error
    message = "this took too long; ask for less, by since: and a narrower filter"
    return error_response(503, {"type": "too_slow", "message": message}, {"Retry-After": "10"})


async def _failed(request: Request, error: Exception) -> Response:
    """Starlette logs it with its traceback."""
    del request, error
    return error_response(500, {"type": "internal_error", "message": "it is in the log"})
