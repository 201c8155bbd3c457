"""Documents as traces hold them, of the parts a test is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from src.record.conversation import Conversation, conversation_of

ROOT = Path(__file__).resolve().parents[2]


def body(value: object, kind: str = "json", **more: object) -> dict[str, Any]:
    return {"kind": kind, "value": value, "truncated": None, **more}


def document(
    operation: str, asked: object = None, answered: object = None, *, message: object = None
) -> dict[str, Any]:
    """What `conversation_of` looks at, of a trace."""
    return {
        "summary": {"operation": operation},
        "request": {"body": body(asked)},
        "response": {"body": body(answered), "message": message},
    }


def read(
    operation: str, asked: object = None, answered: object = None, **more: Any
) -> Conversation:
    return conversation_of(document(operation, asked, answered, **more))


def example() -> dict[str, Any]:
    """The whole trace of the README."""
    found: dict[str, Any] = json.loads((ROOT / "examples" / "trace.json").read_bytes())
    return found
