from __future__ import annotations

import json
from pathlib import Path

import pytest

from src.config.importing import ImportNameError, import_from_string


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> None:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_a_path_leads_to_its_attribute() -> None:
    assert import_from_string("json:JSONDecoder") is json.JSONDecoder
    assert import_from_string("json.decoder:JSONDecoder.decode") is json.JSONDecoder.decode


@pytest.mark.parametrize("name", ["json", "json:", ":x", "a b:c", "json:1", "..x:y", "json:a:b"])
def test_what_is_no_path_is_told(name: str) -> None:
    with pytest.raises(ImportNameError, match=r"is no import path; write package.module:Class"):
        import_from_string(name)


def test_a_module_that_is_not_there_is_named(module) -> None:
    module("acme1.inner", "")
    with pytest.raises(ImportNameError, match="there is no module nowhere1; install it"):
        import_from_string("nowhere1.deep:X")
    with pytest.raises(ImportNameError, match=r"there is no module acme1\.innr; install it"):
        import_from_string("acme1.innr:X")


def test_an_attribute_that_is_not_there_is_told_with_the_nearest(module) -> None:
    module("acme2", "class Redact: ...")
    with pytest.raises(ImportNameError, match=r"acme2 has no Redat; did you mean Redact\?"):
        import_from_string("acme2:Redat")
    with pytest.raises(ImportNameError, match=r"acme2\.Redact has no x"):
        import_from_string("acme2:Redact.x")


def test_an_import_missing_inside_the_module_is_not_blamed_on_the_name(module) -> None:
    module("acme3", "import not_installed_anywhere")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        import_from_string("acme3:X")


def test_what_the_module_raises_comes_through(module) -> None:
    module("acme4", "raise RuntimeError('mine')")
    with pytest.raises(RuntimeError, match="mine"):
        import_from_string("acme4:X")
