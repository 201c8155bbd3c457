"""Gemini's generated content, streamed: whole responses, each with a piece of the parts.

python-genai: types.py (GenerateContentResponse, Candidate, Part, UsageMetadata), _api_client.py
https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
Parts with a signature stay as they came: "don't merge one part with a signature with another part
without a signature", https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import ErrorInfo, Format, StreamAssembler, StreamEvent, Usage, read_error
from .reading import count, entries, index, joined, loads, mapping, merge_known, text, total

_TEXT_KEYS = frozenset({"text", "thought"})
# Lists inside a candidate that come in pieces; of all else the last value is kept.
_GROWING = frozenset({"citationMetadata", "logprobsResult"})


class Candidate:
    """One of the answers. A text part in the making is a list of pieces under "text"."""

    __slots__ = ("content", "fields", "open_text", "parts")

    def __init__(self) -> None:
        self.fields: dict[str, object] = {}
        self.content: dict[str, object] = {}
        self.parts: list[dict[str, object] | TextPart] = []
        self.open_text: TextPart | None = None  # the last part, if text can be added to it


class TextPart:
    """Adjacent texts of one kind, thought or not."""

    __slots__ = ("fields", "pieces", "thought")

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields
        self.thought = fields.get("thought") is True
        self.pieces: list[str] = []


class ContentAssembler(StreamAssembler):
    """Responses to one response."""

    def __init__(self) -> None:
        self._head: dict[str, object] = {}
        self._usage: dict[str, object] = {}
        self._candidates: dict[int, Candidate] = {}

    def feed(self, event: StreamEvent) -> None:
        """Take in one response. Errors come as plain JSON between the events, without `data:`."""
        data = event.data
        if not data:
            data = event.raw.strip()
            if data[:1] != b"{":
                return
        elif not event.complete:
            return
        body = loads(data)
        if isinstance(body, dict):
            self._read(body)

    def _read(self, body: dict[str, object]) -> None:
        for key, value in body.items():
            if key == "candidates":
                for candidate in entries(value):
                    self._add(candidate)
            elif key == "usageMetadata":
                merge_known(self._usage, mapping(value))
            elif key == "error":
                self.error = read_error(body) or ErrorInfo(None, None)
            elif value is not None:
                self._head[key] = value

    def _add(self, candidate: Mapping[str, object]) -> None:
        number = index(candidate.get("index"))
        state = self._candidates.get(number)
        if state is None:
            state = self._candidates[number] = Candidate()
        for key, value in candidate.items():
            if key == "content" and isinstance(value, dict):
                self._add_content(state, value)
            elif key in _GROWING and isinstance(value, dict):
                state.fields[key] = _grown(mapping(state.fields.get(key)), value)
            elif value is not None:
                state.fields[key] = value

    def _add_content(self, state: Candidate, content: Mapping[str, object]) -> None:
        for key, value in content.items():
            if key != "parts":
                state.content[key] = value
        for part in entries(content.get("parts")):
            piece = part.get("text")
            if isinstance(piece, str) and part.keys() <= _TEXT_KEYS:
                if piece:
                    self.model_output = True
                    _add_text(state, part, piece)
            else:
                self.model_output = self.model_output or part.keys() != {"text", "thoughtSignature"}
                state.parts.append(part)
                state.open_text = None

    @property
    def terminal(self) -> bool:
        """Every candidate has a `finishReason`, or the prompt was blocked: no event says so."""
        states = self._candidates.values()
        if states:
            return all(state.fields.get("finishReason") for state in states)
        return bool(mapping(self._head.get("promptFeedback")).get("blockReason"))

    @property
    def usage(self) -> Usage | None:
        """The last `usageMetadata`: it is cumulative."""
        return read_usage(self._usage)

    @property
    def model(self) -> str | None:
        """`modelVersion`."""
        return text(self._head.get("modelVersion"))

    def message(self) -> object | None:
        """The whole response."""
        if not self._head and not self._candidates:
            return None
        answer: dict[str, object] = {}
        if self._candidates:
            answer["candidates"] = [_built(c) for _, c in sorted(self._candidates.items())]
        if self._usage:
            answer["usageMetadata"] = self._usage
        return answer | self._head


def _add_text(state: Candidate, part: dict[str, object], piece: str) -> None:
    part_open = state.open_text
    if part_open is None or part_open.thought is not (part.get("thought") is True):
        part_open = state.open_text = TextPart(part)
        state.parts.append(part_open)
    part_open.pieces.append(piece)


def _grown(known: dict[str, object], pieces: Mapping[str, object]) -> dict[str, object]:
    grown = dict(known)
    for key, value in pieces.items():
        present = grown.get(key)
        both = isinstance(present, list) and isinstance(value, list)
        grown[key] = [*present, *value] if both else value  # type: ignore[misc] # both are lists
    return grown


def _built(state: Candidate) -> dict[str, object]:
    parts = [
        {**part.fields, "text": joined(part.pieces)} if isinstance(part, TextPart) else part
        for part in state.parts
    ]
    content = {"parts": parts, **state.content} if parts else state.content
    return {"content": content, **state.fields} if content else dict(state.fields)


def read_usage(raw: Mapping[str, object]) -> Usage | None:
    """Thoughts are counted beside candidates, tool results beside the prompt; cached inside it.

    `totalTokenCount` is the sum of all four (python-genai types.py).
    """
    if not raw:
        return None
    thoughts = count(raw.get("thoughtsTokenCount"))
    prompt = count(raw.get("promptTokenCount"))
    return Usage(
        input_tokens=total(prompt, count(raw.get("toolUsePromptTokenCount"))),
        output_tokens=total(count(raw.get("candidatesTokenCount")), thoughts),
        cache_read_tokens=count(raw.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        raw=raw,
        apart=_apart(raw),
    )


def _apart(raw: Mapping[str, object]) -> dict[str, int] | None:
    """Tokens of sound, pictures and films: of the prompt without those that were cached."""
    cached = _by_modality(raw.get("cacheTokensDetails"))
    found = {f"cache_read_{name}": tokens for name, tokens in cached.items()}
    for name, tokens in _by_modality(raw.get("promptTokensDetails")).items():
        found[f"input_{name}"] = max(tokens - cached.get(name, 0), 0)
    for name, tokens in _by_modality(raw.get("candidatesTokensDetails")).items():
        found[f"output_{name}"] = tokens
    return {name: tokens for name, tokens in found.items() if tokens} or None


def _by_modality(details: object) -> dict[str, int]:
    """`[{"modality": "AUDIO", "tokenCount": 5}, …]`; text is what is left."""
    found = {}
    for entry in entries(details):
        name, tokens = text(entry.get("modality")), count(entry.get("tokenCount"))
        if name in _MODALITIES and tokens:
            found[name.lower()] = tokens
    return found


_MODALITIES = frozenset({"AUDIO", "IMAGE", "VIDEO"})


def usage_of(body: Mapping[str, object]) -> Usage | None:
    """The usage of an unstreamed response."""
    return read_usage(mapping(body.get("usageMetadata")))


def model_of(body: Mapping[str, object]) -> str | None:
    """`modelVersion`."""
    return text(body.get("modelVersion"))


def finish_reasons_of(message: Mapping[str, object]) -> list[str]:
    """`finishReason` of each candidate, or why the prompt was blocked."""
    reasons = [candidate.get("finishReason") for candidate in entries(message.get("candidates"))]
    reasons.append(mapping(message.get("promptFeedback")).get("blockReason"))
    return [reason for reason in reasons if isinstance(reason, str)]


_ASSEMBLERS = {"sse": ContentAssembler, "json_array": ContentAssembler}
CONTENT = Format(usage_of, model_of, finish_reasons_of)
CONTENT_STREAM = Format(usage_of, model_of, finish_reasons_of, _ASSEMBLERS)
