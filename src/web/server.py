"""The web process: `python -m <package>.web.server`, started by `child.py`.

Settings come as one JSON line on its standard input, whose end is its own: the program is over, or
dead. The sockets are inherited, so that a process that takes over serves whoever waits meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from ..keys.keyring import ClientKey
from ..keys.watching import KeysFileWatch, KeysNotRead, read_apart, stamp
from ..store.engine import open_engine, store_url
from ..store.reader import Reader
from ..utils.logging import set_up_logging
from ..utils.tasks import spawn
from .app import make_app
from .connection import ConnectionConfig, ConnectionLimits
from .door import Door
from .feed import Feed
from .files import TraceFiles
from .settings import WebProcessSettings
from .view import Site

log = logging.getLogger("llmtap.web")

_NICE = 5  # a contended core is the proxy's
_LAST_S = 3.0


def main() -> int:
    """The process's life."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.umask(0o077)
    os.nice(_NICE)
    # A query reads up to a million rows, none of which is part of a cycle: looking for cycles among
    # them took half of its time.
    gc.freeze()
    gc.set_threshold(50_000)
    settings = WebProcessSettings(**json.loads(sys.stdin.buffer.readline()))
    set_up_logging(settings.log_level)
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: WebProcessSettings) -> None:
    site = make_site(settings)
    watch = await _watch_keys(settings, site.door)
    server = WebServer(site, make_app(site, settings.host, tuple(settings.hosts)))
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    try:
        await server.serve([socket.socket(fileno=fd) for fd in settings.sockets])
    finally:
        if watch is not None:
            watch.cancel()
        await site.reader.close()


def make_site(settings: WebProcessSettings) -> Site:
    """What there is to see. Nothing is opened yet."""
    folder = Path(settings.trace_dir)
    url = store_url(settings.database_url, folder)
    engine = open_engine(url, writes=False, query_s=settings.query_s)
    admin = bytes.fromhex(settings.admin) if settings.admin is not None else None
    door = Door(admin, _keys(settings), folder, is_open=settings.is_open)
    feed = Feed(folder, door.still_knows)
    return Site(Reader(engine), TraceFiles(folder), door, feed, settings.query_s)


def _keys(
    settings: WebProcessSettings, from_file: list[ClientKey] | None = None
) -> list[ClientKey]:
    return [*(settings.file_keys() if from_file is None else from_file), *settings.written_keys()]


async def _watch_keys(settings: WebProcessSettings, door: Door) -> asyncio.Task[object] | None:
    """The keys file may have changed since the program read it, and may change again."""
    if settings.keys_file is None:
        return None
    path = Path(settings.keys_file)
    seen = stamp(path)
    with contextlib.suppress(KeysNotRead):
        door.replace_keys(_keys(settings, await read_apart(path)))
    watch = KeysFileWatch(
        path, lambda keys: door.replace_keys(_keys(settings, keys)), seen, settings.reload_s
    )
    return spawn(watch.run(), "web: keys file")


def _end_with_input(server: WebServer) -> None:
    """A thread: whatever the loop is busy with, the process ends when the program has."""
    sys.stdin.buffer.read()
    server.should_exit = True
    threading.Event().wait(_LAST_S)
    os._exit(0)


class WebServer(uvicorn.Server):
    """uvicorn's, which ends when told by the program and by nobody else."""

    def __init__(
        self, site: Site, app: object, limits: ConnectionLimits = ConnectionLimits()  # noqa: B008
    ) -> None:
        # h11 bounds a request's head; httptools would hold an endless one (reliability 115).
        config = ConnectionConfig(
            limits,
            app=app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=65_536,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._site = site

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Not ours: a Ctrl-C is for the proxy, which drains."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, after the live feeds, which would never end."""
        self._site.feed.close()
        await super().shutdown(sockets)


if __name__ == "__main__":
    sys.exit(main())
