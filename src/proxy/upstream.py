"""Where requests go, and what was really sent there."""

from __future__ import annotations

from dataclasses import dataclass

from .providers.base import Header, Provider


@dataclass(slots=True, frozen=True)
class Upstream:
    """Where requests go: a configured upstream made ready. `base` has no slash at its end."""

    name: str
    provider: Provider
    base_url: str
    prefix: bytes
    scheme: str
    host: str
    port: int
    host_header: bytes
    base_path: bytes
    api_key: str | None
    key_label: str | None
    extra_headers: tuple[Header, ...]
    base_query: bytes = b""  # goes before the request's own


@dataclass(slots=True)
class Forwarded:
    """What was really sent: path and query, and the headers in order as on the wire."""

    upstream: Upstream
    target: bytes
    headers: list[Header]
    body_changed: bool = False
    sha256_out: str | None = None  # hex, of a replaced body; else it is the client's

    @property
    def url(self) -> str:
        """The whole address the request went to."""
        up = self.upstream
        return f"{up.scheme}://{up.host_header.decode()}{self.target.decode('latin-1')}"
