"""Legacy completions, streamed: as chat, with `text` in place of deltas.

openai-python: types/completion.py, types/completion_choice.py
"""

from __future__ import annotations

from typing import ClassVar

from .base import Format
from .openai_chat import Choice, ChunkAssembler, extend_lists, finish_reasons_of
from .openai_usage import model_of, usage_of
from .reading import joined, mapping


class CompletionAssembler(ChunkAssembler):
    """Text to a `text_completion`."""

    object_name: ClassVar[str] = "text_completion"

    def _add(self, choice: dict[str, object]) -> None:  # hot
        state = self._choice(choice)
        for key, value in choice.items():
            if value is None or key == "index":
                continue
            if isinstance(value, str) and key != "finish_reason":
                state.texts.setdefault(key, []).append(value)
                self.model_output = self.model_output or bool(value)
            elif key == "finish_reason":
                state.finish_reason = value
            elif key == "logprobs":
                state.logprobs = extend_lists(state.logprobs, mapping(value))
            else:
                state.extra[key] = value

    def _built(self, state: Choice) -> dict[str, object]:
        return {
            "text": "",
            **{key: joined(pieces) for key, pieces in state.texts.items()},
            "logprobs": state.logprobs,
            "finish_reason": state.finish_reason,
            **state.extra,
        }


COMPLETIONS = Format(usage_of, model_of, finish_reasons_of, {"sse": CompletionAssembler})
