"""OpenRouter: OpenAI's chat and responses, and Anthropic's messages, for all models.

https://openrouter.ai/docs/api-reference/overview, …/streaming (comments, errors half way),
…/errors (a number as `code`); `cost` in USD: https://openrouter.ai/docs/use-cases/usage-accounting
"""

from __future__ import annotations

from typing import ClassVar

from .anthropic import anthropic_operation
from .anthropic_messages import MESSAGES
from .base import Format, dumps
from .openai import OPENAI_FORMATS, OPENAI_INFERENCE, OpenAI, openai_operation


class OpenRouter(OpenAI):
    """One key for many providers."""

    type: ClassVar[str] = "openrouter"
    title: ClassVar[str] = "OpenRouter"
    default_base_url: ClassVar[str | None] = "https://openrouter.ai/api"
    formats: ClassVar[dict[str, Format]] = {**OPENAI_FORMATS, "messages": MESSAGES}
    inference: ClassVar[frozenset[str]] = OPENAI_INFERENCE | {"messages"}
    request_id_headers: ClassVar[tuple[bytes, ...]] = (b"x-generation-id", b"x-request-id")

    def operation(self, method: str, path: str) -> str:
        """Both faces."""
        return anthropic_operation(method, path) or openai_operation(method, path)

    def error_body(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The number as `code`, the proxy's own under `metadata`."""
        metadata = {"reason": code, "request_id": request_id}
        return dumps({"error": {"code": status, "message": message, "metadata": metadata}})


PROVIDER = OpenRouter()
