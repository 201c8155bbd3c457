"""What the server's side takes from a client at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class ServerLimits:
    """Times in seconds, sizes in bytes; see `config.yaml` for each."""

    connections: int = 4000
    header_bytes: int = 64 * 1024
    header_count: int = 100
    url_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024 * 1024
    replay_bytes: int = 1024 * 1024
    head_s: float = 10.0
    body_s: float = 60.0
    keep_alive_s: float = 75.0
    client_write_s: float = 60.0
    linger_s: float = 2.0
