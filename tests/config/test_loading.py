"""Where a setting comes from, and who wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.config.errors import ConfigError
from src.config.loading import Loaded, load_settings


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(yaml: str = "", env: dict[str, str] | None = None, **flags: object) -> Loaded:
    if yaml:
        Path("config.yaml").write_text(yaml)
    return load_settings(flags, env or {})


UPSTREAM = "upstreams: [{type: openai}]\n"


def test_a_flag_goes_over_a_variable_over_the_file_over_the_default() -> None:
    yaml = UPSTREAM + "port: 1\nworkers: 2\nlog_level: debug\n"
    loaded = load(yaml, {"LLMTAP_PORT": "3", "LLMTAP_WORKERS": "4"}, port="5")
    assert (loaded.settings.port, loaded.settings.workers) == (5, 4)
    assert (loaded.settings.log_level, loaded.settings.host) == ("debug", "127.0.0.1")
    assert [loaded.origins[key] for key in ("port", "workers", "log_level", "host")] == [
        "cli --port",
        "env LLMTAP_WORKERS",
        "config.yaml:4",
        "default",
    ]


def test_sections_merge_key_by_key() -> None:
    yaml = UPSTREAM + "timeouts:\n  idle_s: 7\n  connect_s: 8\n"
    loaded = load(yaml, {"LLMTAP_TIMEOUTS__CONNECT_S": "9"})
    assert loaded.settings.timeouts.idle_s == 7
    assert loaded.settings.timeouts.connect_s == 9
    assert loaded.settings.timeouts.pool_s == 5
    assert loaded.origins["timeouts.idle_s"] == "config.yaml:3"
    assert loaded.origins["timeouts.connect_s"] == "env LLMTAP_TIMEOUTS__CONNECT_S"


def test_every_setting_has_an_origin() -> None:
    loaded = load(UPSTREAM)
    assert set(loaded.origins) >= {"upstreams.0.api_key", "limits.in_flight", "middlewares", "port"}
    assert all(loaded.origins.values())


def test_lists_in_variables_are_json_and_replace_the_files() -> None:
    env = {"LLMTAP_UPSTREAMS": '[{"type": "gemini"}]', "LLMTAP_MIDDLEWARES": "[]"}
    loaded = load(UPSTREAM, env)
    assert [up.type for up in loaded.settings.upstreams] == ["gemini"]
    assert loaded.settings.middlewares == ()
    assert loaded.origins["upstreams.0.type"] == "env LLMTAP_UPSTREAMS"


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert load(UPSTREAM, {"LLMTAP_PORT": ""}).settings.port == 3000


def test_variables_that_kubernetes_sets_for_a_service_of_that_name_are_let_be() -> None:
    env = {
        "LLMTAP_PORT": "tcp://10.0.0.1:3000",
        "LLMTAP_PORT_3000_TCP_ADDR": "10.0.0.1",
        "LLMTAP_SERVICE_HOST": "10.0.0.1",
    }
    assert load(UPSTREAM, env).settings.port == 3000


def test_a_variable_that_the_file_refers_to_may_have_any_name() -> None:
    yaml = "upstreams:\n  - type: openai\n    api_key: ${LLMTAP_MY_OPENAI_KEY}\n"
    key = load(yaml, {"LLMTAP_MY_OPENAI_KEY": "sk-1"}).settings.upstreams[0].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-1"


def test_the_config_is_named_by_flag_or_variable_or_lies_here() -> None:
    Path("flag.yaml").write_text(UPSTREAM + "port: 1\n")
    Path("variable.yaml").write_text(UPSTREAM + "port: 2\n")
    Path("config.yaml").write_text(UPSTREAM + "port: 3\n")
    env = {"LLMTAP_CONFIG": "variable.yaml"}
    assert load_settings({}, env, Path("flag.yaml")).settings.port == 1
    assert load_settings({}, env).settings.port == 2
    assert load_settings({}, {}).settings.port == 3


def test_a_section_whose_lines_are_all_commented_out_is_as_if_absent() -> None:
    assert load(UPSTREAM + "timeouts:\n  # idle_s: 3\n").settings.timeouts.idle_s == 300


def test_relative_folders_are_of_the_current_folder(tmp_path: Path) -> None:
    assert (
        load(UPSTREAM + "trace_dir: logs/traces\n").settings.trace_dir == tmp_path / "logs/traces"
    )
    assert load(UPSTREAM + "trace_dir: ~/traces\n").settings.trace_dir == Path.home() / "traces"


def test_loading_makes_no_folder(tmp_path: Path) -> None:
    load(UPSTREAM + "trace_dir: logs/traces\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]


def test_the_members_of_the_chain_know_their_line() -> None:
    loaded = load(UPSTREAM + "middlewares:\n  - trace:\n      body_bytes: 5\n")
    (spec,) = loaded.settings.middlewares
    assert (spec.name, spec.options, spec.where) == ("trace", {"body_bytes": 5}, "config.yaml:3")


# --- the one upstream of flags and variables ---


def test_an_address_or_a_type_by_flag_replaces_all_upstreams_of_the_file() -> None:
    yaml = "upstreams:\n  - type: openai\n  - {type: gemini, prefix: /g}\nport: 7\n"
    loaded = load(yaml, type="anthropic")
    (upstream,) = loaded.settings.upstreams
    assert (upstream.name, upstream.base_url) == ("anthropic", "https://api.anthropic.com")
    assert loaded.settings.port == 7
    assert loaded.origins["upstreams.0.type"] == "cli --type"


def test_mistakes_in_upstreams_that_are_replaced_do_not_matter() -> None:
    assert (
        load("upstreams: [{type: opena}]\n", type="openai").settings.upstreams[0].type == "openai"
    )


def test_flag_and_variable_describe_the_same_upstream() -> None:
    env = {
        "LLMTAP_BASE_URL": "http://localhost:9",
        "LLMTAP_API_KEY": "sk-1",
        "LLMTAP_TYPE": "gemini",
    }
    loaded = load("", env, type="openai")
    (upstream,) = loaded.settings.upstreams
    assert (upstream.type, upstream.base_url) == ("openai", "http://localhost:9")
    assert loaded.origins["upstreams.0.base_url"] == "env LLMTAP_BASE_URL"
    assert loaded.origins["upstreams.0.api_key"] == "env LLMTAP_API_KEY"


def test_a_key_alone_goes_to_the_upstream_without_a_prefix_only() -> None:
    yaml = "upstreams:\n  - {type: gemini, prefix: /g}\n  - type: openai\n    api_key: sk-file\n"
    loaded = load(yaml, api_key="sk-flag")
    gemini, openai = loaded.settings.upstreams
    assert gemini.api_key is None
    assert openai.api_key is not None
    assert openai.api_key.get_secret_value() == "sk-flag"
    assert loaded.origins["upstreams.1.api_key"] == "cli --api-key"
    assert loaded.origins["upstreams.1.type"] == "config.yaml:3"


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        ("https://api.openai.com", "openai"),
        ("https://api.anthropic.com/v1/", "anthropic"),
        ("https://generativelanguage.googleapis.com", "gemini"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://mine.openai.azure.com", "azure"),
        ("http://localhost:11434", "ollama"),
        ("http://localhost:8000", "generic"),
        ("https://api.openai.com.evil.example", "generic"),
    ],
)
def test_the_type_is_guessed_from_a_known_address(base_url: str, kind: str) -> None:
    (upstream,) = load("", base_url=base_url).settings.upstreams
    assert (upstream.type, upstream.name) == (kind, kind)


def test_no_upstream_needs_to_be_the_default() -> None:
    loaded = load("upstreams:\n  - {type: openai, prefix: /o}\n  - {type: gemini, prefix: /g}\n")
    assert [up.prefix for up in loaded.settings.upstreams] == ["/o", "/g"]


def test_http2_and_proxies_bring_their_transport() -> None:
    yaml = "upstreams:\n  - {type: openai, http2: true}\n  - {type: gemini, prefix: /g, proxy: 'http://p:1'}\n"
    assert [up.transport for up in load(yaml).settings.upstreams] == ["httpx", "httpx"]


# --- secrets ---


def test_no_secret_is_in_what_settings_look_like() -> None:
    yaml = (
        "upstreams:\n  - type: openai\n    api_key: hunter2-key\n    proxy: http://u:hunter2@p:1\n"
        "    headers: {Authorization: hunter2}\n"
        "middlewares:\n  - {use: 'acme:A', key: hunter2}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(yaml)
    assert "hunter2" not in str(caught.value)
    settings = load(yaml.partition("middlewares")[0]).settings
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)


def test_what_came_out_of_a_variable_is_marked() -> None:
    yaml = "upstreams:\n  - type: openai\n    base_url: ${BASE:-http://x}\nport: 4\n"
    assert load(yaml).opaque == {"upstreams.0.base_url"}
