"""OpenAI, and the many servers that speak its API.

Paths: openai-python resources/*; key: `Authorization: Bearer` (openai-python _client.py);
https://platform.openai.com/docs/api-reference/introduction (headers, `x-request-id`),
https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from typing import ClassVar

from .base import Format, Provider
from .openai_chat import CHAT
from .openai_completions import COMPLETIONS
from .openai_media import IMAGES, SPEECH, TRANSCRIPTIONS
from .openai_responses import RESPONSES
from .openai_usage import model_of, no_finish_reasons, usage_of

EMBEDDINGS = Format(usage_of, model_of, no_finish_reasons)

OPENAI_FORMATS: dict[str, Format] = {
    "chat": CHAT,
    "responses": RESPONSES,
    "compact": RESPONSES,
    "completions": COMPLETIONS,
    "embeddings": EMBEDDINGS,
    "images": IMAGES,
    "speech": SPEECH,
    "transcriptions": TRANSCRIPTIONS,
    "translations": TRANSCRIPTIONS,
    "stored_responses": RESPONSES,
}
OPENAI_INFERENCE = frozenset(OPENAI_FORMATS) - {"stored_responses"}

_OPERATIONS = {
    "chat/completions": "chat",
    "responses": "responses",
    "responses/compact": "compact",
    "responses/input_tokens": "count_tokens",
    "completions": "completions",
    "embeddings": "embeddings",
    "images/generations": "images",
    "images/edits": "images",
    "images/variations": "images",
    "audio/speech": "speech",
    "audio/transcriptions": "transcriptions",
    "audio/translations": "translations",
    "moderations": "moderations",
}
# What is kept and fetched: named by its collection, whatever is done with it.
_COLLECTIONS = frozenset(
    {
        "assistants",
        "batches",
        "containers",
        "conversations",
        "evals",
        "files",
        "fine_tuning",
        "models",
        "realtime",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    }
)


class OpenAI(Provider):
    """OpenAI's own."""

    type: ClassVar[str] = "openai"
    title: ClassVar[str] = "OpenAI"
    default_base_url: ClassVar[str | None] = "https://api.openai.com"
    formats: ClassVar[dict[str, Format]] = OPENAI_FORMATS
    inference: ClassVar[frozenset[str]] = OPENAI_INFERENCE
    request_id_headers: ClassVar[tuple[bytes, ...]] = (b"x-request-id",)

    def operation(self, method: str, path: str) -> str:
        """Named by the last segments: bases and deployments before them do not matter."""
        return openai_operation(method, path)

    def streams(self, path: str, query: str, body: object | None) -> bool:
        """`"stream": true`; a stored response is fetched as a stream with `?stream=true`."""
        return super().streams(path, query, body) or "stream=true" in query.split("&")


def openai_operation(method: str, path: str) -> str:
    """The operation of an OpenAI path, with whatever stands before it (`/v1`, `/openai/v1`)."""
    segments = [segment for segment in path.split("/") if segment]
    if method == "POST":
        for length in (2, 1):
            if name := _OPERATIONS.get("/".join(segments[-length:])):
                return name
    for at, segment in enumerate(segments):
        if segment in _COLLECTIONS:
            return segment
        if segment == "responses" and segments[at + 1 :]:
            return "stored_responses"
        if segment == "chat" and method != "POST":
            return "stored_chat"
    return "other"


PROVIDER = OpenAI()
