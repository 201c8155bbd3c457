"""What the SDK test files share: a mock, the program in front of it, and one comparison."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.clients.mock_provider import MockProvider
from tests.clients.shapes import Json
from tests.support.tap import LLMTap

T = TypeVar("T")
KEY = "sk-canary-of-the-client"
_numbers = itertools.count(1)


@dataclass(slots=True)
class Through:
    """The same call straight at the mock and through the program."""

    mock: MockProvider
    tap: LLMTap

    def both(self, call: Callable[[str], T]) -> tuple[T, T]:
        """`call(base_url)` at the mock, then through the program: the mock sees the same twice."""
        before = len(self.mock.seen)
        direct, tapped = call(self.mock.url), call(self.tap.url)
        first, second = self.mock.seen[before:]
        assert (second.method, second.target, second.body) == (
            first.method,
            first.target,
            first.body,
        )
        assert end_to_end(second.headers) == end_to_end(first.headers)
        return direct, tapped

    def trace(self, marker: str) -> Json:
        """The only trace whose request holds `marker`; it went well and shows no key."""
        trace = self.tap.trace(marker)
        path = self.tap.path_of(marker)
        assert trace["summary"]["cause"] == trace["termination"]["cause"] == "ok"
        assert trace["termination"]["phase"] == "done"
        assert trace["forwarded"]["sha256_in"] == trace["forwarded"]["sha256_out"]
        assert KEY not in path.read_text()
        return trace


def end_to_end(headers: dict[str, str]) -> dict[str, str]:
    """Without what belongs to one connection only (RFC 9110 7.6.1)."""
    return {name: value for name, value in headers.items() if name not in {"host", "connection"}}


def marker() -> str:
    """A word no other request has, to find its trace by."""
    return f"marker-{next(_numbers):03}."


def through(kind: str, folder: Path) -> Iterator[Through]:
    """One mock and one program for a module: `yield from through("openai", folder)`."""
    mock = MockProvider().start()
    tap = LLMTap(folder, base_url=mock.url, kind=kind, args=["--quiet"])
    try:
        yield Through(mock, tap.start())
    finally:
        tap.stop()
        mock.stop()
