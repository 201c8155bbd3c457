from __future__ import annotations

import pytest
from pydantic import ValidationError

from src.config import Limits, MiddlewareSpec, Settings, UpstreamSettings


def test_nothing_outside_of_the_arguments_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMTAP_PORT", "1")
    assert Settings().port == 3000


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.port = 1
    with pytest.raises(ValidationError):
        settings.timeouts.idle_s = 1


def test_the_default_chain_is_trace() -> None:
    assert Settings().middlewares == (MiddlewareSpec("trace"),)


def test_the_three_ways_to_write_a_middleware() -> None:
    written = ["a", {"b": {"x": 1}}, {"c": None}, {"use": "m:C", "x": 1}]
    specs = Settings(middlewares=written).middlewares
    assert [(spec.name, dict(spec.options)) for spec in specs] == [
        ("a", {}),
        ("b", {"x": 1}),
        ("c", {}),
        ("m:C", {"x": 1}),
    ]


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("64MB", 64_000_000),
        ("1 MiB", 1 << 20),
        ("1.5k", 1500),
        ("7", 7),
        (7, 7),
        ("2 GiB", 2 << 30),
    ],
)
def test_sizes_may_have_units(written: object, size: int) -> None:
    assert Limits.model_validate({"body_bytes": written}).body_bytes == size


def test_slashes_at_the_end_do_not_matter() -> None:
    upstream = UpstreamSettings(base_url="https://host/v1/", prefix="/a/")
    assert (upstream.base_url, upstream.prefix) == ("https://host/v1", "/a")


def test_an_ipv6_host_may_be_written_in_brackets() -> None:
    assert Settings(host="[::1]").host == "::1"
