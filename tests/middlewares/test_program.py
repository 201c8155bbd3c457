"""tag and body_limit in the running program, and the lines of config.yaml that show all four."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from src.keys import hash_key, new_key
from tests.middlewares.kit import problems
from tests.support.tap import ROOT, LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def chained(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMTap]:
    tag = {"tags": ["prod"], "headers": {"x-team": "team"}, "strip": True}
    limit = {"bytes": 1000, "models": {"big-*": 100_000}}
    config = settings(upstream.url, middlewares=["trace", {"tag": tag}, {"body_limit": limit}])
    tap = LLMTap(tmp_path_factory.mktemp("chained"), config=config)
    try:
        yield tap.start()
    finally:
        tap.stop()


def test_tags_are_in_the_trace_and_the_header_is_not_sent(
    chained: LLMTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    assert chained.call("POST", CHAT, [*tagged, (b"X-Team", b"blue")], b"{}").status == 200
    assert upstream.request(case).head.one("x-team") is None
    assert chained.trace(case)["tags"] == ["prod", "team:blue"]


def test_announced_body_over_the_limit_is_413_before_it_is_sent(
    chained: LLMTap, upstream: Upstream, case: str
) -> None:
    """# reliability 22, 116"""
    with chained.client() as client:
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Case: " + case.encode() + b"\r\n"
            b"Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = client.answer("POST")
    assert (answer.status, answer.interim) == (413, [])
    assert json.loads(answer.body)["error"]["code"] == "request_too_large"
    assert upstream.hits(case) == 0
    trace = chained.trace(case)
    assert trace["termination"]["cause"] == "rejected"
    assert trace["tags"] == ["prod"]


def test_chunked_body_over_the_limit_is_413(
    chained: LLMTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    with chained.client() as client:
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Case: " + case.encode() + b"\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
        for _ in range(40):
            if not client.send_what_it_takes(piece):
                break
        assert client.answer("POST").status == 413
    assert upstream.hits(case) == 0
    assert chained.trace(case)["termination"]["cause"] == "rejected"


@pytest.mark.parametrize(("model", "status"), [("big-1", 200), ("small", 413)])
def test_limit_of_the_model_decides(
    chained: LLMTap, upstream: Upstream, case: str, tagged: list[Header], model: str, status: int
) -> None:
    body = json.dumps({"model": model, "x": "y" * 5000}).encode()
    assert chained.call("POST", CHAT, tagged, body).status == status
    if status == 200:
        assert bytes(upstream.request(case).body) == body


def test_lines_in_config_yaml_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keys.yaml").write_text(f"keys:\n  - {{label: a, hash: '{hash_key(new_key())}'}}\n")
    text = (ROOT / "config.yaml").read_text()
    lines = [line.removeprefix("#   ") for line in text.splitlines()]
    shown = [x for x in lines if re.match(r"- (auth|tag|body_limit|redact): ", x)]
    assert len(shown) == 4
    for line in shown:
        ((name, options),) = yaml.safe_load(line)[0].items()
        assert not problems(name, options), line
