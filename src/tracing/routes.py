"""What is the same for all requests that ask one upstream for one thing: worked out once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qs

from ..proxy.providers.base import Provider
from ..proxy.providers.registry import get_provider
from .records import UpstreamInfo

_KEPT_TYPES = 64


@dataclass(slots=True)
class Route:
    """`kind` is the provider's type; `asked_path` what the provider was asked for, `path` and
    `query` what the client wrote."""

    kind: str
    name: str | None
    base_url: str | None
    provider: Provider
    operation: str
    inference: bool
    asked_path: str
    method: str
    path: str
    query: str | None
    query_masked: bool
    http_version: str
    whole_types: set[str | None] = field(default_factory=set)

    def query_model(self) -> str | None:
        """The model a WebSocket's handshake asks for, which has no body to name it in."""
        return next(iter(parse_qs(self.query or "").get("model", ())), None)

    def streamed(self, content_type: str | None) -> bool:
        """Whether an answer of this type is a stream. Hot: the types that are none are kept."""
        if content_type in self.whole_types:
            return False
        if self.provider.parser(self.operation, content_type or "") is not None:
            return True
        if len(self.whole_types) < _KEPT_TYPES:
            self.whole_types.add(content_type)
        return False


@lru_cache(maxsize=512)
def find_route(
    upstream: tuple[str, str, bytes, str],
    method: bytes,
    target: bytes,
    forward_path: bytes,
    http_version: bytes,
) -> Route:
    """The route of a request, of the fields of `Opened`."""
    info = UpstreamInfo(*upstream)
    path, mark, query = target.partition(b"?")
    provider = get_provider(info.provider_type)
    asked = (forward_path or path).decode("latin-1")
    operation = provider.operation(method.decode("latin-1"), asked)
    return Route(
        info.provider_type,
        info.name or None,
        info.base_url or None,
        provider,
        operation,
        provider.is_inference(operation),
        asked,
        method.decode("latin-1"),
        path.decode("latin-1"),
        query.decode("latin-1") if mark else None,
        b"=[REDACTED]" in query,
        http_version.decode("latin-1"),
    )
