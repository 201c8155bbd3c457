"""Limits that are decided together: the arithmetic, and where the counts live."""

from .claims import Claim, Grant, Limit, Refusal, StoreUnavailable
from .memory import MemoryStore

__all__ = ["Claim", "Grant", "Limit", "MemoryStore", "Refusal", "StoreUnavailable"]
