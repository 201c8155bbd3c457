from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from src.proxy.providers import PROVIDER_TYPES, get_provider, registry
from src.proxy.providers.base import Provider

FOLDER = Path(registry.__file__).parent


def test_every_module_is_a_part_or_a_provider():
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert modules == registry.PARTS | set(PROVIDER_TYPES)


def test_the_types_are_those_that_are_promised():
    promised = {"openai", "anthropic", "gemini", "azure", "openrouter", "ollama", "generic"}
    assert set(PROVIDER_TYPES) == promised


@pytest.mark.parametrize("name", PROVIDER_TYPES)
def test_provider_is_named_as_its_module(name: str):
    provider = get_provider(name)
    assert isinstance(provider, Provider)
    assert provider.type == name
    assert provider.title
    assert get_provider(name) is provider


@pytest.mark.parametrize("name", ["", "nope", "base", "sse", "../x", "openai_chat"])
def test_unknown_type_is_refused_with_those_there_are(name: str):
    with pytest.raises(ValueError, match="anthropic, azure, gemini"):
        get_provider(name)


def test_module_without_a_provider_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("src.proxy.providers.generic.PROVIDER", object())
    with pytest.raises(TypeError, match=r"generic\.py"):
        get_provider("generic")


def test_the_recorder_gets_no_heavy_imports():
    code = (
        "import sys; from src.proxy.providers import *; [get_provider(t) for t in PROVIDER_TYPES];"
        "print(*({'pydantic', 'asyncio', 'httpx', 'uvicorn', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
