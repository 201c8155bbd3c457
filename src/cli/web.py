"""The web process of a program that has a `web:` section: its port, and what it is told."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from ..config.middlewares import inspect_middleware
from ..config.settings import Settings, Web
from ..keys.hashing import digest_of
from ..middlewares.auth import AuthOptions
from ..web.child import WebProcess
from ..web.settings import WebProcessSettings, tell
from .announce import url_of
from .listening import BACKLOG, bind

log = logging.getLogger("llmtap.web")


@contextmanager
def beside(settings: Settings, web: Web) -> Iterator[WebProcess]:
    """The web process, for as long as the program serves. Raises ListenError, OSError."""
    sockets = bind(web.host, web.port)
    for sock in sockets:
        sock.set_inheritable(False)  # it alone gets them
        sock.listen(BACKLOG)  # who comes before it is up, waits
    told = _told(settings, web, sockets)
    process = WebProcess(told, sockets)
    try:
        process.start()
        if not settings.quiet:
            log.info("web %s/api", url_of(web.host, sockets[0].getsockname()[1]))
        if told.is_open:
            log.info("web has no keys: whoever uses this machine sees all; give web.admin_key")
        yield process
    finally:
        process.stop()


def _told(settings: Settings, web: Web, sockets: list[socket.socket]) -> WebProcessSettings:
    admin = _admin(web)
    auth = _auth(settings)
    return WebProcessSettings(
        trace_dir=str(settings.trace_folder().resolve()),
        host=web.host,
        database_url=settings.store.database_url if settings.store is not None else None,
        sockets=[sock.fileno() for sock in sockets],
        hosts=list(web.hosts),
        admin=admin.hex() if admin is not None else None,
        written=tell(auth.written()) if auth is not None else [],
        from_file=tell(auth.read()) if auth is not None else [],
        keys_file=str(auth.keys_file) if auth is not None and auth.keys_file else None,
        reload_s=auth.reload_s if auth is not None else 0.5,
        is_open=admin is None and auth is None,
        query_s=web.query_s,
        log_level=settings.log_level,
    )


def _admin(web: Web) -> bytes | None:
    if web.admin_key is not None:
        return sha256(web.admin_key.get_secret_value().encode()).digest()
    if web.admin_key_hash is not None:
        return digest_of(web.admin_key_hash.get_secret_value())
    return None


def _auth(settings: Settings) -> AuthOptions | None:
    """The options of the chain's `auth`: its keys are those that see their own."""
    for spec in settings.middlewares:
        _, options, _ = inspect_middleware(spec)
        if isinstance(options, AuthOptions):
            return options
    return None
