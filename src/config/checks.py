"""What no single value tells: upstreams that collide, members of the chain, folders, processes."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from ..utils.addresses import is_loopback
from .errors import Loc, Problem
from .explain import show
from .middlewares import inspect_middleware
from .settings import Settings, StoreSettings
from .upstreams import check_upstreams, with_addresses


def check(settings: Settings, place: Callable[[Loc], str]) -> tuple[Settings, list[Problem]]:
    """The settings completed (addresses, places of the chain's members), and all that is wrong."""
    chain = tuple(
        replace(spec, where=place(("middlewares", index)))
        for index, spec in enumerate(settings.middlewares)
    )
    upstreams = with_addresses(settings.upstreams)
    store = settings.store
    if store is None and settings.web is not None:
        store = StoreSettings()  # what the API reads
    settings = settings.model_copy(
        update={"middlewares": chain, "upstreams": upstreams, "store": store}
    )
    return settings, [
        *_check_processes(settings),
        *check_upstreams(upstreams),
        *_check_certificates(settings),
        *_check_chain(settings),
        *_check_trace_dir(settings),
        *_check_web(settings),
    ]


def _check_processes(settings: Settings) -> Iterator[Problem]:
    if settings.reload and settings.workers > 1:
        yield Problem(("reload",), "serves with one process only; take out reload or workers")


def _check_certificates(settings: Settings) -> Iterator[Problem]:
    for index, upstream in enumerate(settings.upstreams):
        if upstream.ca_file is None:
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(upstream.ca_file)
        except (ssl.SSLError, OSError):
            text = "holds no certificate that can be read; give a PEM file"
            yield Problem(("upstreams", index, "ca_file"), text)


def _check_chain(settings: Settings) -> Iterator[Problem]:
    gated = False
    for index, spec in enumerate(settings.middlewares):
        found, options, problems = inspect_middleware(spec)
        # One that is not found is told already, and may have been the one that asks for keys.
        gated = gated or found is None or getattr(found, "authenticates", False) is True
        if not problems:
            problems = list(_check_member(spec.name, found, options, settings))
        for problem in problems:
            yield replace(problem, loc=("middlewares", index, *problem.loc))
    if not (gated or settings.allow_open or is_loopback(settings.host)):
        yield Problem(("host",), _OPEN.format(show(settings.host)))  # reliability 105


_OPEN = (
    "is {}, which other machines reach, and nothing asks them for a key;"
    " put auth into middlewares, or give --allow-open"
)


def _check_web(settings: Settings) -> Iterator[Problem]:
    web = settings.web
    if web is None:
        return
    has_keys = web.has_admin or any(spec.name == "auth" for spec in settings.middlewares)
    if not (has_keys or is_loopback(web.host)):  # reliability 105
        yield Problem(("web", "host"), _OPEN_WEB.format(show(web.host)))
    if web.port and web.port == settings.port:
        text = f"is {web.port}, which the proxy listens on; choose another"
        yield Problem(("web", "port"), text)


_OPEN_WEB = (
    "is {}, which other machines reach, and there is no key to ask them for;"
    " give web.admin_key, as llmtap keys new makes one"
)


def _check_member(
    name: str, found: type | None, options: BaseModel | None, settings: Settings
) -> Iterator[Problem]:
    """What a class itself finds wrong with its options in these settings: a classmethod
    `check(options, settings)` that gives `problem; what to do`, one each."""
    own = getattr(found, "check", None)
    if callable(own):
        for text in own(options, settings):
            yield Problem((name,), text)


def _check_trace_dir(settings: Settings) -> Iterator[Problem]:
    """Nothing is created: `check` leaves no traces."""
    if not any(spec.name == "trace" for spec in settings.middlewares):
        return
    folder = settings.trace_dir
    if folder.exists() and not folder.is_dir():
        yield Problem(("trace_dir",), f"{folder} is no folder; give another")
        return
    above = _nearest(folder)
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        yield Problem(
            ("trace_dir",), f"{folder} cannot be written; change its rights or give another"
        )


def _nearest(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
