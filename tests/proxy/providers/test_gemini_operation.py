from __future__ import annotations

import pytest

from src.proxy.providers import get_provider


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/v1beta/models/gemini-2.5-flash:generateContent", "generate_content"),
        ("POST", "/models/gemini-2.5-flash:generateContent", "generate_content"),
        ("POST", "/v1/models/g:streamGenerateContent", "stream_generate_content"),
        ("POST", "/v1beta/tunedModels/mine-1:generateContent", "generate_content"),
        ("POST", "/v1beta/models/g:countTokens", "count_tokens"),
        ("POST", "/v1beta/models/g:embedContent", "embed_content"),
        ("POST", "/v1beta/models/g:batchEmbedContents", "batch_embed_contents"),
        (
            "POST",
            "/v1/projects/p/locations/us/publishers/google/models/g:streamGenerateContent",
            "stream_generate_content",
        ),
        ("GET", "/v1beta/models", "models"),
        ("GET", "/v1beta/models/gemini-2.5-flash", "models"),
        ("POST", "/upload/v1beta/files", "files"),
        ("POST", "/v1beta/cachedContents", "cachedContents"),
        ("POST", "/v1beta/openai/chat/completions", "chat"),
        ("POST", "/v1beta/openai/embeddings", "embeddings"),
        ("GET", "/v1beta/openai/models", "models"),
        ("GET", "/", "other"),
        ("POST", "/v1beta/models/g:unheardOf", "models"),
    ],
)
def test_operation_by_path(method: str, path: str, operation: str):
    assert get_provider("gemini").operation(method, path) == operation
