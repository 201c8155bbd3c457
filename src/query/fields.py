"""The fields a filter may name: the row's column each asks, and how its value is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import get_args

from ..models.endings import CauseName, PhaseName, StateName


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


CAUSES: tuple[str, ...] = get_args(CauseName)
PHASES: tuple[str, ...] = get_args(PhaseName)
STATES: tuple[str, ...] = get_args(StateName)


@dataclass(slots=True, frozen=True)
class Field:
    """One field. `column` is the attribute of `record.row.Row`, of SEARCH the part of the text:
    all, system, messages, tool_calls, tool_results, thinking, answer.

    `values`: all there are, where they are known. `ends`: a value without `*` may also be how it
    ends; the parser writes the `*` before it.
    """

    name: str
    kind: Kind
    column: str
    help: str
    example: str
    values: tuple[str, ...] = ()
    ends: bool = False


_ALL = (
    Field("id", Kind.ID, "id", "the trace's id, or how it begins", "id:01M7YP3Z"),
    Field("model", Kind.TEXT, "model", "as asked for, else as answered", "model:claude*"),
    Field("provider", Kind.TEXT, "provider", "openai, anthropic, gemini, …", "provider:openai"),
    Field("upstream", Kind.TEXT, "upstream", "the configured name", "upstream:main"),
    Field("op", Kind.TEXT, "operation", "chat, messages, responses, …", "op:messages"),
    Field("method", Kind.TEXT, "method", "GET, POST, …", "method:post"),
    Field(
        "path",
        Kind.TEXT,
        "path",
        "of the request, without its query; its end is enough",
        "path:/models",
        ends=True,
    ),
    Field("status", Kind.NUMBER, "status", "what the client got", "status:>=400"),
    Field(
        "cause",
        Kind.TEXT,
        "cause",
        "how it ended: ok, client_disconnected, timeout, …",
        "cause:client_disconnected",
        CAUSES,
    ),
    Field(
        "phase",
        Kind.TEXT,
        "phase",
        "how far it came: request, connect, headers, body, done",
        "phase:connect",
        PHASES,
    ),
    Field(
        "state",
        Kind.TEXT,
        "state",
        "complete or recovered",
        "state:recovered",
        STATES,
    ),
    Field("error", Kind.TEXT, "error_type", "the error's type", "error:overloaded*"),
    Field("key", Kind.TEXT, "key_label", "the client key's label", "key:alice"),
    Field("session", Kind.ID, "session_id", "the agent run, or how its id begins", "session:6f1c"),
    Field("parent", Kind.ID, "parent_id", "the request this one continues", "parent:none"),
    Field(
        "address",
        Kind.TEXT,
        "client_address",
        "the client's, with its port or without",
        "address:10.0.*",
    ),
    Field("agent", Kind.TEXT, "user_agent", "the client's User-Agent", "agent:claude-cli*"),
    Field("tag", Kind.LIST, "tags", "one of the tags", "tag:nightly"),
    Field("tool", Kind.LIST, "tools", "a tool the answer calls", "tool:Bash"),
    Field("stream", Kind.FLAG, "streamed", "was the answer streamed", "stream:yes"),
    Field(
        "duration",
        Kind.DURATION,
        "duration_ms",
        "from the request's arrival to its end",
        "duration:>1m30s",
    ),
    Field("ttft", Kind.DURATION, "ttft_ms", "time to first token", "ttft:>2s"),
    Field("overhead", Kind.DURATION, "overhead_ms", "spent in the proxy", "overhead:>5ms"),
    Field("in", Kind.NUMBER, "input_tokens", "input tokens, cached ones included", "in:>100k"),
    Field("out", Kind.NUMBER, "output_tokens", "output tokens, reasoning included", "out:<10"),
    Field(
        "cached", Kind.NUMBER, "cache_read_tokens", "input tokens read from the cache", "cached:0"
    ),
    Field(
        "reasoning",
        Kind.NUMBER,
        "reasoning_tokens",
        "output tokens spent on reasoning",
        "reasoning:>1k",
    ),
    Field("cost", Kind.MONEY, "cost_usd", "US dollars", "cost:>0.05"),
    Field("attempts", Kind.NUMBER, "attempts", "tries at the upstream", "attempts:>1"),
    Field("since", Kind.TIME, "received_us", "received at or after", "since:2h"),
    Field("until", Kind.TIME, "received_us", "received before", "until:2026-11-21T10:00"),
    Field("body", Kind.SEARCH, "all", "words or a phrase in anything that was said", 'body:"foo"'),
    Field("system", Kind.SEARCH, "system", "in the system prompt", "system:concise"),
    Field("message", Kind.SEARCH, "messages", "in the user's and earlier messages", "message:sea"),
    Field("call", Kind.SEARCH, "tool_calls", "in tool calls", 'call:"rm -rf"'),
    Field("result", Kind.SEARCH, "tool_results", "in tool results", "result:traceback"),
    Field("thinking", Kind.SEARCH, "thinking", "in the thinking", "thinking:maybe"),
    Field("answer", Kind.SEARCH, "answer", "in the answer", "answer:sorry"),
)

FIELDS = {field.name: field for field in _ALL}
