"""What changed between the headers a client sent and those that went on, by comparing objects."""

from __future__ import annotations

from collections.abc import Sequence

from ..proxy.exchange import Header


def difference(
    received: tuple[Header, ...], sent: list[Header]
) -> tuple[tuple[Header, ...], tuple[Header, ...], bool]:
    """Headers not sent on, headers sent in addition, whether a repeated one stands more or less
    often. What passes is the same object on both sides, so that few are left to be compared."""
    if len(received) == len(sent):
        differing = [pair for pair in zip(received, sent, strict=True) if pair[0] is not pair[1]]
        if len(differing) == 1 and differing[0][0] != differing[0][1]:  # Host, and nothing else
            return (differing[0][0],), (differing[0][1],), False
        before, after = [a for a, _ in differing], [b for _, b in differing]
    else:
        before, after = [], []
        at, most = 0, len(sent)
        for header in received:
            if at < most and sent[at] is header:
                at += 1
                continue
            before.append(header)
            if at < most and sent[at][0] == header[0]:  # another value in its place
                after.append(sent[at])
                at += 1
        after += sent[at:]
    gone, new = tuple(before), tuple(after)
    if _are_all(gone, sent) and _are_all(new, received):
        return gone, new, False
    fewer, more = set(received) - set(sent), set(sent) - set(received)
    return tuple(fewer), tuple(more), len(received) - len(fewer) != len(sent) - len(more)


def _are_all(some: tuple[Header, ...], others: Sequence[Header]) -> bool:
    """Each stands there once, and none of them on the other side."""
    if len(some) > 1 and len(set(some)) < len(some):
        return False
    for header in some:  # noqa: SIM110 - any() would make a generator, 0.5 µs for one or two
        if header in others:
            return False
    return True
