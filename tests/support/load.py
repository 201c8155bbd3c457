"""Load with a ledger: client threads that write down what they sent and what came back."""

from __future__ import annotations

import itertools
import random
import threading
import time
from dataclasses import dataclass, field

from tests.support import bodies
from tests.support.client import Address, Client
from tests.support.wire import Ended

_markers = itertools.count(1)


@dataclass(slots=True)
class Ledger:
    """Markers of the requests sent, of those answered with at least a byte, and of those whole."""

    sent: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)


class Load:
    """`threads` clients that mix calls, streams and GETs, from `start()` until `stop()`.

    The marker of a request stands in its body only, that of a GET, which has none, in its target.
    """

    def __init__(self, address: Address, *, threads: int = 8, seed: int = 0) -> None:
        self.address = address
        self.ledger = Ledger()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}-{n}"),), daemon=True)
            for n in range(threads)
        ]

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> Ledger:
        self._stopping.set()
        for thread in self._threads:
            thread.join(5)
        return self.ledger

    def _run(self, dice: random.Random) -> None:
        while not self._stopping.is_set():
            try:
                with Client(self.address, timeout=5) as client:
                    while not self._stopping.is_set():
                        self._one(client, dice)
            except (Ended, OSError):
                time.sleep(0.01)  # killed, or not there again yet

    def _one(self, client: Client, dice: random.Random) -> None:
        marker = f"mark-{next(_markers)}-{dice.getrandbits(48):012x}"
        kind = dice.choices(("call", "stream", "get"), (2, 2, 1))[0]
        path = "/v1/chat/completions" + ("?stream" if kind == "stream" else "")
        self.ledger.sent.add(marker)
        if kind == "get":
            client.request("GET", f"/v1/models?{marker}")
        else:
            body = bodies.chat_request(marker, stream=kind == "stream")
            client.request("POST", path, None, body)
        try:
            client.wire.fill()
        except Ended as end:
            if end.rest:
                self.ledger.answered.add(marker)
            raise
        self.ledger.answered.add(marker)
        answer = client.answer()
        if answer.complete:
            self.ledger.whole.add(marker)
