"""Google's Gemini API (and Vertex AI's paths of the same methods).

https://ai.google.dev/api/all-methods; key: `x-goog-api-key` (python-genai _api_client.py), or
`?key=`; errors: https://cloud.google.com/apis/design/errors; the OpenAI face under
`/v1beta/openai/`: https://ai.google.dev/gemini-api/docs/openai
"""

from __future__ import annotations

import re
from typing import ClassVar

from .base import Format, Header, Provider, dumps
from .gemini_content import CONTENT, CONTENT_STREAM
from .openai import OPENAI_FORMATS, OPENAI_INFERENCE, openai_operation
from .reading import mapping, text

_METHODS = {
    "generateContent": "generate_content",
    "streamGenerateContent": "stream_generate_content",
    "countTokens": "count_tokens",
    "computeTokens": "count_tokens",
    "embedContent": "embed_content",
    "batchEmbedContents": "batch_embed_contents",
    "batchGenerateContent": "batches",
    "predict": "predict",
    "predictLongRunning": "predict",
}
_COLLECTIONS = frozenset(
    {
        "batches",
        "cachedContents",
        "fileSearchStores",
        "files",
        "interactions",
        "models",
        "operations",
    }
)
_MODEL = re.compile(r"/?(?:models|tunedModels)/([^/:]+)")

GEMINI_FORMATS: dict[str, Format] = {
    "generate_content": CONTENT,
    "stream_generate_content": CONTENT_STREAM,
    "embed_content": CONTENT,
    "batch_embed_contents": CONTENT,
}

# google.rpc.Code by HTTP status
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Gemini(Provider):
    """The Gemini API: the model and the method are in the path."""

    type: ClassVar[str] = "gemini"
    title: ClassVar[str] = "Gemini"
    default_base_url: ClassVar[str | None] = "https://generativelanguage.googleapis.com"
    formats: ClassVar[dict[str, Format]] = OPENAI_FORMATS | GEMINI_FORMATS
    inference: ClassVar[frozenset[str]] = OPENAI_INFERENCE.union(
        GEMINI_FORMATS, {"predict", "interactions"}
    )
    request_id_headers: ClassVar[tuple[bytes, ...]] = (b"x-goog-request-id", b"x-request-id")

    def client_setup(self, url: str) -> str:
        """Read by the SDK (python-genai _base_url.py) and by the Gemini CLI."""
        return f"export GOOGLE_GEMINI_BASE_URL={url.rstrip('/')}"

    def credential(self, key: str) -> Header:
        """An API key."""
        return b"x-goog-api-key", key.encode()

    def operation(self, method: str, path: str) -> str:
        """Its own methods, else those of the OpenAI face."""
        return gemini_operation(path) or openai_operation(method, path)

    def request_model(self, path: str, body: object | None) -> str | None:
        """From the path; the OpenAI face has it in the body, with or without `models/`."""
        return gemini_model(path) or _bare(text(mapping(body).get("model")))

    def streams(self, path: str, query: str, body: object | None) -> bool:
        """By the method; the OpenAI face by the body."""
        return ":streamGenerateContent" in path or super().streams(path, query, body)

    def rate_limit_headers(
        self, kind: str, limit: int, remaining: int, reset_s: float, now_s: float
    ) -> list[Header]:
        """It has none: its clients look at `Retry-After` or at nothing."""
        del kind, limit, remaining, reset_s, now_s
        return []

    def error_body(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """A google.rpc.Status with the proxy's code as the reason."""
        fallback = "INTERNAL" if status >= 500 else "FAILED_PRECONDITION"
        detail = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": code,
            "domain": "llmtap",
            "metadata": {"request_id": request_id},
        }
        name = _STATUSES.get(status, fallback)
        error = {"code": status, "message": message, "status": name, "details": [detail]}
        return dumps({"error": error})


def gemini_operation(path: str) -> str | None:
    """The operation of a Gemini path; None for others, those of the OpenAI face included."""
    _, colon, name = path.rpartition(":")
    if colon and name in _METHODS:
        return _METHODS[name]
    if "/openai/" in path:
        return None
    segments = path.split("/")
    return next((segment for segment in segments if segment in _COLLECTIONS), None)


def gemini_model(path: str) -> str | None:
    """The model named in the path."""
    match = _MODEL.search(path)
    return match.group(1) if match else None


def _bare(model: str | None) -> str | None:
    return model.removeprefix("models/") if model else None


PROVIDER = Gemini()
