"""Mutations: small wounds that parsers are known to heal each in their own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.faults.battery import CANARY
from tests.faults.judging import Try

_TOKENS = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b"\t", b" ", b":", b";", b",", b"\x0b", b"\x7f",
    b"\x80", b"\xff", b"0", b"1", b"-", b"+", b"0x", b"_", b"f" * 17, b"9" * 25, b"\r\n ",
    b"\r\n\t",
    b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding: identity\r\n", b"Host: b\r\n", b"Connection: close\r\n", b"chunked",
    b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"HTTP/1.0",
    b"HTTP/1.1", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", CANARY,
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HEAD ", b"Trailer: X\r\n", b" \r\n", b"\x1f\x8b", b"%00",
)  # fmt: skip
_KINDS = ("cut_out", "insert", "repeat", "replace", "truncate", "splice", "swap_ends", "number")


@dataclass(frozen=True)
class Wound:
    """`at` and `span` are shares of the whole: they mean something for bytes of any length."""

    kind: str
    at: float
    span: float
    pick: int


def wounded(wire: bytes, wounds: list[Wound], others: list[bytes]) -> bytes:
    for wound in wounds:
        wire = _one(wire, wound, others)
    return wire


def _one(wire: bytes, wound: Wound, others: list[bytes]) -> bytes:
    at = int(wound.at * len(wire))
    to = min(len(wire), at + 1 + int(wound.span * 40))
    token = _TOKENS[wound.pick % len(_TOKENS)]
    match wound.kind:
        case "cut_out":
            return wire[:at] + wire[to:]
        case "insert":
            return wire[:at] + token + wire[at:]
        case "repeat":
            return wire[:to] + wire[at:to] + wire[to:]
        case "replace":
            return wire[:at] + token + wire[at + len(token) :]
        case "truncate":
            return wire[:at]
        case "splice":
            other = others[wound.pick % len(others)]
            return wire[:at] + other[int(wound.span * len(other)) :]
        case "swap_ends":
            old, new = (b"\r\n", b"\n") if wound.pick % 2 else (b"\r\n", b"\r")
            found = wire.find(old, at)
            return wire if found < 0 else wire[:found] + new + wire[found + 2 :]
        case _:
            return _numbered(wire, at, wound.pick)


def _numbered(wire: bytes, at: int, pick: int) -> bytes:
    """The next digit becomes another number: lengths and sizes are a digit or two."""
    for place in range(at, len(wire)):
        if wire[place : place + 1].isdigit():
            return wire[:place] + b"%d" % (pick % 130) + wire[place + 1 :]
    return wire


_share = st.integers(0, 999).map(lambda n: n / 1000)
_wounds = st.lists(
    st.builds(Wound, st.sampled_from(_KINDS), _share, _share, st.integers(0, 9999)), max_size=4
)
_cuts = st.one_of(st.just(()), st.lists(_share, min_size=1, max_size=6).map(tuple))


def tries(scenarios: Mapping[str, bytes], *, answers: bool) -> st.SearchStrategy[Try]:
    """A scenario, wounded up to four times, cut anywhere."""
    others = list(scenarios.values())

    def build(
        name: str, wounds: list[Wound], cuts: tuple[float, ...], end: str, method: bytes
    ) -> Try:
        wire = wounded(scenarios[name], wounds, others)
        places = tuple(int(cut * len(wire)) for cut in cuts)
        return Try(f"mutated_{name}", wire, places, end, method)

    ends = st.sampled_from(["stay", "fin", "rst"]) if answers else st.just("stay")
    methods = st.sampled_from([b"POST", b"POST", b"GET", b"HEAD"]) if answers else st.just(b"POST")
    return st.builds(build, st.sampled_from(sorted(scenarios)), _wounds, _cuts, ends, methods)
