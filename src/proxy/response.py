"""The answer on its way to the client."""

from __future__ import annotations

from collections.abc import Callable

from .bodies import ResponseBody
from .providers.base import Header


class Response:
    """The answer on its way to the client.

    `headers` are raw pairs in the upstream's order and case, hop-by-hop ones included until the
    gateway sends them; a middleware may change the list. `body` is bytes for an answer made here,
    else the upstream's body, which passes through unbuffered.
    """

    __slots__ = ("body", "headers", "http_version", "reason", "refused", "status")

    def __init__(
        self,
        status: int,
        headers: list[Header],
        body: bytes | ResponseBody,
        *,
        reason: bytes = b"",
        http_version: bytes = b"1.1",
        refused: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.reason = reason
        self.http_version = http_version
        self.refused = refused

    def map_body(self, transform: Callable[[bytes], bytes]) -> None:
        """Rewrite the body chunk by chunk as it passes; the announced length goes with it.

        `transform` gets each chunk and returns what the client gets for it (b"" for nothing yet);
        it is called once more with b"" at the end for what it still holds. Further ones get what
        the first has made of it. Raises RuntimeError for a WebSocket's frames.
        """
        if self.status == 101:
            raise RuntimeError("a WebSocket's frames cannot be rewritten")
        self.headers = [h for h in self.headers if h[0].lower() != b"content-length"]
        if isinstance(self.body, bytes):
            self.body = transform(self.body) + transform(b"")
        else:
            self.body.map(transform)
