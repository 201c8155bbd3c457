"""The worked examples run as their own docstrings configure them, in the real program."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from tests.conftest import StartTap
from tests.support import steps
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header

EXAMPLES = sorted(
    path
    for path in (Path(__file__).resolve().parents[2] / "examples").glob("*.py")
    if path.name != "__init__.py"
)
CHAT = "/v1/chat/completions"


def snippet(name: str) -> list[object]:
    """The `middlewares:` list that stands in the example's docstring."""
    (path,) = (p for p in EXAMPLES if p.stem == name)
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    chain = yaml.safe_load(text[text.index("middlewares:") :])["middlewares"]
    assert isinstance(chain, list)
    return chain


def started(start_tap: StartTap, upstream: Upstream, name: str) -> LLMTap:
    return start_tap(config=settings(upstream.url, middlewares=snippet(name)), args=["--quiet"])


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_examples_are_short_and_show_their_config(path: Path) -> None:
    assert 15 <= len(path.read_text().splitlines()) <= 40
    (use,) = (item["use"] for item in snippet(path.stem) if isinstance(item, dict))
    assert use.startswith(f"examples.{path.stem}:")


def test_there_are_three() -> None:
    assert [path.stem for path in EXAMPLES] == ["add_header", "block_word", "tag_by_header"]


def test_add_header(
    start_tap: StartTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    tap = started(start_tap, upstream, "add_header")
    assert tap.call("POST", CHAT, [*tagged, (b"x-team", b"red")], b"{}").status == 200
    (seen,) = upstream.requests(case)
    assert seen.head.all("x-team") == [b"blue"]
    trace = tap.trace(case)
    assert trace["forwarded"]["changed"]
    assert "x-team" in str(trace["forwarded"]["header_changes"]).lower()
    assert trace["response"]["status"] == 200


def test_block_word(
    start_tap: StartTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    tap = started(start_tap, upstream, "block_word")
    held = b'{"messages":[{"content":"about Project-\\u004eightingale"}]}'
    assert tap.call("POST", CHAT, tagged, b'{"messages":[]}').status == 200
    answer = tap.call("POST", CHAT, tagged, held)
    assert answer.status == 400
    assert b"blocked_word" in answer.body
    assert tap.call("POST", CHAT, tagged, b"\x28\xb5\x2f\xfd").status == 415
    assert upstream.hits(case) == 1
    causes = {doc["response"]["status"]: doc["termination"] for doc in tap.traces(3, having=case)}
    assert causes[400]["cause"] == "rejected"
    assert "block_word" in causes[400]["detail"]


def test_tag_by_header(
    start_tap: StartTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    tap = started(start_tap, upstream, "tag_by_header")
    upstream.script(case, *steps.stream([b"data: {}\n\n", b"data: [DONE]\n\n"]))
    assert tap.call("POST", CHAT, [*tagged, (b"X-Team", b"blue")], b"{}").status == 200
    (seen,) = upstream.requests(case)
    assert seen.head.one("x-team") is None
    trace = tap.trace(case)
    assert trace["tags"] == ["team:blue"]
    assert trace["ext"]["tag_by_header"] == {"received_bytes": 24}
