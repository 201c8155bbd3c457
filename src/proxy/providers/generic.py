"""Any HTTP API: passed through, its answers read where their operation tells the shape."""

from __future__ import annotations

from typing import ClassVar

from .openai import OpenAI


class Generic(OpenAI):
    """A server of unknown make."""

    type: ClassVar[str] = "generic"
    title: ClassVar[str] = "Generic"
    default_base_url: ClassVar[str | None] = None


PROVIDER = Generic()
