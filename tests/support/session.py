"""A folder of traces like one long session of a coding agent: each request says all that was said
before, and a little more."""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
BEGAN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SESSION = "0b2e6b53-6a57-4f0e-9d0e-6f1c2b0e7d11"
WORDS = (ROOT / "README.md").read_text().split()
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NEEDLE = "pelican-in-the-haystack"


def write_session(folder: Path, turns: int = 280, last_bytes: int = 760_000) -> list[str]:
    """The traces' ids, the oldest first. The requests grow evenly to `last_bytes`."""
    talk = Talk(turns, last_bytes)
    ids = []
    for number in range(turns):
        document = talk.trace(number, ids[-1] if ids else None)
        ids.append(document["id"])
        write_trace(folder, document)
    return ids


def write_trace(folder: Path, document: Json) -> Path:
    """As the recorder lays them: a folder a day, the names, JSON indented by two."""
    at = datetime.fromisoformat(document["timing"]["received_at"])
    summary = document["summary"]
    name = f"{at:%H%M%S}.{at.microsecond:06}Z_{document['id']}_{summary['provider']}"
    name += f"_{summary['model']}_{summary['status'] or 'ERR'}.json"
    day = folder / f"{at:%Y-%m-%d}"
    day.mkdir(parents=True, exist_ok=True)
    path = day / name
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return path


class Talk:
    """A made-up conversation, the same each time."""

    def __init__(self, turns: int, last_bytes: int) -> None:
        self.random = random.Random(turns)
        self.size = last_bytes // turns
        self.template: Json = orjson.loads((ROOT / "examples" / "trace.json").read_bytes())
        self.system = [{"type": "text", "text": self.prose(12_000)}]
        self.tools = list(self.offered(14))
        self.messages: list[Json] = []

    def prose(self, chars: int) -> str:
        """Lines of words, about so many characters."""
        lines, left = [], chars
        while left > 0:
            line = " ".join(self.random.choices(WORDS, k=12))
            lines.append(line)
            left -= len(line) + 1
        return "\n".join(lines)[: max(chars, 1)]

    def offered(self, number: int) -> Iterator[Json]:
        names = ["Bash", "Read", "Edit", *(f"Tool{n}" for n in range(number - 3))]
        for name in names:
            schema = {"type": "object", "properties": {"command": {"type": "string"}}}
            yield {"name": name, "description": self.prose(900), "input_schema": schema}

    def trace(self, number: int, parent: str | None) -> Json:
        """The next request with its answer."""
        at = BEGAN + timedelta(seconds=20 * number)
        self.messages.append(self.asked(number))
        document = deepcopy(self.template)
        document["id"] = ulid(at, self.random.getrandbits(80))
        document["session"] |= {"id": SESSION, "parent_id": parent}
        document["timing"]["received_at"] = f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
        body = {
            "model": "claude-sonnet-4-5",
            "max_tokens": 32000,
            "system": self.system,
            "tools": self.tools,
            "messages": self.messages,
            "stream": True,
        }
        self.fill(document["request"]["body"], body)
        answer = self.answered(number)
        document["response"]["message"]["content"] = answer
        self.messages.append({"role": "assistant", "content": answer})
        return document

    def fill(self, part: Json, body: Json) -> None:
        data = orjson.dumps(body)
        part |= {"value": orjson.loads(data), "sha256": sha256(data).hexdigest()}
        part |= {"wire_bytes": len(data), "decoded_bytes": len(data)}

    def asked(self, number: int) -> Json:
        if number == 0:
            return {"role": "user", "content": [{"type": "text", "text": f"Fix it. {NEEDLE}"}]}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number - 1}"}
        size = int(self.size * self.random.uniform(0.5, 1.3))
        return {"role": "user", "content": [result | {"content": self.prose(size)}]}

    def answered(self, number: int) -> list[Json]:
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash"}
        return [
            {"type": "thinking", "thinking": self.prose(150), "signature": "c2ln"},
            {"type": "text", "text": self.prose(80)},
            call | {"input": {"command": f"sed -n {number},{number + 40}p src/main.py"}},
        ]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.json"))


def ulid(at: datetime, randomness: int) -> str:
    number = int(at.timestamp() * 1000) << 80 | randomness
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
