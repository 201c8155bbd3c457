"""The fields a filter may name: the row's column each asks, and how its value is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a field's value is read and compared."""

    TEXT = "text"  # case-insensitive, `*` for anything; without one the whole value
    ID = "id"  # as TEXT, but also any beginning of it
    LIST = "list"  # as TEXT, of any member
    NUMBER = "number"  # a number, with k and M; `4xx` for a status
    DURATION = "duration"  # 250ms, 2s, 1m30s; the column is in milliseconds
    MONEY = "money"  # US dollars
    TIME = "time"  # 2h (ago), 2026-11-21, 2026-11-21T10:00, today; microseconds since 1970
    FLAG = "flag"  # yes or no
    SEARCH = "search"  # words or a phrase in what was said: `column` names the part, or "all"


@dataclass(slots=True, frozen=True)
class Field:
    """One field. `column` is the attribute of `record.row.Row`, of SEARCH the part of the text:
    all, system, messages, tool_calls, tool_results, thinking, answer."""

    name: str
    kind: Kind
    column: str
    help: str


_ALL = (
    Field("id", Kind.ID, "id", "the trace's id, or how it begins"),
    Field("model", Kind.TEXT, "model", "as asked for, else as answered"),
    Field("provider", Kind.TEXT, "provider", "openai, anthropic, gemini, …"),
    Field("upstream", Kind.TEXT, "upstream", "the configured name"),
    Field("op", Kind.TEXT, "operation", "chat, messages, responses, …"),
    Field("method", Kind.TEXT, "method", "GET, POST, …"),
    Field("path", Kind.TEXT, "path", "of the request, without its query"),
    Field("status", Kind.NUMBER, "status", "what the client got: 200, >=400, 4xx, none"),
    Field("cause", Kind.TEXT, "cause", "ok, client_disconnected, timeout, …"),
    Field("phase", Kind.TEXT, "phase", "request, connect, headers, body, done"),
    Field("state", Kind.TEXT, "state", "complete or recovered"),
    Field("error", Kind.TEXT, "error_type", "the error's type"),
    Field("key", Kind.TEXT, "key_label", "the client key's label"),
    Field("session", Kind.ID, "session_id", "the agent run, or how its id begins"),
    Field("parent", Kind.ID, "parent_id", "the request this one continues"),
    Field("address", Kind.TEXT, "client_address", "the client's"),
    Field("agent", Kind.TEXT, "user_agent", "the client's User-Agent"),
    Field("tag", Kind.LIST, "tags", "one of the tags"),
    Field("tool", Kind.LIST, "tools", "a tool the answer calls"),
    Field("stream", Kind.FLAG, "streamed", "yes or no"),
    Field("duration", Kind.DURATION, "duration_ms", "from the request's arrival to its end"),
    Field("ttft", Kind.DURATION, "ttft_ms", "time to first token"),
    Field("overhead", Kind.DURATION, "overhead_ms", "spent in the proxy"),
    Field("in", Kind.NUMBER, "input_tokens", "input tokens, cached ones included"),
    Field("out", Kind.NUMBER, "output_tokens", "output tokens, reasoning included"),
    Field("cached", Kind.NUMBER, "cache_read_tokens", "input tokens read from the cache"),
    Field("reasoning", Kind.NUMBER, "reasoning_tokens", "output tokens spent on reasoning"),
    Field("cost", Kind.MONEY, "cost_usd", "US dollars"),
    Field("attempts", Kind.NUMBER, "attempts", "tries at the upstream"),
    Field("since", Kind.TIME, "received_us", "received at or after"),
    Field("until", Kind.TIME, "received_us", "received before"),
    Field("body", Kind.SEARCH, "all", "words or a phrase in anything that was said"),
    Field("system", Kind.SEARCH, "system", "in the system prompt"),
    Field("message", Kind.SEARCH, "messages", "in the user's and earlier messages"),
    Field("call", Kind.SEARCH, "tool_calls", "in tool calls"),
    Field("result", Kind.SEARCH, "tool_results", "in tool results"),
    Field("thinking", Kind.SEARCH, "thinking", "in the thinking"),
    Field("answer", Kind.SEARCH, "answer", "in the answer"),
)

FIELDS = {field.name: field for field in _ALL}
