"""Ollama's chat and generate, streamed: one JSON object a line, the last with `"done": true`.

https://github.com/ollama/ollama/blob/main/docs/api.md, api/types.go (ChatResponse,
GenerateResponse, Metrics). An error half way is a line `{"error": …}`.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import openai_chat, openai_usage
from .base import ErrorInfo, Format, StreamAssembler, StreamEvent, Usage, read_error
from .openai_chat import ChatAssembler
from .reading import count, joined, loads, text

_COUNTS = (
    "prompt_eval_count",
    "eval_count",
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
)  # durations in nanoseconds
_LISTS = frozenset({"logprobs", "tool_calls", "images"})


class LineAssembler(StreamAssembler):
    """Lines to one object. Texts are joined and lists grow, in the object and in its message."""

    def __init__(self) -> None:
        self._fields: dict[str, object] = {}
        self._message: dict[str, object] | None = None
        self._texts: dict[str, list[str]] = {}  # "response", "thinking" of generate
        self._message_texts: dict[str, list[str]] = {}  # "content", "thinking" of chat

    def feed(self, event: StreamEvent) -> None:  # hot
        """Take in one line."""
        if not event.data or not event.complete:
            return
        line = loads(event.data)
        if not isinstance(line, dict):
            return
        if line.get("error"):
            self.error = read_error(line) or ErrorInfo(None, None)
            return
        message = line.pop("message", None)
        if isinstance(message, dict):
            if self._message is None:
                self._message = {}
            self._add(self._message, self._message_texts, message)
        self._add(self._fields, self._texts, line)

    def _add(
        self, target: dict[str, object], texts: dict[str, list[str]], piece: Mapping[str, object]
    ) -> None:  # hot
        for key, value in piece.items():
            if key in {"content", "thinking", "response"} and isinstance(value, str):
                if key not in texts:
                    texts[key] = []
                    target[key] = ""
                if value:
                    texts[key].append(value)
                    self.model_output = True
            elif key in _LISTS and isinstance(value, list):
                known = target.get(key)
                target[key] = [*known, *value] if isinstance(known, list) else value
                self.model_output = self.model_output or bool(value)
            elif value is not None:
                target[key] = value

    @property
    def terminal(self) -> bool:
        """`"done": true` was seen."""
        return self._fields.get("done") is True

    @property
    def usage(self) -> Usage | None:
        """The counts of the last line."""
        return read_usage(self._fields)

    @property
    def model(self) -> str | None:
        """The model of the lines."""
        return text(self._fields.get("model"))

    def message(self) -> object | None:
        """The whole answer, in the order of the last line."""
        if not self._fields and self._message is None:
            return None
        answer = self._fields | _joined(self._texts)
        if self._message is None:
            return answer
        whole: dict[str, object] = {
            key: answer.pop(key) for key in ("model", "created_at") if key in answer
        }
        whole["message"] = self._message | _joined(self._message_texts)
        return whole | answer


def _joined(texts: Mapping[str, list[str]]) -> dict[str, object]:
    return {key: joined(pieces) for key, pieces in texts.items()}


def read_usage(body: Mapping[str, object]) -> Usage | None:
    """`prompt_eval_count` is left out where the prompt was wholly cached: then it is unknown."""
    raw = {key: body[key] for key in _COUNTS if body.get(key) is not None}
    if not raw:
        return None
    return Usage(count(raw.get("prompt_eval_count")), count(raw.get("eval_count")), raw=raw)


def _usage_of(body: Mapping[str, object]) -> Usage | None:
    """Of either face."""
    return openai_usage.usage_of(body) or read_usage(body)


def _finish_reasons_of(message: Mapping[str, object]) -> list[str]:
    """Of either face."""
    reason = text(message.get("done_reason"))
    return [reason] if reason else openai_chat.finish_reasons_of(message)


_BOTH = {"ndjson": LineAssembler, "sse": ChatAssembler}
OLLAMA_CHAT = Format(_usage_of, openai_usage.model_of, _finish_reasons_of, _BOTH)
GENERATE = Format(_usage_of, openai_usage.model_of, _finish_reasons_of, {"ndjson": LineAssembler})
OLLAMA_EMBEDDINGS = Format(_usage_of, openai_usage.model_of, openai_usage.no_finish_reasons)
