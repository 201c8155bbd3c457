"""Documents without a journal: a recorded exchange, made to measure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from src.proxy.exchange import Header
from src.tracing.bodies import Limits
from src.tracing.document import Document, Documents
from src.tracing.recorded import Recorded
from src.tracing.records import MASKED, Answered, Finished, Opened
from tests.tracing.support import CHAT_ANSWER, CHAT_REQUEST, compact, new_id

NS = 1_795_000_000_123_456_789
BASE_URLS = {"openai": "https://api.openai.com"}


def recorded(
    body: bytes = compact(CHAT_REQUEST),
    chunks: Sequence[bytes] = (compact(CHAT_ANSWER),),
    *,
    kind: str = "openai",
    target: bytes = b"/v1/chat/completions",
    method: bytes = b"POST",
    status: int = 200,
    content_type: bytes = b"application/json",
    request_headers: Iterable[Header] = (),
    response_headers: Iterable[Header] = (),
    cause: str = "ok",
    phase: str = "done",
    answered: bool = True,
    forwarded: bool = True,
    killed: bool = False,
    secrets: list[bytes] | None = None,
    searchable: bool = True,
    error: tuple | None = None,
    wire_bytes: tuple[int, int] | None = None,
    lost: str | None = None,
    changes: tuple = ((), (), False, False, None, False),
    times: Sequence[float] = (),
    ext: bytes | None = None,
) -> Recorded:
    received = (
        (b"Host", b"127.0.0.1:3000"),
        (b"Authorization", MASKED + b"1"),
        (b"Content-Type", b"application/json"),
        *request_headers,
    )
    opened = Opened(
        new_id(),
        NS,
        100.0,
        method,
        target,
        target.partition(b"?")[0],
        b"1.1",
        received,
        "127.0.0.1:50123",
        "abcd1234",
        (1,),
        (kind, BASE_URLS.get(kind, "https://example.test"), b"", kind),
        ("trace",),
    )
    arrived = list(times) or [100.5 + i / 10 for i in range(len(chunks))]
    response = list(zip(arrived, chunks, strict=True)) if answered else []
    head = Answered(status, b"1.1", ((b"Content-Type", content_type), *response_headers), ())
    wire = wire_bytes or (len(body), sum(len(c) for _, c in response))
    gone, new, repeated, body_changed, sha256_out, path_changed = changes
    finished = Finished(
        100.001,
        100.002,
        100.01,
        100.011 if forwarded else None,
        100.4 if answered else None,
        arrived[0] if response else None,
        arrived[-1] if response else None,
        arrived[-1] + 0.001 if response else 100.5,
        False,
        0.1,
        status if answered else None,
        b"1.1",
        cause,
        phase,
        None,
        error,
        None,
        None,
        None,
        [(None, 100.002, status, None, 0.0)],
        (
            (
                b"https://up.test" + target,
                gone,
                new,
                repeated,
                body_changed,
                sha256_out,
                path_changed,
            )
            if forwarded
            else None
        ),
        (wire[0], None, None, len(body)),
        (wire[1], None, lost, sum(len(c) for _, c in response)),
        (),
        ["a tag"],
        ext,
    )
    return Recorded(
        opened,
        [body] if body else [],
        response,
        head if answered else None,
        None if killed else finished,
        (secrets or []) if searchable else None,
    )


def build_document(*args: object, limits: Limits | None = None, **kwargs: object) -> Document:
    return Documents(limits).build(recorded(*args, **kwargs))


def build(*args: object, **kwargs: object) -> dict:
    """The parsed document of `recorded(…)`."""
    return json.loads(build_document(*args, **kwargs).data)
