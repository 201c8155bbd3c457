"""What a client key looks like, and what is kept of it.

A key is 256 random bits, so a plain SHA-256 is enough to keep: there is nothing to guess that a
slow hash would protect, and a slow one would be paid for by each request. GitHub, LiteLLM and
others keep their tokens the same way; passwords would be another matter. The prefix tells secret
scanners and people whose key it is (as GitHub's `ghp_`, OpenAI's `sk-`).
"""

from __future__ import annotations

from hashlib import sha256
from secrets import token_urlsafe

from ..config.values import KEY_HASH

PREFIX = "sk-llmtap-"
HASH_PREFIX = "sha256:"


def new_key() -> str:
    """A new client key: `sk-llmtap-` and 43 characters that hold 256 random bits."""
    return PREFIX + token_urlsafe(32)


def hash_key(key: str) -> str:
    """What a config or keys file holds of a key: `sha256:` and 64 hex digits."""
    return HASH_PREFIX + sha256(key.encode()).hexdigest()


def digest_of(hashed: str) -> bytes | None:
    """The 32 bytes in a `sha256:…` text, None where it is none."""
    found = KEY_HASH.fullmatch(hashed.strip())
    return bytes.fromhex(found[1]) if found else None
