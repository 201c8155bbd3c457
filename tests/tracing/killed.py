"""A small proxy without a network: appends exchanges until it is killed.

    python -m tests.tracing.killed <folder> <ledger>

Writes the id of each exchange it has accepted to the ledger before it goes on.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from src.middlewares.trace import Trace
from src.proxy.exchange import Exchange, Response
from tests.tracing.support import (
    CHAT_ANSWER,
    compact,
    give,
    new_exchange,
    new_trace,
    response,
    sent,
)


async def live(folder: Path, ledger: int) -> None:
    trace = new_trace(folder)
    await trace.start()
    os.write(ledger, b"ready\n")
    body = compact(CHAT_ANSWER)
    held: list[Exchange] = []
    while True:
        exchange = new_exchange()
        await answered(trace, exchange, body)
        os.write(ledger, exchange.id.encode() + b"\n")
        held.append(exchange)
        if len(held) > 5:  # a few are always in flight
            done = held.pop(0)
            give(done, [body[100:]])
            done.finish()
            await asyncio.sleep(0)


async def answered(trace: Trace, exchange: Exchange, body: bytes) -> None:
    answer = response(length=len(body))

    async def forward(inner: Exchange) -> Response:
        sent(inner)
        inner.status = 200
        return answer

    exchange.response = await trace(exchange, forward)
    give(exchange, [body[:100]])


if __name__ == "__main__":
    ledger_fd = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    asyncio.run(live(Path(sys.argv[1]), ledger_fd))
