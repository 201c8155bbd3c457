"""What is tried and how it is judged: values and pure functions, no sockets."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults import strict
from tests.faults.strict import Malformed, Message, Unfinished


@dataclass(slots=True)
class Try:
    """`wire` sent in the slices `cuts` make; `end` is what an upstream does after its answer."""

    name: str
    wire: bytes
    cuts: tuple[int, ...] = ()
    end: str = "stay"
    method: bytes = b"POST"

    def slices(self, whole_from: int | None = None) -> Iterable[bytes]:
        """Its pieces; what lies behind `whole_from` comes together with the piece before it."""
        last = len(self.wire) if whole_from is None else whole_from
        places = [0, *sorted(c for c in set(self.cuts) if 0 < c < last), len(self.wire)]
        return (self.wire[a:b] for a, b in itertools.pairwise(places) if a < b)


@dataclass
class Verdicts:
    """What was tried and what went wrong, by kind, each with what it takes to try it again."""

    tried: int = 0
    honest: int = 0
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def blame(self, kind: str, attempt: Try | None, why: str) -> None:
        shown = why if attempt is None else f"{why}: {attempt!r}"
        self.wrong.setdefault(kind, []).append(shown)

    def count(self, kind: str) -> int:
        return len(self.wrong.get(kind, ()))

    def told(self) -> str:
        return "\n".join(f"{k}: {x[:3000]}" for k, found in self.wrong.items() for x in found[:3])


def answers_in(got: bytes, asked: list[Message]) -> list[Message]:
    found: list[Message] = []
    while got:
        method = asked[len(found)].method if len(found) < len(asked) else b"GET"
        try:
            answer = strict.response(got, method, ended=True)
        except (Malformed, Unfinished):
            break
        if not answer.complete:
            break
        found.append(answer)
        got = got[answer.size :]
    return found


def closes(answers: list[Message], asked: list[Message]) -> bool:
    return any(message.closes for message in (*answers, *asked[-1:]))


def may_be(seen: Message, allowed: Message) -> bool:
    """May this request at the upstream be that one of a client's?"""
    if seen.method != allowed.method or seen.target != origin_form(allowed.target):
        return False
    if seen.complete and not (allowed.complete and seen.body == allowed.body):
        return False
    headers = Counter(pair for pair in seen.headers if pair[0].lower() != b"host")
    return allowed.body.startswith(seen.body) and not headers - Counter(allowed.headers)


def origin_form(target: bytes) -> bytes:
    if target.startswith(b"/"):
        return target
    if b"://" in target:
        return (
            re.sub(rb"^.*?://[^/?]*(?=\?)", b"/", re.sub(rb"^.*?://[^/?]*(?=/|$)", b"", target))
            or b"/"
        )
    return b"/" + target


def number_of(attempt: Try) -> bytes:
    found = re.search(rb"/try/(\d+)", attempt.wire)
    return found[1] if found else b""


def echo(message: Message) -> bytes:
    target = origin_form(message.target)
    return target + b" " + hashlib.sha1(message.body).hexdigest().encode()


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def whole_from(attempt: Try) -> int | None:
    """Where a try's answer is over. What follows comes with its last byte: later, nothing could
    tell it from the answer to the request that has the connection by then."""
    try:
        said = strict.response(attempt.wire, attempt.method, ended=False)
    except (Malformed, Unfinished):
        return None
    return said.size if said.complete else None
