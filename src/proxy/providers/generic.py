"""Any HTTP API: passed through, its answers read where the path tells whose format they have."""

from __future__ import annotations

from typing import ClassVar

from .base import Format
from .gemini import GEMINI_FORMATS, gemini_model, gemini_operation
from .ollama import OLLAMA_FORMATS, Ollama
from .openai import OPENAI_INFERENCE, OpenAI


class Generic(Ollama):
    """A server of unknown make, which may have any of the faces."""

    type: ClassVar[str] = "generic"
    title: ClassVar[str] = "Generic"
    default_base_url: ClassVar[str | None] = None
    formats: ClassVar[dict[str, Format]] = OLLAMA_FORMATS | GEMINI_FORMATS
    inference: ClassVar[frozenset[str]] = OPENAI_INFERENCE.union(
        {"messages", "generate"}, GEMINI_FORMATS
    )
    request_id_headers: ClassVar[tuple[bytes, ...]] = (
        b"x-request-id",
        b"request-id",
        b"apim-request-id",
        b"x-generation-id",
        b"x-goog-request-id",
    )

    client_setup = OpenAI.client_setup
    error_body = OpenAI.error_body

    def operation(self, method: str, path: str) -> str:
        """Gemini's methods by their colon, then all the others."""
        found = gemini_operation(path) if ":" in path else None
        return found or super().operation(method, path)

    def request_model(self, path: str, body: object | None) -> str | None:
        """From the body, else from a Gemini path."""
        return super().request_model(path, body) or gemini_model(path)

    def streams(self, path: str, query: str, body: object | None) -> bool:
        """By any of the ways."""
        return ":streamGenerateContent" in path or super().streams(path, query, body)


PROVIDER = Generic()
