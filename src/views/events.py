"""A stream's events with their times, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..utils.inert import inert
from .har import event_bytes
from .lines import Line, Style


def event_lines(stream: Mapping[str, Any]) -> Iterator[Line]:
    """Each event's milliseconds since the request came, and since the event before it."""
    last = 0.0
    for event in stream["events"]:
        t = event["t"]
        note = "  no client was given this" if event.get("incomplete") else ""
        yield Line(f"{t:12.3f} ms  +{t - last:.3f}{note}", Style.DIM)
        last = t
        text = event_bytes(event).decode("utf-8", "backslashreplace")
        for line in inert(text).rstrip("\n").split("\n"):
            yield Line(f"  {line}")
    if not stream["terminal"]:
        yield Line("the provider's own end was not seen", Style.BAD)
