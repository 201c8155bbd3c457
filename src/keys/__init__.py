"""The clients' own keys: made, kept as hashes, looked up, read from a file that may change."""

from .entry import KeyEntry
from .hashing import hash_key, new_key
from .keyring import ClientKey, Keyring

__all__ = ["ClientKey", "KeyEntry", "Keyring", "hash_key", "new_key"]
