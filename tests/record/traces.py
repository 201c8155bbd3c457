"""Folders of traces as the recorder would have written them, received when one likes."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

from src.tracing.document import Documents
from src.utils.ulid import ULIDs
from tests.tracing.building import recorded
from tests.tracing.support import compact

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def chat(model: str = "gpt-4o-mini", *said: str, **more: object) -> bytes:
    """A chat request in which these texts were said, in turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]
    return compact({"model": model, "messages": messages, **more})


def answer(text: str, **usage: int) -> bytes:
    return compact(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "gpt-4o-mini",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": usage.get("input", 12),
                "completion_tokens": usage.get("output", 34),
                "total_tokens": 46,
            },
        }
    )


class Written:
    """Writes traces below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._documents = Documents()
        self._ids = ULIDs()

    def add(
        self,
        *args: object,
        at: datetime = NOON,
        session: str | None = None,
        key: str | None = None,
        **kwargs: object,
    ) -> str:
        """One trace: what `recorded` takes, and when it was received; its id."""
        headers = [(b"x-llmtap-session", session.encode())] if session else []
        exchange = recorded(*args, request_headers=headers, **kwargs)
        ns = round(at.timestamp() * 1e6) * 1000
        identity = self._ids(ns)
        exchange.opened = dataclasses.replace(exchange.opened, id=identity, received_ns=ns)
        if exchange.finished is not None:
            exchange.finished.key_label = key
        document = self._documents.build(exchange)
        day = self.root / document.day
        day.mkdir(parents=True, exist_ok=True)
        for name, data in (*document.files, (document.name, document.data)):
            draft = self.root / "draft"  # who watches the folder sees it whole
            draft.write_bytes(data)
            draft.rename(day / name)
        return identity
