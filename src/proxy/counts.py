"""What the server's side counts besides exchanges."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ServerCounts:
    """Shown by `/health`. `refused`: what was no request, or one connection too many; `slow`: cut
    because a head did not come in time, a body came too slowly, or nothing came at all."""

    connections: int = 0  # open now
    refused: int = 0
    slow: int = 0
