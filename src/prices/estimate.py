"""How many tokens a text comes to, where nobody has told. The one rule, for all who ask:

- With `tiktoken` installed and the encoding of an OpenAI model in its cache on this machine, that
  encoding counts texts up to 256 KB (`encodings`). It is never fetched.
- Else a token is 4 bytes of UTF-8; 3.5 for Claude. So the script tells by itself: English comes
  to 4 characters a token, Cyrillic and Greek to 2, Chinese and Japanese to 1.3.
  (Vendors' own rules of thumb, and the 4 bytes that Codex cuts by:
  https://help.openai.com/en/articles/4936856, https://ai.google.dev/gemini-api/docs/tokens,
  https://docs.anthropic.com/en/docs/about-claude/glossary#tokens.)
- A picture, a sound or another piece of base64 is 1,000 tokens.
- Of a request count the texts of its JSON, not its keys (but those of tools' arguments); of an
  answer what the model has written: text, visible thinking, tool names and arguments. Thinking
  that is not shown cannot be counted.
- Signatures and encrypted thinking are nobody's text.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

Counter = Callable[[str], int]
"""A text to a number of tokens."""

_BYTES = 4.0
_CLAUDE_BYTES = 3.5
_DATA_TOKENS = 1000
_DATA_KEYS = frozenset({"data", "b64_json", "file_data", "image_data"})
_DATA_CHARACTERS = 1024  # shorter ones under these names are text
_NO_TEXT = frozenset(
    {"encrypted_content", "signature", "thoughtSignature", "thought_signature", "model"}
)

_ARGUMENTS = frozenset({"input", "args", "arguments"})  # of a tool call, where they are parsed

# Where the formats keep what the model has written; the first that is there.
_ANSWERS = ("choices", "candidates", "output", "content", "message", "response")
# What stands beside it: names, reasons, and what is said twice.
_BESIDE = _NO_TEXT | {
    "annotations",
    "call_id",
    "citationMetadata",
    "citations",
    "finishReason",
    "finish_reason",
    "groundingMetadata",
    "id",
    "logprobs",
    "native_finish_reason",
    "object",
    "reasoning_details",
    "role",
    "safetyRatings",
    "status",
    "type",
}


def by_bytes(model: str | None) -> Counter:
    """The rule of bytes, for this model."""
    each = _CLAUDE_BYTES if model is not None and "claude" in model.lower() else _BYTES

    def tokens(text: str) -> int:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        return -int(-size // each)

    return tokens


def input_tokens(body: object, tokens: Counter) -> int:
    """An estimate of what the text in a request's JSON comes to."""
    return _counted(body, tokens, _NO_TEXT)


def output_tokens(answer: object, tokens: Counter) -> int | None:
    """The same of an answer, or of what came of one, as one JSON object; None: it holds none."""
    if not isinstance(answer, dict):
        return None
    for name in _ANSWERS:
        if (written := answer.get(name)) is not None:
            thinking = answer.get("thinking")  # Ollama's, beside its `response`
            return _counted([written, thinking], tokens, _BESIDE)
    return None


def _counted(value: object, tokens: Counter, skipped: frozenset[str]) -> int:
    """Texts are joined before they are counted: a thousand short ones are not rounded up each."""
    texts: list[str] = []
    data = 0
    left = [("", value)]
    while left:
        name, value = left.pop()
        if isinstance(value, str):
            if _is_data(name, value):
                data += 1
            else:
                texts.append(value)
        elif isinstance(value, dict):
            if name in _ARGUMENTS:
                texts.append(orjson.dumps(value).decode())
                continue
            left.extend((key, item) for key, item in value.items() if key not in skipped)
        elif isinstance(value, list):
            left.extend((name, item) for item in value)
    return tokens("".join(texts)) + data * _DATA_TOKENS


def _is_data(name: str, value: str) -> bool:
    return value.startswith("data:") or (name in _DATA_KEYS and len(value) > _DATA_CHARACTERS)
