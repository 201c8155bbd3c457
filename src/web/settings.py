"""What the program tells the web process: by a pipe, and no key itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..keys.keyring import ClientKey

Told = tuple[str, str, int | None]
"""A client key: its label, its SHA-256 in hex, when it expires."""


@dataclass(slots=True, frozen=True)
class WebProcessSettings:
    """`admin`: SHA-256 of the admin's key, in hex. `from_file`: as the program read `keys_file`.
    `is_open`: there are no keys. `sockets`: inherited, bound."""

    trace_dir: str
    host: str
    sockets: list[int]
    database_url: str | None = None
    hosts: list[str] = field(default_factory=list)
    admin: str | None = None
    written: list[Told] = field(default_factory=list)
    from_file: list[Told] = field(default_factory=list)
    keys_file: str | None = None
    reload_s: float = 0.5
    is_open: bool = False
    query_s: float = 20.0
    log_level: str = "info"

    def written_keys(self) -> list[ClientKey]:
        """Those that stand in the config."""
        return _keys(self.written)

    def file_keys(self) -> list[ClientKey]:
        """Those that stood in the keys file."""
        return _keys(self.from_file)


def tell(keys: Iterable[ClientKey]) -> list[Told]:
    """As they go over the pipe."""
    return [(key.label, key.digest.hex(), key.expires_ns) for key in keys]


def _keys(told: Iterable[Told]) -> list[ClientKey]:
    return [ClientKey(label, bytes.fromhex(digest), expires) for label, digest, expires in told]
