"""The shipped config.yaml: it runs as it is, names every option, and tells no wrong default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from src.config import Settings
from src.config.explain import sections
from src.config.loading import load_settings
from src.config.settings import Price
from src.middlewares.trace import TraceOptions

SHIPPED = Path(__file__).parents[2] / "config.yaml"
TEXT = SHIPPED.read_text()


def keys(model: type[BaseModel]) -> list[str]:
    return [*model.model_fields, *(key for _, part in sections(model) for key in keys(part))]


def test_it_runs_as_it_is() -> None:
    settings = load_settings({}, {}, SHIPPED).settings
    assert [(up.type, up.prefix) for up in settings.upstreams][:3] == [
        ("openai", ""),
        ("anthropic", "/anthropic"),
        ("gemini", "/gemini"),
    ]


@pytest.mark.parametrize("key", sorted({*keys(Settings), *keys(TraceOptions)}))
def test_every_option_is_in_it_with_a_word_of_explanation(key: str) -> None:
    lines = [line for line in TEXT.splitlines() if re.match(rf"[\s#-]*{key}:", line)]
    assert lines, f"{key} is not in config.yaml"
    section = re.match(rf"#? ?{key}:$", lines[0])
    assert section or any("# " in line.lstrip("# ") for line in lines), f"{key} is not explained"


def test_the_commented_values_are_the_defaults(tmp_path: Path) -> None:
    known = "|".join({*keys(Settings), *keys(TraceOptions), "trace"})
    uncommented = re.sub(rf"^(\s*)# (?=[\s-]*({known}):( |$))", r"\1", TEXT, flags=re.MULTILINE)
    path = tmp_path / "config.yaml"
    path.write_text(uncommented.replace("${OPENAI_API_KEY}", "null"))
    settings = load_settings({}, {}, path).settings
    untouched = Settings()
    assert settings.upstreams[-1].type == "azure"
    for name in Settings.model_fields:
        if name not in {"upstreams", "middlewares", "prices"}:
            assert getattr(settings, name) == getattr(untouched, name), name
    (price,) = settings.prices
    unset = Price(model="gpt-4o*", input=price.input)
    examples = {"output", "cache_read"}
    assert price.model_dump(exclude=examples) == unset.model_dump(exclude=examples)
    first = load_settings({"type": "openai"}, {}).settings.upstreams[0]
    assert settings.upstreams[0] == first
    (trace,) = settings.middlewares
    written = {key: value for key, value in trace.options.items() if key != "dir"}
    assert TraceOptions.model_validate(written) == TraceOptions()
    assert set(trace.options) == set(TraceOptions.model_fields)
