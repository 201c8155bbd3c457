"""What is known of each provider on the wire. `base.Provider` is the interface to read first."""

from .registry import PROVIDER_TYPES, get_provider

__all__ = ["PROVIDER_TYPES", "get_provider"]
