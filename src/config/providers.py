"""What settings must know of the providers: their names and public addresses.

The knowledge itself lives with each provider; it is fetched by name, as middlewares are, so that
`config` depends on none of them.
"""

from __future__ import annotations

from typing import Protocol, cast
from urllib.parse import urlsplit

from .importing import import_from_string

_PROVIDERS = f"{__name__.split('.', maxsplit=1)[0]}.proxy.providers"
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


class ProviderFacts(Protocol):
    """The part of a provider that concerns its settings."""

    title: str
    default_base_url: str | None

    def client_setup(self, url: str) -> str:
        """The line to set in a client of this provider, for a proxy at `url`."""


class _GetProvider(Protocol):
    def __call__(self, type_name: str) -> ProviderFacts: ...


def provider_types() -> tuple[str, ...]:
    """The types that an upstream may have."""
    return cast(tuple[str, ...], import_from_string(f"{_PROVIDERS}:PROVIDER_TYPES"))


def provider(type_name: str) -> ProviderFacts:
    """The provider of that type, which must be one of `provider_types()`."""
    return cast(_GetProvider, import_from_string(f"{_PROVIDERS}:get_provider"))(type_name)


def guess_type(base_url: str) -> str:
    """The type whose own address has the same host and port; `generic` where none has."""
    try:
        host, port = _origin(base_url)
    except ValueError:
        return "generic"
    if host.endswith(_AZURE):
        return "azure"
    for name in provider_types():
        public = provider(name).default_base_url
        if public and _origin(public) == (host, port):
            return name
    return "generic"


def _origin(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    return host, parts.port or (80 if parts.scheme == "http" else 443)
