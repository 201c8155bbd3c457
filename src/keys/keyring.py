"""All client keys, found by what a client presents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from hmac import compare_digest


@dataclass(slots=True, frozen=True)
class ClientKey:
    """A known key. `expires_ns`: Unix time in nanoseconds; None for models or upstreams: all."""

    label: str
    digest: bytes
    expires_ns: int | None = None
    models: tuple[str, ...] | None = None
    upstreams: frozenset[str] | None = None
    tier: str | None = None

    def allows_model(self, model: str) -> bool:
        """Whether one of the globs covers it; letters in their case."""
        return self.models is None or any(fnmatchcase(model, glob) for glob in self.models)


class Keyring:
    """Keys by their digest: as fast with ten thousand as with one.

    Timing tells nothing: what is compared, by the dict and then again in constant time, is the
    SHA-256 of what was presented, whose bytes nobody can choose one by one.
    """

    def __init__(self, keys: Iterable[ClientKey] = ()) -> None:
        self._keys = {key.digest: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, presented: bytes) -> ClientKey | None:
        """The key that was presented, expired or not; None for any other. Hot: once per request."""
        digest = sha256(presented).digest()
        key = self._keys.get(digest)
        if key is None or not compare_digest(key.digest, digest):
            return None
        return key

    def at(self, digest: bytes) -> ClientKey | None:
        """The key whose SHA-256 this is."""
        return self._keys.get(digest)


def clashes(keys: Iterable[ClientKey]) -> list[tuple[int, str]]:
    """(index, problem) of each key whose label or value was there before."""
    found: list[tuple[int, str]] = []
    labels: set[str] = set()
    digests: dict[bytes, str] = {}
    for index, key in enumerate(keys):
        if key.label in labels:
            found.append((index, f"is a second key with the label {key.label}; give it its own"))
        elif key.digest in digests:
            found.append((index, f"is the same key as that of {digests[key.digest]}; keep one"))
        labels.add(key.label)
        digests.setdefault(key.digest, key.label)
    return found
