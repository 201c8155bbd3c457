"""Known secrets in a rendered document: as they are, or spelled with escapes at any depth.

JSON in a JSON string, or the raw of an event, may write `/` as `\\/` and `a` as `\\u0061`. To look
for that in every document would cost 8% of making one, so the end of a secret is looked for:
letters and digits, which nobody who writes JSON has a reason to escape. Only what is found so is
read closely. An escape within these last `_ANCHOR` characters is not seen.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache

import orjson

from ..utils.redaction import MASK_TEXT, SEARCHED_LENGTH

_ANCHOR = 16
_PLAIN_RUN = re.compile(rb"[A-Za-z0-9_-]{%d,}" % SEARCHED_LENGTH)
_MOST_SPELLED = 1024  # characters of an exchange's secrets: a pattern takes 22 µs each to be made
_BACKSLASHES = r"\\{1,64}"  # six levels deep; bounded, or a megabyte of them would take an hour


class Echoes:
    """What to look for, of the secrets of one exchange. Hot: `needles`, in every document."""

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        least = [s for s in secrets if not any(o in s and o != s for o in secrets)]
        self._anchored: dict[str, bytes] = {}  # secrets by their anchors
        room = _MOST_SPELLED
        for secret in least:
            anchor = _anchor(secret)
            if anchor is not None and len(secret) <= room and anchor not in self._anchored:
                self._anchored[anchor] = secret
                room -= len(secret)
        others = set(least).difference(self._anchored.values())
        self._others = tuple(v for s in others for v in _variants(s))
        found = {*self._others, *(anchor.encode() for anchor in self._anchored)}
        self.needles = tuple(v for v in found if not any(o in v and o != v for o in found))
        every = {v.decode("utf-8", "replace") for s in secrets for v in _variants(s)}
        self._texts = sorted(every, key=len, reverse=True)

    def stand_in(self, document: bytes) -> bool:
        """Whether a rendered document in which a needle was found holds a secret."""
        if any(other in document for other in self._others):
            return True
        text = document.decode()
        return any(a in text and pattern.search(text) for a, pattern in self._spelled)

    def clean(self, text: str) -> str:
        """The text without any of them."""
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, MASK_TEXT)
        for anchor, pattern in self._spelled:
            if anchor in text:
                text = pattern.sub(MASK_TEXT, text)
        return text

    @cached_property
    def _spelled(self) -> list[tuple[str, re.Pattern[str]]]:
        """Made for the rare document that holds an anchor."""
        return [
            (anchor, re.compile("".join(map(_spelled_one, secret.decode("utf-8", "replace")))))
            for anchor, secret in self._anchored.items()
        ]


@lru_cache(maxsize=256)
def echoes_of(secrets: tuple[bytes, ...]) -> Echoes:
    """The same few come again and again."""
    return Echoes(secrets)


def _anchor(secret: bytes) -> str | None:
    """The end of its longest run of plain characters; None where none is long enough, or where
    backslashes of its own could be read in too many ways."""
    runs = _PLAIN_RUN.findall(secret)
    return max(runs, key=len)[-_ANCHOR:].decode() if runs and b"\\" not in secret else None


def _variants(secret: bytes) -> tuple[bytes, ...]:
    """As it is, escaped once (a JSON string), and twice (JSON inside the raw of an event)."""
    once = orjson.dumps(secret.decode("utf-8", "replace"))[1:-1]
    return tuple(dict.fromkeys((secret, once, orjson.dumps(once.decode())[1:-1])))


def _spelled_one(char: str) -> str:
    """A pattern for a character, escaped or not."""
    code = "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{ord(char):04x}")
    short = r"\\{0,64}" if char in '"/' else ""
    return f"(?:{short}{re.escape(char)}|{_BACKSLASHES}u{code})"
