"""Finding a provider by its type, which is the name of its module: a new one is one new file."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

from .base import Provider

# The modules in this folder that are parts of providers; every other one is a provider.
PARTS = frozenset(
    {
        "anthropic_messages",
        "base",
        "gemini_content",
        "json_streams",
        "ollama_lines",
        "openai_chat",
        "openai_completions",
        "openai_media",
        "openai_responses",
        "openai_usage",
        "reading",
        "registry",
        "sse",
        "values",
    }
)

PROVIDER_TYPES: tuple[str, ...] = tuple(
    sorted(
        m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name not in PARTS
    )
)


def get_provider(type_name: str) -> Provider:
    """The provider of this type. Raises ValueError, naming those there are, if it is unknown."""
    if type_name not in PROVIDER_TYPES:
        known = ", ".join(PROVIDER_TYPES)
        raise ValueError(f"unknown provider type {type_name!r}; known are {known}")
    provider = import_module(f".{type_name}", __package__).PROVIDER
    if not isinstance(provider, Provider):
        raise TypeError(f"PROVIDER in {type_name}.py is no Provider: {provider!r}")
    return provider
