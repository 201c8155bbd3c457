"""Anthropic.

Key: `x-api-key`, or `Authorization: Bearer` for OAuth tokens (anthropic-sdk-python _client.py,
`_api_key_auth`, `_bearer_auth`); https://docs.anthropic.com/en/api/errors (shape, `request-id`).
It has an OpenAI face too: https://docs.anthropic.com/en/api/openai-sdk
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import ClassVar

from .anthropic_messages import MESSAGES
from .base import Format, Header, Provider, dumps
from .openai import openai_operation
from .openai_chat import CHAT

_OAUTH_PREFIX = "sk-ant-oat"  # a token of a subscription, valid as Bearer only

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_LIMIT_NAMES = {
    kind: [
        f"anthropic-ratelimit-{kind}-{part}".encode() for part in ("limit", "remaining", "reset")
    ]
    for kind in ("requests", "tokens")
}


class Anthropic(Provider):
    """The messages API."""

    type: ClassVar[str] = "anthropic"
    title: ClassVar[str] = "Anthropic"
    default_base_url: ClassVar[str | None] = "https://api.anthropic.com"
    formats: ClassVar[dict[str, Format]] = {"messages": MESSAGES, "chat": CHAT}
    inference: ClassVar[frozenset[str]] = frozenset({"messages", "chat", "complete"})
    request_id_headers: ClassVar[tuple[bytes, ...]] = (b"request-id",)

    def client_setup(self, url: str) -> str:
        """The SDK and Claude Code add `/v1` themselves."""
        return f"export ANTHROPIC_BASE_URL={url.rstrip('/')}"

    def credential(self, key: str) -> Header:
        """An API key, or an OAuth token."""
        if key.startswith(_OAUTH_PREFIX):
            return b"Authorization", b"Bearer " + key.encode()
        return b"x-api-key", key.encode()

    def operation(self, method: str, path: str) -> str:
        """Its own paths, else those of the OpenAI face."""
        return anthropic_operation(method, path) or openai_operation(method, path)

    def rate_limit_headers(
        self, kind: str, limit: int, remaining: int, reset_s: float, now_s: float
    ) -> list[Header]:
        """https://docs.anthropic.com/en/api/rate-limits#response-headers"""
        names = _LIMIT_NAMES[kind]
        return [
            (names[0], b"%d" % limit),
            (names[1], b"%d" % remaining),
            (names[2], _rfc3339(ceil(now_s + reset_s))),
        ]

    def error_body(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The error object, with the proxy's code beside the type."""
        kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        error = {"type": kind, "message": message, "code": code}
        return dumps({"type": "error", "error": error, "request_id": request_id})


@lru_cache(256)
def _rfc3339(epoch_s: int) -> bytes:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def anthropic_operation(method: str, path: str) -> str | None:
    """The operation of a messages path, whatever stands before it; None for other paths."""
    _, _, rest = f"{path.rstrip('/')}/".partition("/messages/")
    if path.rstrip("/").endswith("/messages") or path.strip("/") == "messages":
        return "messages" if method == "POST" else None
    if rest.startswith("count_tokens/"):
        return "count_tokens"
    if rest.startswith("batches/"):
        return "batches"
    return "complete" if method == "POST" and path.rstrip("/").endswith("/complete") else None


PROVIDER = Anthropic()
