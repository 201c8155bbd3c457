"""What the proxy changed between what it received and what it sent: proof of transparency."""

from __future__ import annotations

from ..utils.redaction import CREDENTIAL_HEADERS, Header

_HOP_BY_HOP = (
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
)
_REASONS: dict[bytes, str] = {
    b"host": "the upstream's own",
    b"content-length": "framing",
    b"expect": "framing",
    **dict.fromkeys(_HOP_BY_HOP, "hop by hop"),
    **dict.fromkeys(CREDENTIAL_HEADERS, "signed with the upstream's key"),
}
_HARMLESS = frozenset(("the upstream's own", "hop by hop", "framing", "for the proxy only"))


def header_changes(
    received: tuple[Header, ...], sent: tuple[Header, ...]
) -> tuple[list[dict[str, str]], bool]:
    """Every difference as {name, change, reason}, and whether one of them concerns the upstream:
    an end-to-end header other than Host. Values are never told: one side may be a key.

    Masked values carry the secret's number, so a replaced credential is seen as replaced.
    """
    if received == sent:
        return [], False
    before, after = set(received), set(sent)
    gone = [header for header in received if header not in after]
    new = [header for header in sent if header not in before]
    if not gone and not new:
        return _counted(received, sent)
    added = [header[0].lower() for header in new]
    changes = []
    real = False
    for name, _ in gone:
        lower = name.lower()
        change = "removed"
        if lower in added:
            added.remove(lower)
            change = "replaced"
        reason = _reason(lower, received)
        changes.append({"name": name.decode("latin-1"), "change": change, "reason": reason})
        real = real or reason not in _HARMLESS
    for lower in added:
        reason = _reason(lower, received)
        changes.append({"name": lower.decode("latin-1"), "change": "added", "reason": reason})
        real = real or reason not in _HARMLESS
    return changes, real


def _reason(lower: bytes, received: tuple[Header, ...]) -> str:
    if lower in _REASONS:
        return _REASONS[lower]
    if lower.startswith(b"x-llmtap-"):
        return "for the proxy only"
    named = b",".join([value for name, value in received if name.lower() == b"connection"])
    if lower in [token.strip() for token in named.lower().split(b",")]:
        return "hop by hop"
    return "configured"


def _counted(
    received: tuple[Header, ...], sent: tuple[Header, ...]
) -> tuple[list[dict[str, str]], bool]:
    """The same pairs, but in another order or number."""
    if sorted(received) == sorted(sent):
        return [{"name": "*", "change": "replaced", "reason": "order"}], True
    more = list(sent)
    changes = []
    for header in received:
        if header in more:
            more.remove(header)
        else:
            name = header[0].decode("latin-1")
            changes.append({"name": name, "change": "removed", "reason": "repeated"})
    for header in more:
        name = header[0].decode("latin-1")
        changes.append({"name": name, "change": "added", "reason": "repeated"})
    return changes, True
