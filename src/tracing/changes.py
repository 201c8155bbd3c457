"""What the proxy changed between what it received and what it sent: proof of transparency."""

from __future__ import annotations

from collections.abc import Mapping

from orjson import Fragment

from ..utils.redaction import CREDENTIAL_HEADERS, Header
from .render import indented

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
_KEPT = 512
_DEPTH = 2  # document, forwarded
_HARMLESS = frozenset(("the upstream's own", "hop by hop", "framing", "for the proxy only"))


class HeaderChanges:
    """`header_changes` rendered, and kept: a client's requests differ in their bodies, not in what
    becomes of their headers."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[Fragment, bool]] = {}

    def of(
        self,
        received: tuple[Header, ...],
        lower: Mapping[bytes, bytes],
        gone: tuple[Header, ...],
        new: tuple[Header, ...],
        *,
        repeated: bool,
    ) -> tuple[Fragment, bool]:
        """The same; `lower` are the headers received, by their names in lower case. Hot."""
        # All that it hangs on: the order of what was received, and what Connection names.
        key = (gone, new, repeated, *lower, lower.get(b"connection"))
        found = self._known.get(key)
        if found is None or len(lower) != len(received):  # twice: which one is not in the key
            if len(self._known) >= _KEPT:
                self._known.clear()
            changes, real = header_changes(received, gone, new, repeated)
            found = self._known[key] = Fragment(indented(changes, _DEPTH)), real
        return found


def header_changes(
    received: tuple[Header, ...], gone: tuple[Header, ...], new: tuple[Header, ...], repeated: bool
) -> tuple[list[dict[str, str]], bool]:
    """Every difference as {name, change, reason}, in the order of what was received, and whether
    one of them concerns the upstream: an end-to-end header other than Host. Values are never told:
    one side may be a key.

    `gone` was received and not sent, `new` sent and not received; masked values carry the secret's
    number, so a replaced credential is in both. `repeated`: one stands more often than it did.
    """
    added = {name.lower(): name for name, _ in new}
    changes = []
    real = repeated
    for name, _ in sorted(gone, key=received.index) if len(gone) > 1 else gone:
        change = "replaced" if added.pop(name.lower(), None) is not None else "removed"
        reason = _reason(name.lower(), received)
        changes.append({"name": name.decode("latin-1"), "change": change, "reason": reason})
        real = real or reason not in _HARMLESS
    for lower, name in added.items():
        reason = _reason(lower, received)
        changes.append({"name": name.decode("latin-1"), "change": "added", "reason": reason})
        real = real or reason not in _HARMLESS
    if repeated:
        changes.append({"name": "*", "change": "replaced", "reason": "repeated"})
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
