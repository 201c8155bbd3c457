from __future__ import annotations

import pytest

from src.proxy.providers import get_provider
from src.proxy.providers.base import ErrorInfo

AZURE = get_provider("azure")
PATH = "/openai/deployments/my%20gpt/chat/completions"


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        (PATH, "chat"),
        ("/openai/deployments/d/embeddings", "embeddings"),
        ("/openai/v1/responses", "responses"),
        ("/openai/responses", "responses"),
        ("/anthropic/v1/messages", "messages"),
    ],
)
def test_operation_by_path(path: str, operation: str):
    assert AZURE.operation("POST", path) == operation


def test_model_is_the_deployment_or_the_body_s():
    assert AZURE.request_model(PATH, {"model": "ignored"}) == "my gpt"
    assert AZURE.request_model("/openai/v1/responses", {"model": "gpt-4o"}) == "gpt-4o"


def test_error_with_a_code_as_text_is_read():
    body = {"error": {"code": "DeploymentNotFound", "message": "No such deployment"}}
    assert AZURE.error(404, body) == ErrorInfo(None, "No such deployment", "DeploymentNotFound")


def test_error_of_the_gateway_before_it_is_read():
    body = {"statusCode": 401, "message": "Access denied due to invalid subscription key"}
    found = AZURE.error(401, body)
    assert found == ErrorInfo(None, "Access denied due to invalid subscription key")


def test_request_id_is_the_gateway_s():
    headers = [(b"x-request-id", b"b"), (b"apim-request-id", b"a")]
    assert AZURE.request_id(headers) == "a"


def test_client_is_pointed_at_the_proxy_and_no_address_is_known_before():
    assert AZURE.client_setup("http://h:1") == "export AZURE_OPENAI_ENDPOINT=http://h:1"
    assert AZURE.default_base_url is None
