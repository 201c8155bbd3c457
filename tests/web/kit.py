"""A site to look at: traces of several keys, their store, and the API over them in this process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from src.keys.keyring import ClientKey
from src.store.engine import open_engine, store_url
from src.store.indexing import index
from src.store.reader import Reader
from src.web.app import make_app
from src.web.child import WebProcess
from src.web.connection import ConnectionLimits
from src.web.door import Door
from src.web.feed import Feed
from src.web.files import TraceFiles
from src.web.server import WebServer
from src.web.settings import WebProcessSettings
from src.web.view import Site
from tests.record.traces import NOON, Written, answer, chat

ADMIN = "sk-llmtap-admin-0123456789abcdef"
LABELS = ("alice", "Alice", "bob", "al%", "carol")
"""Those of one spelling, one that is a pattern, and one that has sent nothing."""
KEYS = {label: f"sk-llmtap-{number}-of-a-client-0123456789" for number, label in enumerate(LABELS)}
EACH = 7


@dataclass
class Made:
    """What lies in `folder` and the store (None: SQLite beside it), and whose: ids and the words
    only that request has said."""

    folder: Path
    database_url: str | None = None
    ids: dict[str | None, list[str]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def of_others(self, label: str) -> list[str]:
        """Every id and word that `label` must never be told."""
        strange = [each for owner, ids in self.ids.items() if owner != label for each in ids]
        return strange + [self.words[each] for each in strange]


def make_traces(folder: Path, database_url: str | None = None) -> Made:
    """`EACH` of every key but the last, and some of nobody's, all mixed in time."""
    made, written = Made(folder, database_url), Written(folder)
    number = 0
    for turn in range(EACH):
        for label in (*LABELS[:-1], None):
            word = "w" + hashlib.sha256(f"{label}/{turn}".encode()).hexdigest()[:16]
            body = chat("gpt-4o-mini" if turn % 2 else "gpt-4o", f"{word} lighthouse")
            status = 200 if turn % 3 else 429
            identity = written.add(
                body,
                [answer(f"{word} harbour", input=number + 1)],
                at=NOON + timedelta(seconds=number),
                session=f"session-{turn % 2}",
                key=label,
                status=status,
                cause="ok" if status == 200 else "upstream_error",
            )
            made.ids.setdefault(label, []).append(identity)
            made.words[identity] = word
            number += 1
    index_of(made)
    return made


def index_of(made: Made) -> None:
    """Fill the store from the files."""

    async def fill() -> None:
        await index(made.folder, made.database_url, lambda *_: None)
        await threads_ended()

    asyncio.run(fill())


async def threads_ended() -> None:
    """A connection to SQLite that was given up ends in its own thread, which tells the loop that
    it has: that must not be closed by then."""
    until = time.monotonic() + 2
    while any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
        if time.monotonic() > until:
            return
        await asyncio.sleep(0.005)


def asked(target: str, *headers: str, key: str = ADMIN) -> bytes:
    """A request as bytes."""
    lines = (f"GET {target} HTTP/1.1", "Host: 127.0.0.1", f"X-API-Key: {key}", *headers)
    return "\r\n".join((*lines, "", "")).encode()


def make_site(
    made: Made, *, is_open: bool = False, query_s: float = 20.0
) -> tuple[Site, AsyncEngine]:
    url = store_url(made.database_url, made.folder)
    engine = open_engine(url, writes=False, query_s=query_s)
    keys = [ClientKey(label, hashlib.sha256(key.encode()).digest()) for label, key in KEYS.items()]
    admin = None if is_open else hashlib.sha256(ADMIN.encode()).digest()
    door = Door(admin, [] if is_open else keys, made.folder, is_open=is_open)
    feed = Feed(made.folder, door.still_knows)
    return Site(Reader(engine), TraceFiles(made.folder), door, feed, query_s), engine


class Browser:
    """Asks the app, as whoever the key is."""

    def __init__(self, site: Site, host: str = "127.0.0.1", peer: str = "127.0.0.1") -> None:
        app = make_app(site, host)
        transport = httpx.ASGITransport(app, client=(peer, 40_000), raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3001")

    async def get(
        self,
        path: str,
        key: str | None = ADMIN,
        headers: dict[str, str] | None = None,
        **query: object,
    ) -> httpx.Response:
        given = {"Authorization": f"Bearer {key}"} if key is not None else {}
        params = {name: str(value) for name, value in query.items() if value is not None}
        return await self._client.get(path, params=params, headers={**given, **(headers or {})})

    async def json(self, path: str, key: str | None = ADMIN, **query: object) -> dict:
        answered = await self.get(path, key, **query)
        assert answered.status_code == 200, answered.text
        return json.loads(answered.text)

    async def close(self) -> None:
        await self._client.aclose()


@contextlib.asynccontextmanager
async def serving(
    site: Site, limits: ConnectionLimits = ConnectionLimits()  # noqa: B008  frozen
) -> AsyncIterator[tuple[str, int]]:
    """The server over `site` on this loop; its address."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    address = listening.getsockname()
    server = WebServer(site, make_app(site, "127.0.0.1"), limits)
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield address
    finally:
        server.should_exit = True
        await task


@dataclass
class Started:
    """A web process."""

    address: tuple[str, int]
    process: WebProcess

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    def memory_kb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])


@contextlib.contextmanager
def started(made: Made, **more: object) -> Iterator[Started]:
    """The web process itself over `made`. `more`: of its settings."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        told = WebProcessSettings(
            trace_dir=str(made.folder),
            database_url=made.database_url,
            host="127.0.0.1",
            sockets=[listening.fileno()],
            admin=hashlib.sha256(ADMIN.encode()).hexdigest(),
            written=[(k, hashlib.sha256(v.encode()).hexdigest(), None) for k, v in KEYS.items()],
        )
        told = dataclasses.replace(told, **more)  # type: ignore[arg-type]  # by name, as given
        process = WebProcess(told, [listening])
        process.start()
        try:
            yield Started(listening.getsockname(), process)
        finally:
            process.stop()
