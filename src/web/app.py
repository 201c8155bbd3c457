"""The query API as an ASGI application.

Guards (host, bounds, headers) ──▶ FastAPI ──▶ look: who asks? ──▶ endpoint(View, what is asked)
"""

from __future__ import annotations

import orjson
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from .. import __version__
from ..store.engine import StoreError
from .endpoints import router
from .errors import install
from .guards import Guards
from .view import Site


def make_app(site: Site, host: str, hosts: tuple[str, ...] = ()) -> ASGIApp:
    """The application. `host`: what is listened on, `hosts`: names it may be called by besides."""
    app = FastAPI(
        title="llmtap",
        version=__version__,
        description="Requests that went through llmtap. Every answer is JSON; GET changes nothing.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.site = site
    install(app)
    app.include_router(router)
    for path, probe in (("/health", _alive), ("/liveness", _alive), ("/readiness", _ready)):
        app.add_api_route(path, probe, methods=["GET", "HEAD"], include_in_schema=False)
    return Guards(app, host, hosts)


async def _alive() -> Response:
    return _told(200, {"status": "ok"})


async def _ready(request: Request) -> Response:
    """Ready means that the store answers."""
    site: Site = request.app.state.site
    try:
        await site.reader.check()
    except StoreError as error:
        return _told(503, {"status": "not ready", "reason": str(error)})
    except (SQLAlchemyError, OSError):
        return _told(503, {"status": "not ready", "reason": "the store does not answer"})
    return _told(200, {"status": "ready"})


def _told(status: int, value: dict[str, str]) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
