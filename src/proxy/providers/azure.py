"""Azure OpenAI: OpenAI's formats, the model is a deployment named in the path.

openai-python lib/azure.py; key: `api-key`, or an Entra ID token as Bearer;
https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference and …/latest for `/openai/v1`.
Foundry serves Anthropic's messages under `/anthropic/v1/messages`.
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import unquote

from .anthropic import anthropic_operation
from .anthropic_messages import MESSAGES
from .base import Format, Header
from .openai import OPENAI_FORMATS, OPENAI_INFERENCE, OpenAI, openai_operation

_DEPLOYMENT = re.compile(r"/deployments/([^/]+)")


class Azure(OpenAI):
    """A resource of one's own: there is no default base URL."""

    type: ClassVar[str] = "azure"
    title: ClassVar[str] = "Azure OpenAI"
    default_base_url: ClassVar[str | None] = None
    formats: ClassVar[dict[str, Format]] = {**OPENAI_FORMATS, "messages": MESSAGES}
    inference: ClassVar[frozenset[str]] = OPENAI_INFERENCE | {"messages"}
    request_id_headers: ClassVar[tuple[bytes, ...]] = (b"apim-request-id", b"x-request-id")

    def client_setup(self, url: str) -> str:
        """Read by AzureOpenAI clients."""
        return f"export AZURE_OPENAI_ENDPOINT={url.rstrip('/')}"

    def credential(self, key: str) -> Header:
        """An API key, or an Entra ID token, which is a JWT."""
        if key.startswith("eyJ"):
            return b"Authorization", b"Bearer " + key.encode()
        return b"api-key", key.encode()

    def operation(self, method: str, path: str) -> str:
        """OpenAI's paths below a deployment or `/openai/v1`, and Anthropic's."""
        return anthropic_operation(method, path) or openai_operation(method, path)

    def request_model(self, path: str, body: object | None) -> str | None:
        """The deployment; with `/openai/v1` it is the body's model."""
        match = _DEPLOYMENT.search(path)
        return unquote(match.group(1)) if match else super().request_model(path, body)


PROVIDER = Azure()
