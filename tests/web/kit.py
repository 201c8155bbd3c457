"""A site to look at: traces of several keys, their store, and the API over them in this process."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
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
from src.web.door import Door
from src.web.feed import Feed
from src.web.files import TraceFiles
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
    """What lies in `folder`, and whose: ids and the words only that request has said."""

    folder: Path
    ids: dict[str | None, list[str]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def of_others(self, label: str) -> list[str]:
        """Every id and word that `label` must never be told."""
        strange = [each for owner, ids in self.ids.items() if owner != label for each in ids]
        return strange + [self.words[each] for each in strange]


def make_traces(folder: Path) -> Made:
    """`EACH` of every key but the last, and some of nobody's, all mixed in time."""
    made, written = Made(folder), Written(folder)
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
    asyncio.run(index(folder, None, lambda *_: None))
    return made


def make_site(folder: Path, *, is_open: bool = False) -> tuple[Site, AsyncEngine]:
    engine = open_engine(store_url(None, folder), writes=False)
    keys = [ClientKey(label, hashlib.sha256(key.encode()).digest()) for label, key in KEYS.items()]
    admin = None if is_open else hashlib.sha256(ADMIN.encode()).digest()
    door = Door(admin, [] if is_open else keys, folder, is_open=is_open)
    return Site(Reader(engine), TraceFiles(folder), door, Feed(folder)), engine


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


@contextlib.contextmanager
def started(folder: Path) -> Iterator[str]:
    """The web process itself over `folder`; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        told = WebProcessSettings(
            trace_dir=str(folder),
            host="127.0.0.1",
            sockets=[listening.fileno()],
            admin=hashlib.sha256(ADMIN.encode()).hexdigest(),
            written=[(k, hashlib.sha256(v.encode()).hexdigest(), None) for k, v in KEYS.items()],
        )
        process = WebProcess(told, [listening])
        process.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.stop()
