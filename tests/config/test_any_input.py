"""Whatever stands in a config: it loads, or every mistake is a line; nothing else happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.config import Settings
from src.config.errors import ConfigError
from src.config.explain import sections
from src.config.loading import load_settings

KEYS = [
    *Settings.model_fields,
    *(key for _, part in sections(Settings) for key in part.model_fields),
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["openai", "azure", "trace", "/a", "https://h", "${X}", "${X:-1}", "64MB"])
)
keys = st.sampled_from(KEYS) | st.text(max_size=6)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "c.yaml"


def outcome(file: Path, env: dict[str, str], flags: dict[str, object]) -> list[str]:
    try:
        load_settings(flags, env, file)
    except ConfigError as error:
        return error.lines or ["a ConfigError that says nothing"]
    return []


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, values, max_size=6))
def test_any_tree_loads_or_is_told(file: Path, tree: dict[str, object]) -> None:
    file.write_text(json.dumps(tree))
    for line in outcome(file, {}, {}):
        assert ";" in line
        assert "\n" not in line


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_load_or_are_told(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert outcome(file, {}, {"type": "openai"}) or file.read_bytes()


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["PORT", "UPSTREAMS", "TIMEOUTS", "TIMEOUTS__IDLE_S", "TYPE", "BASE_URL"]),
        st.text(max_size=12) | values.map(json.dumps),
    ),
    st.dictionaries(st.sampled_from(["port", "type", "host", "workers"]), st.text(max_size=8)),
)
def test_any_variable_and_flag_loads_or_is_told(
    file: Path, variables: dict[str, str], flags: dict[str, object]
) -> None:
    file.write_text("upstreams: [{type: openai}]\n")
    outcome(file, {f"LLMTAP_{name}": text for name, text in variables.items()}, flags)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(KEYS), st.text("abcXYZ019-", min_size=25, max_size=40))
def test_no_long_text_is_ever_repeated(file: Path, key: str, secret: str) -> None:
    """A key pasted into the wrong place."""
    tree = {key: secret, "upstreams": [{"type": secret, "base_url": secret, key: secret}]}
    file.write_text(json.dumps(tree))
    shown = [line for line in outcome(file, {}, {}) if secret in line]
    assert all("trace_dir" in line or " host:" in line for line in shown)  # any name will do there
