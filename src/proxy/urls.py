"""Base URLs and paths: joined once at start, byte for byte per request."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_VERSION = re.compile(rb"v\d+[a-z0-9]*")


def split_base(base_url: str) -> tuple[str, str, int, bytes]:
    """Scheme, host, port and path (no slash at the end) of a base URL. Raises ValueError."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{base_url!r} is no http:// or https:// address")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/").encode()


def host_header(scheme: str, host: str, port: int) -> bytes:
    """The Host header for an upstream: the port only where it is not the scheme's own."""
    name = f"[{host}]" if ":" in host else host
    default = 443 if scheme == "https" else 80
    return (name if port == default else f"{name}:{port}").encode(
        "idna" if not name.isascii() else "ascii"
    )


def join_path(base_path: bytes, path: bytes) -> bytes:
    """`base_path` before `path`; a version segment that ends one and begins the other stands once.

    >>> join_path(b"/api/v1", b"/v1/chat/completions")
    b'/api/v1/chat/completions'
    """
    if not base_path:
        return path
    last = base_path.rpartition(b"/")[2]
    if _VERSION.fullmatch(last):
        again = b"/" + last
        if path == again or path.startswith((again + b"/", again + b"?")):
            path = path[len(again) :]
    return base_path + path


def strip_prefix(prefix: bytes, path: bytes) -> bytes | None:
    """`path` below `prefix` (`/anthropic`), or None where it does not lie there."""
    if not prefix:
        return path
    if path == prefix:
        return b"/"
    if path.startswith(prefix + b"/"):
        return path[len(prefix) :]
    return None


def origin_form(target: bytes) -> bytes:
    """A request target as path and query; the host of `GET http://evil/x` counts for nothing."""
    if target.startswith(b"/"):
        return target
    if target == b"*":
        return b"/*"
    _, found, rest = target.partition(b"://")
    if not found:
        return b"/" + target
    slash = rest.find(b"/")
    question = rest.find(b"?")
    if slash < 0 or 0 <= question < slash:
        return b"/" + rest[question:] if question >= 0 else b"/"
    return rest[slash:]
