from __future__ import annotations

import pytest

from src.proxy.providers import get_provider


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/v1/chat/completions", "chat"),
        ("POST", "/chat/completions", "chat"),
        ("POST", "/v1/chat/completions/", "chat"),
        ("POST", "//v1//chat/completions", "chat"),
        ("POST", "/v1/responses", "responses"),
        ("POST", "/v1/responses/compact", "compact"),
        ("POST", "/v1/responses/input_tokens", "count_tokens"),
        ("GET", "/v1/responses/resp_1", "stored_responses"),
        ("POST", "/v1/responses/resp_1/cancel", "stored_responses"),
        ("GET", "/v1/chat/completions", "stored_chat"),
        ("POST", "/v1/completions", "completions"),
        ("POST", "/v1/embeddings", "embeddings"),
        ("POST", "/v1/images/generations", "images"),
        ("POST", "/v1/images/edits", "images"),
        ("POST", "/v1/audio/speech", "speech"),
        ("POST", "/v1/audio/transcriptions", "transcriptions"),
        ("POST", "/v1/audio/translations", "translations"),
        ("POST", "/v1/moderations", "moderations"),
        ("GET", "/v1/models", "models"),
        ("GET", "/v1/models/gpt-4o", "models"),
        ("POST", "/v1/files", "files"),
        ("GET", "/v1/files/file-1/content", "files"),
        ("POST", "/v1/batches", "batches"),
        ("GET", "/", "other"),
        ("OPTIONS", "/v1/nothing", "other"),
        ("POST", "", "other"),
    ],
)
def test_operation_by_path(method: str, path: str, operation: str):
    assert get_provider("openai").operation(method, path) == operation


@pytest.mark.parametrize(
    ("operation", "runs"),
    [
        ("chat", True),
        ("responses", True),
        ("embeddings", True),
        ("images", True),
        ("stored_responses", False),
        ("count_tokens", False),
        ("models", False),
        ("files", False),
        ("other", False),
    ],
)
def test_only_what_runs_a_model_is_inference(operation: str, runs: bool):
    assert get_provider("openai").is_inference(operation) is runs
