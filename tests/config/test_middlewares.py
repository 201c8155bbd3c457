"""From a name in the config to a middleware: built in, one's own, installed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from src.config.errors import ConfigError
from src.config.middlewares import built_in, load_middleware
from src.config.settings import MiddlewareSpec
from src.middlewares.base import Services
from src.middlewares.trace import Trace

ACME = """
from pydantic import BaseModel, ConfigDict

class Redact:
    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")
        fields: list[str] = []
    def __init__(self, options, services):
        self.options, self.services = options, services

class Plain:
    def __init__(self, options, services):
        self.options = options

class Breaks:
    def __init__(self, options, services):
        raise KeyError("mine")
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"acme_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(ACME)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def told(spec: MiddlewareSpec) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_middleware(spec, None)
    return caught.value.lines


def test_a_built_in_is_the_class_named_as_its_file(tmp_path: Path) -> None:
    services = Services(trace_dir=tmp_path)
    assert isinstance(load_middleware(MiddlewareSpec("trace", {"body_bytes": 5}), services), Trace)


def test_every_file_beside_base_and_chain_is_a_built_in() -> None:
    assert "trace" in built_in()
    assert not {"base", "chain", "__init__"} & set(built_in())


def test_ones_own_is_given_its_checked_options_and_the_services(acme: str) -> None:
    services = object()
    redact = load_middleware(MiddlewareSpec(f"{acme}:Redact", {"fields": ["ssn"]}), services)
    assert redact.options.fields == ["ssn"]
    assert redact.services is services


def test_one_without_options_is_given_none(acme: str) -> None:
    assert load_middleware(MiddlewareSpec(f"{acme}:Plain"), None).options is None


def test_an_installed_one_is_found_by_its_entry_point(
    acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = SimpleNamespace(name="redact-it", value=f"{acme}:Redact")
    monkeypatch.setattr("src.config.middlewares.entry_points", lambda group: [entry])
    assert type(load_middleware(MiddlewareSpec("redact-it"), None)).__name__ == "Redact"
    assert told(MiddlewareSpec("redact-i")) == [
        "middlewares: unknown middleware 'redact-i'; did you mean redact-it?"
    ]


def test_every_bad_option_is_a_line_with_its_place(acme: str) -> None:
    options = {"fields": [1, 2], "filds": 3}
    assert told(MiddlewareSpec(f"{acme}:Redact", options, "config.yaml:7")) == [
        (
            f"config.yaml:7 {acme}:Redact.fields.0: is a number;"
            " give text, in quotes where YAML would read it otherwise"
        ),
        (
            f"config.yaml:7 {acme}:Redact.fields.1: is a number;"
            " give text, in quotes where YAML would read it otherwise"
        ),
        f"config.yaml:7 {acme}:Redact.filds: unknown key; did you mean fields?",
    ]


def test_a_constructor_that_raises_is_one_line_with_its_place_in_the_code(acme: str) -> None:
    line = ACME.splitlines().index('        raise KeyError("mine")') + 1
    assert told(MiddlewareSpec(f"{acme}:Breaks")) == [
        (
            f"middlewares: {acme}:Breaks cannot be made: KeyError: 'mine' ({acme}.py:{line});"
            " mend it there"
        )
    ]


def test_a_module_that_raises_is_one_line_with_its_place_in_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_broken.py").write_text("\nimport not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    (line,) = told(MiddlewareSpec("acme_broken:X"))
    assert line.startswith("middlewares: acme_broken:X cannot be imported: ModuleNotFoundError: ")
    assert line.endswith("(acme_broken.py:2); mend it there")


def test_a_package_is_no_class() -> None:
    assert told(MiddlewareSpec("json.decoder")) == [
        "middlewares: json.decoder names no class; write package.module:Class"
    ]
