"""Who may be reached by other machines. The refusals stand in test_mistakes.

# reliability 105
"""

from __future__ import annotations

from pathlib import Path

import pytest

from src.config.loading import load_settings

UPSTREAM = "upstreams: [{type: openai}]\n"
AUTH = "middlewares: [{auth: {keys: [{label: a, key: sk-llmtap-0123456789}]}}]\n"
OWN_GATE = """
class Gate:
    authenticates = True

    def __init__(self, options, services): ...
"""


@pytest.mark.parametrize(
    ("text", "env", "flags"),
    [
        (AUTH + "host: '::'\n", {}, {}),
        (AUTH + "web: {host: 0.0.0.0}\n", {}, {}),
        ("web: {host: 0.0.0.0}\n", {"LLMTAP_WEB__ADMIN_KEY": "sk-llmtap-0123456789"}, {}),
        ("host: 0.0.0.0\nallow_open: true\n", {}, {}),
        ("host: 0.0.0.0\n", {}, {"allow_open": True}),
        ("host: '::'\n", {"LLMTAP_ALLOW_OPEN": "true"}, {}),
        ("middlewares: [own_gate:Gate]\nhost: 0.0.0.0\n", {}, {}),
        *((f"host: '{host}'\n", {}, {}) for host in ("127.0.0.2", "::1", "localhost")),
    ],
)
def test_served(
    text: str,
    env: dict[str, str],
    flags: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("own_gate.py").write_text(OWN_GATE)
    Path("config.yaml").write_text(UPSTREAM + text)
    assert load_settings(flags, env).settings.host
