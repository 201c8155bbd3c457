"""Anthropic messages, streamed: blocks by `index` put together into one `message`.

anthropic-sdk-python: types/raw_message_stream_event.py, lib/streaming/_beta_messages.py
https://docs.anthropic.com/en/api/messages-streaming
Counts in `message_delta.usage` are cumulative: they replace those of `message_start`.
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import ErrorInfo, Format, StreamAssembler, StreamEvent, Usage, read_error
from .openai_usage import model_of, own_cost
from .reading import count, index, joined, loads, mapping, merge_known, text, total

# Deltas that are joined: the delta's field, the block's field ("" where JSON is parsed at the end).
_TEXTS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("partial_json", ""),
}
# Blocks that say nothing yet when they start; all others are the model's output at once.
_EMPTY_AT_START = frozenset({"text", "thinking"})


class Block:
    """A content block in the making."""

    __slots__ = ("fields", "texts")

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields
        self.texts: dict[str, list[str]] = {}


class MessageAssembler(StreamAssembler):
    """Events to a message."""

    def __init__(self) -> None:
        self._message: dict[str, object] = {}
        self._blocks: dict[int, Block] = {}
        self._usage: dict[str, object] = {}
        self._stopped = False
        self._counted = False  # the output, by a message_delta

    def feed(self, event: StreamEvent) -> None:  # hot: 1 µs for a text delta
        """Take in one event."""
        if not event.data or not event.complete:
            return
        body = loads(event.data)
        if not isinstance(body, dict):
            return
        kind = body.get("type")
        if kind == "content_block_delta":
            delta = body.get("delta")
            if isinstance(delta, dict):
                self._add_delta(self._block(body), delta)
        elif kind == "content_block_start":
            self._start_block(body)
        elif kind == "message_start":
            self._start(mapping(body.get("message")))
        elif kind == "message_delta":
            self._change(body)
        elif kind == "message_stop":
            self._stopped = True
        elif kind == "error":
            self.error = read_error(body) or ErrorInfo(None, None)

    def _block(self, body: Mapping[str, object]) -> Block:
        number = index(body.get("index"))
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = Block({})
        return block

    def _add_delta(self, block: Block, delta: Mapping[str, object]) -> None:  # hot
        kind = delta.get("type")
        names = _TEXTS.get(kind) if isinstance(kind, str) else None
        if names is None:
            _add_other(block.fields, delta)
            return
        piece = delta.get(names[0])
        if isinstance(piece, str) and piece:
            self.model_output = True
            pieces = block.texts.get(names[1])
            if pieces is None:
                before = block.fields.get(names[1])
                pieces = block.texts[names[1]] = [before] if isinstance(before, str) else []
            pieces.append(piece)

    def _start_block(self, body: Mapping[str, object]) -> None:
        fields = body.get("content_block")
        if not isinstance(fields, dict):
            return
        self._block(body).fields = fields
        if fields.get("type") not in _EMPTY_AT_START:
            self.model_output = True
        if fields.get("type") == "fallback":  # names the model that took over
            served = text(mapping(fields.get("to")).get("model"))
            self._message["model"] = served or self._message.get("model")

    def _start(self, message: dict[str, object]) -> None:
        self._message = message
        merge_known(self._usage, mapping(message.get("usage")))

    def _change(self, body: Mapping[str, object]) -> None:
        for key, value in mapping(body.get("delta")).items():
            if value is not None or key not in self._message:
                self._message[key] = value
        usage = mapping(body.get("usage"))
        merge_known(self._usage, usage)
        self._counted = self._counted or usage.get("output_tokens") is not None
        rest = {k: v for k, v in body.items() if k not in {"type", "delta", "usage"}}
        merge_known(self._message, rest)  # context_management and what may come

    @property
    def terminal(self) -> bool:
        """`message_stop` was seen."""
        return self._stopped

    @property
    def usage(self) -> Usage | None:
        """Usage so far: input from the start, output as last told.

        What `message_start` tells of the output is of its first tokens only: it is no figure of
        an answer that was cut before its `message_delta`.
        """
        usage = read_usage(self._usage)
        if usage is not None and not (self._counted or self._stopped):
            usage.output_tokens = None
        return usage

    @property
    def model(self) -> str | None:
        """The model of the message."""
        return text(self._message.get("model"))

    def message(self) -> object | None:
        """The whole message."""
        if not self._message and not self._blocks:
            return None
        answer: dict[str, object] = {"type": "message", "role": "assistant", **self._message}
        if self._blocks or not isinstance(answer.get("content"), list):
            answer["content"] = [_built(block) for _, block in sorted(self._blocks.items())]
        if self._usage:
            answer["usage"] = self._usage
        return answer


def _add_other(fields: dict[str, object], delta: Mapping[str, object]) -> None:
    """Citations are a list that grows; signatures and compactions come whole."""
    if delta.get("type") == "citations_delta":
        known = fields.get("citations")
        fields["citations"] = [*(known if isinstance(known, list) else []), delta.get("citation")]
        return
    merge_known(fields, {key: value for key, value in delta.items() if key != "type"})


def _built(block: Block) -> dict[str, object]:
    fields = dict(block.fields)
    for name, pieces in block.texts.items():
        if name:
            fields[name] = joined(pieces)
        else:
            fields["input"] = _tool_input(joined(pieces))
    if str(fields.get("type")).endswith("tool_use"):  # also server_tool_use, mcp_tool_use
        fields.setdefault("input", {})
    return fields


def _tool_input(partial_json: str) -> object:
    """The joined arguments; when they were cut off, the text under the key the docs use for it.

    https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming
    """
    if not partial_json.strip():
        return {}
    value = loads(partial_json.encode())
    return {"INVALID_JSON": partial_json} if value is None else value


def read_usage(raw: Mapping[str, object]) -> Usage | None:
    """All input is `input_tokens` and both cache counts: Anthropic counts them apart.

    anthropic-sdk-python types/raw_message_delta_event.py; `output_tokens` includes thinking.
    """
    if not raw:
        return None
    fresh = count(raw.get("input_tokens"))
    read = count(raw.get("cache_read_input_tokens"))
    written = count(raw.get("cache_creation_input_tokens"))
    if written is None:
        written = total(*map(count, mapping(raw.get("cache_creation")).values()))
    return Usage(
        input_tokens=None if fresh is None else total(fresh, read, written),
        output_tokens=count(raw.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=count(mapping(raw.get("output_tokens_details")).get("thinking_tokens")),
        raw=raw,
        cost_usd=own_cost(raw) if "cost" in raw else None,  # OpenRouter's Anthropic face
        apart=_apart(raw),
    )


def _apart(raw: Mapping[str, object]) -> dict[str, int] | None:
    """Writing for an hour costs more than for five minutes; searches are charged each."""
    hour = count(mapping(raw.get("cache_creation")).get("ephemeral_1h_input_tokens"))
    searches = count(mapping(raw.get("server_tool_use")).get("web_search_requests"))
    if not hour and not searches:
        return None
    found = {"cache_write_1h": hour, "search": searches}
    return {name: number for name, number in found.items() if number}


def usage_of(message: Mapping[str, object]) -> Usage | None:
    """The usage of an unstreamed message."""
    return read_usage(mapping(message.get("usage")))


def finish_reasons_of(message: Mapping[str, object]) -> list[str]:
    """`stop_reason`."""
    reason = text(message.get("stop_reason"))
    return [reason] if reason else []


MESSAGES = Format(usage_of, model_of, finish_reasons_of, {"sse": MessageAssembler})
