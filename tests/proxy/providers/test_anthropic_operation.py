from __future__ import annotations

import pytest

from src.proxy.providers import get_provider


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/v1/messages", "messages"),
        ("POST", "/messages", "messages"),
        ("POST", "/v1/messages/", "messages"),
        ("POST", "/v1/messages/count_tokens", "count_tokens"),
        ("POST", "/v1/messages/batches", "batches"),
        ("GET", "/v1/messages/batches/msgbatch_1/results", "batches"),
        ("POST", "/v1/complete", "complete"),
        ("GET", "/v1/models", "models"),
        ("GET", "/v1/models/claude-sonnet-4-20250514", "models"),
        ("GET", "/v1/files/file_1/content", "files"),
        ("POST", "/v1/chat/completions", "chat"),
        ("HEAD", "/", "other"),
        ("GET", "/v1/messages", "other"),
        ("POST", "/v1/organizations/messagesx", "other"),
    ],
)
def test_operation_by_path(method: str, path: str, operation: str):
    assert get_provider("anthropic").operation(method, path) == operation


@pytest.mark.parametrize(
    ("operation", "runs"), [("messages", True), ("count_tokens", False), ("models", False)]
)
def test_only_what_runs_a_model_is_inference(operation: str, runs: bool):
    assert get_provider("anthropic").is_inference(operation) is runs
