"""How many tokens a text comes to, where nobody has told. The one rule, for all who ask:

- With `tiktoken` installed and the encoding of an OpenAI model in its cache on this machine, that
  encoding counts texts up to 256 KB (`encodings`). It is never fetched.
- Else a token is 4 characters of ASCII, 3 of other alphabets (those of two bytes in UTF-8: Greek,
  Cyrillic, Hebrew, Arabic), and 4/3 of one of all else (Chinese, Japanese, Korean, emoji); for
  Claude it is 3.5, 2.6 and 1.2. Vendors' own rules of thumb:
  https://help.openai.com/en/articles/4936856, https://ai.google.dev/gemini-api/docs/tokens,
  https://docs.anthropic.com/en/docs/about-claude/glossary#tokens. Against o200k_base and
  cl100k_base: English, code and JSON +2 to +8 %, Chinese -3 to +11 %, Russian -14 to +38 %.
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

_CHARACTERS = 4.0
_CLAUDE_CHARACTERS = 3.5
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


def by_script(model: str | None) -> Counter:
    """The rule for this model's texts."""
    each = _CLAUDE_CHARACTERS if model is not None and "claude" in model.lower() else _CHARACTERS

    def tokens(text: str) -> int:
        weight = len(text) if text.isascii() else _weight(text)
        return -int(-weight // each)

    return tokens


def _weight(text: str) -> float:
    """As many characters of ASCII as come to the same."""
    characters, size = len(text), len(text.encode("utf-8", "surrogatepass"))
    ascii_only = len(text.encode("ascii", "ignore"))
    others = characters - ascii_only
    wide = min(size - ascii_only - 2 * others, others)  # a byte more than two each
    return ascii_only + (others - wide) * 4 / 3 + wide * 3


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
            if name in _ARGUMENTS and (written := _json(value)) is not None:
                texts.append(written)
                continue
            left.extend((key, item) for key, item in value.items() if key not in skipped)
        elif isinstance(value, list):
            left.extend((name if isinstance(item, str) else "", item) for item in value)
    return tokens("".join(texts)) + data * _DATA_TOKENS


def _json(value: object) -> str | None:
    """As a model writes it; None for what orjson will not: half characters, endless nesting."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return None


def _is_data(name: str, value: str) -> bool:
    return value.startswith("data:") or (name in _DATA_KEYS and len(value) > _DATA_CHARACTERS)
