"""What a check of one client is made of: the stage it runs on, and the list of what must hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.npm import Ran
from tests.clients.shapes import Json
from tests.support.tap import LLMTap

KEY = "sk-canary-of-the-npm-client"
ANSWER = "Hello from the mock provider: pelican."
USAGE = {"input_tokens": 1234, "output_tokens": 17}  # as in fixtures.json


@dataclass(slots=True)
class Stage:
    """The npm folder, a folder for homes and work, and the program in front of the mock."""

    npm: Path
    folder: Path
    tap: LLMTap


@dataclass(slots=True)
class Outcome:
    """One case: what was checked and what did not hold, each failure with what was seen."""

    client: str
    name: str
    seconds: float = 0.0
    held: int = 0
    failures: list[str] = field(default_factory=list)

    def that(self, what: str, holds: bool, saw: object = "") -> None:
        if holds:
            self.held += 1
        else:
            self.failures.append(f"{what}; saw {str(saw)[:600]!r}")

    def ended_well(self, ran: Ran, answer: str) -> None:
        self.seconds += ran.seconds
        self.that("exit code 0", ran.code == 0, f"{ran.code}: {ran.out[-300:]}{ran.err[-300:]}")
        self.that("the mock's answer is printed", answer in ran.out, ran.out[-600:])

    def went_well(self, trace: Json) -> None:
        """One traced stream that is complete, unchanged and summed up."""
        ended = trace["termination"]
        self.that("cause ok", ended["cause"] == "ok", ended)
        self.that("the stream has its end", (trace["stream"] or {}).get("terminal") is True)
        self.that("a message was put together", bool(trace["response"]["message"]))
        self.that("usage is the provider's", trace["usage"]["source"] == "provider", trace["usage"])
        sent = trace["forwarded"]
        self.that("the body was not changed", sent["sha256_in"] == sent["sha256_out"], sent)
        self.that("a first token was seen", trace["timing"]["first_token_ms"] is not None)


Case = Callable[[Stage, Outcome], None]


class Watch:
    """The traces written since it was made, in the order of their requests."""

    def __init__(self, tap: LLMTap) -> None:
        self.tap = tap
        self.before = set(tap.files())

    def traces(self, at_least: int = 1, timeout_s: float = 5) -> list[Json]:
        """Waits for so many, then a moment longer for what else was under way."""
        until = time.monotonic() + timeout_s
        while len(self._new()) < at_least and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.2)
        new = self._new()
        return [document for path, document in self.tap.documents() if path in new]

    def _new(self) -> set[Path]:
        return set(self.tap.files()) - self.before


def of(traces: list[Json], operation: str) -> list[Json]:
    return [trace for trace in traces if trace["summary"]["operation"] == operation]


def same_usage(trace: Json, usage: dict[str, int]) -> bool:
    return all(trace["usage"][name] == value for name, value in usage.items())
