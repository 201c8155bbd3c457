"""One exchange as read back from the journal: what a trace document is made from."""

from __future__ import annotations

from dataclasses import dataclass, field

from .records import Answered, Body, Finished, Opened
from .rules import Masker

# Monotonic seconds, whether the client sent it, the bytes: None where a secret was taken out of
# them for good, which leaves no frames.
Frames = tuple[float, bool, bytes | None]


@dataclass(slots=True)
class Recorded:
    """Chunks are as on the wire, with monotonic seconds. `finished` None: the proxy was killed.

    `secrets`: the texts of this exchange's secrets; None if they are not known any more, after a
    restart of both processes.
    """

    opened: Opened
    request: list[bytes] = field(default_factory=list)
    response: list[tuple[float, bytes]] = field(default_factory=list)
    answered: Answered | None = None
    finished: Finished | None = None
    secrets: list[bytes] | None = field(default_factory=list)
    masker: Masker | None = None  # of what the configuration wants hidden
    altered: bool = False  # a chunk was masked for good: its hash cannot be told
    frames: list[Frames] | None = None  # of a WebSocket: both ways, in the order they came
    # Of the request's body, too short to be looked for elsewhere: "1" would be found everywhere.
    short_secrets: list[bytes] = field(default_factory=list)

    def without_bodies(self) -> None:
        """Forget what passed."""
        self.request.clear()
        self.response.clear()
        if self.frames is not None:
            self.frames.clear()

    def request_body(self) -> tuple[bytes, Body]:
        """The kept bytes and what is known of all of them."""
        data = self.request[0] if len(self.request) == 1 else b"".join(self.request)
        if self.finished is None:
            return data, (len(data), None, None, len(data))
        return data, self.finished.request

    def response_body(self) -> tuple[bytes, Body]:
        """The kept bytes and what is known of all of them."""
        chunks = self.response
        data = chunks[0][1] if len(chunks) == 1 else b"".join([chunk for _, chunk in chunks])
        if self.finished is None:
            return data, (len(data), None, None, len(data))
        return data, self.finished.response
