"""Ollama: its own API under `/api`, an OpenAI and an Anthropic face under `/v1`.

https://github.com/ollama/ollama/blob/main/docs/api.md, …/docs/openai.md; no key of its own, a
Bearer where a gateway or ollama.com asks for one.
"""

from __future__ import annotations

from typing import ClassVar

from .anthropic import anthropic_operation
from .anthropic_messages import MESSAGES
from .base import Format, dumps
from .ollama_lines import GENERATE, OLLAMA_CHAT, OLLAMA_EMBEDDINGS
from .openai import OPENAI_FORMATS, OPENAI_INFERENCE, OpenAI, openai_operation
from .reading import mapping

OLLAMA_FORMATS: dict[str, Format] = {
    **OPENAI_FORMATS,
    "messages": MESSAGES,
    "chat": OLLAMA_CHAT,
    "generate": GENERATE,
    "embeddings": OLLAMA_EMBEDDINGS,
}
_OPERATIONS = {
    "chat": "chat",
    "generate": "generate",
    "embed": "embeddings",
    "embeddings": "embeddings",
    "tags": "models",
    "ps": "models",
    "show": "models",
    "pull": "pull",
    "push": "push",
    "create": "create",
}
_STREAMED = frozenset({"chat", "generate", "pull", "push", "create"})


class Ollama(OpenAI):
    """A server of local models; it streams unless told not to."""

    type: ClassVar[str] = "ollama"
    title: ClassVar[str] = "Ollama"
    default_base_url: ClassVar[str | None] = "http://127.0.0.1:11434"
    formats: ClassVar[dict[str, Format]] = OLLAMA_FORMATS
    inference: ClassVar[frozenset[str]] = OPENAI_INFERENCE | {"messages", "generate"}

    def client_setup(self, url: str) -> str:
        """Read by the `ollama` command and its SDKs."""
        return f"export OLLAMA_HOST={url.rstrip('/')}"

    def operation(self, method: str, path: str) -> str:
        """Its own paths, else those of its faces."""
        return (
            ollama_operation(path)
            or anthropic_operation(method, path)
            or openai_operation(method, path)
        )

    def streams(self, path: str, query: str, body: object | None) -> bool:
        """Its own API streams by default, its faces on request."""
        if _own(path) in _STREAMED:
            return mapping(body).get("stream") is not False
        return super().streams(path, query, body)

    def error_body(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """Its errors are plain text in `error`."""
        del status
        return dumps({"error": message, "code": code, "request_id": request_id})


def ollama_operation(path: str) -> str | None:
    """The operation of a path of Ollama's own API; None for other paths."""
    return _OPERATIONS.get(_own(path))


def _own(path: str) -> str:
    _, _, name = path.rstrip("/").rpartition("/api/")
    return name


PROVIDER = Ollama()
