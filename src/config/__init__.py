"""Settings: what they are (`settings`), where they come from (`loading`), what they refuse."""

from .settings import (
    Drain,
    Limits,
    MiddlewareSpec,
    Retries,
    Section,
    Settings,
    Timeouts,
    UpstreamSettings,
)

__all__ = [
    "Drain",
    "Limits",
    "MiddlewareSpec",
    "Retries",
    "Section",
    "Settings",
    "Timeouts",
    "UpstreamSettings",
]
