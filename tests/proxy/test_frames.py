"""Frames walked and unmasked, cut anywhere: held against frames made by hand."""

from __future__ import annotations

import random

import pytest

from src.proxy.frames import FrameWalker, Unmasker, close_frame
from tests.support.frames import BINARY, CLOSE, PING, TEXT, closing, frame

KEY = b"\x11\x22\x33\x44"


def cuts(data: bytes, rng: random.Random) -> list[bytes]:
    places = sorted(rng.sample(range(1, len(data)), min(len(data) - 1, rng.randint(0, 12))))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def conversation(rng: random.Random) -> list[tuple[int, bytes, bool]]:
    sizes = [0, 1, 3, 125, 126, 127, 300, 65_535, 65_536]
    frames = [(TEXT, rng.randbytes(rng.choice(sizes)), rng.random() < 0.7) for _ in range(6)]
    return [*frames, (PING, b"p", True), (CLOSE, closing(1000), True)]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_cuts_all_passes_and_is_unmasked(seed: int) -> None:
    rng = random.Random(seed)
    frames = conversation(rng)
    wire = b"".join(frame(o, p, key=KEY, fin=f) for o, p, f in frames)
    plain = b"".join(frame(o, b"", key=bytes(4), fin=f, length=len(p)) + p for o, p, f in frames)
    walker, unmasker = FrameWalker(1 << 20), Unmasker()
    pieces = cuts(wire, rng)
    assert b"".join(walker.walk(piece) for piece in pieces) == wire
    assert walker.between
    assert walker.closed
    assert not walker.over
    assert b"".join(unmasker.feed(piece) for piece in pieces) == plain


@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_a_message_over_the_limit_stops_before_the_frame_that_makes_it_so(step: int) -> None:
    """Counted over fragments, control frames between them aside; what comes before passes."""
    before = frame(BINARY, b"x" * 100) + frame(TEXT, b"a" * 60, fin=False) + frame(PING, b"p" * 100)
    wire = before + frame(0, b"b" * 41)
    walker, passed = FrameWalker(100), b""
    for at in range(0, len(wire), step):
        passed += walker.walk(wire[at : at + step])
        if walker.over:
            break
    assert (passed, walker.over, walker.between) == (before, True, True)


def test_the_limit_itself_is_no_message_over_it() -> None:
    walker = FrameWalker(100)
    wire = frame(TEXT, b"a" * 60, fin=False) + frame(0, b"b" * 40) + frame(TEXT, b"c" * 100)
    assert walker.walk(wire) == wire
    assert not walker.over


def test_a_length_of_63_bits_is_over_any_limit() -> None:
    walker = FrameWalker(1 << 40)
    assert walker.walk(frame(BINARY, b"x", length=(1 << 63) - 1)) == b""
    assert walker.over


def test_within_a_payload_nothing_of_ours_may_follow() -> None:
    walker = FrameWalker(100)
    walker.walk(frame(TEXT, b"abc")[:4])
    assert not walker.between
    walker.walk(b"c")
    assert walker.between


def test_close_frames_are_what_a_library_reads() -> None:
    unmasker = Unmasker()
    assert close_frame(1009, "too large", masked=False) == frame(CLOSE, b"\x03\xf1too large")
    masked = unmasker.feed(close_frame(1001, "bye", masked=True))
    assert masked == frame(CLOSE, b"\x03\xe9bye", key=bytes(4))
