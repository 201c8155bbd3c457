"""The trace document, schema `llmtap/1`: what every trace file holds, in this order.

Written by `tracing.document` without these models (speed); a test holds the two together. Readers
use them, and ignore keys they do not know. `python -m src.models.trace` writes the JSON Schema.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from .endings import CauseName, PhaseName, StateName

SCHEMA_FILE = Path(__file__).with_name("trace.schema.json")

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
HeaderPair = tuple[str, str]
Milliseconds = Annotated[
    float, Field(description="since timing.received_at, on the monotonic clock")
]


class Part(BaseModel):
    """A part of the document. Every key is always there; null is unknown, 0 is zero. Those with a
    default are missing in older traces."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Summary(Part):
    """What a list row needs."""

    provider: str
    model: str | None = Field(description="as asked for, else as answered")
    operation: str
    status: int | None = Field(description="what the client got; null: no answer reached it")
    duration_ms: float | None
    ttft_ms: float | None = Field(description="of a stream: its first model delta of any kind")
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    cause: CauseName


class Session(Part):
    """Which agent run this belongs to."""

    id: str | None
    source: str | None = Field(description="the header or field it was read from, or lineage")
    parent_id: str | None = Field(description="the trace whose conversation this one continues")


class Client(Part):
    """Who asked."""

    address: str | None
    user_agent: str | None
    key_label: str | None
    key_fingerprint: str | None = Field(
        pattern="^[0-9a-f]{8}$", description="salted HMAC: tells keys apart, gives none away"
    )


class AttemptMade(Part):
    """One try at the upstream."""

    key_label: str | None
    started_ms: Milliseconds
    status: int | None
    error: str | None
    wait_ms: float


class UpstreamUsed(Part):
    """Where it went, and every try."""

    name: str | None
    base_url: str | None
    key_label: str | None
    http_version: str | None
    request_id: str | None = Field(description="the provider's own")
    attempts: list[AttemptMade]


class Timing(Part):
    """When what happened."""

    received_at: AwareDatetime
    request_body_ms: Milliseconds | None
    upstream_connect_ms: Milliseconds | None
    upstream_reused: bool | None
    upstream_sent_ms: Milliseconds | None
    upstream_headers_ms: Milliseconds | None
    first_byte_ms: Milliseconds | None
    first_token_ms: Milliseconds | None
    last_byte_ms: Milliseconds | None
    finished_ms: Milliseconds | None
    overhead_ms: float | None = Field(
        description="spent in the proxy itself: until the request was handed to the upstream, "
        "without connecting and without waiting for the client's body"
    )
    max_gap_ms: float | None = Field(description="longest silence between two chunks")
    output_tokens_per_s: float | None = Field(
        description="from the first token to the last byte; null where that is less than 50 ms or "
        "fewer than three pieces, for then it says nothing of the model; without the tokens of "
        "reasoning of which nothing was sent"
    )


class Termination(Part):
    """How it really ended."""

    cause: CauseName
    phase: PhaseName
    detail: str | None


class TraceError(Part):
    """The error, whoever made it."""

    source: Literal["client", "proxy", "upstream", "in_stream"]
    type: str | None
    message: str | None
    status: int | None


class TokenUsage(Part):
    """Input includes cached tokens, output includes reasoning, whatever the provider's habit.

    `estimated`: of input and output at least one was not told by the provider (a cut stream);
    `raw` is what it did say.
    """

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    source: Literal["provider", "estimated", "none"]
    raw: dict[str, JsonValue] | None


class Cost(Part):
    """In US dollars, of the tokens in `usage`. Unknown is null, which is not free."""

    usd: float = Field(description="the sum of these four, and what is charged by the piece")
    input_usd: float | None = Field(description="input that no cache had to do with")
    output_usd: float | None
    cache_read_usd: float | None
    cache_write_usd: float | None
    source: Literal["provider", "table"] = Field(description="provider: its own figure")
    table_version: str | None = Field(description="the price library's, or config: own prices")


class Truncated(Part):
    """Something is not here, and why."""

    kept_bytes: int
    reason: str


class TracedBody(Part):
    """A body: length and hash are of the wire, the value is decoded.

    `omitted` without `truncated`: the value stands in `stream.events`. `text` holds JSON too where
    showing it as JSON would lose something: repeated keys, integers over 64 bits, NaN. `file`: the
    value is the name of a file beside the trace.
    """

    kind: Literal["json", "text", "base64", "file", "empty", "omitted"]
    value: JsonValue
    raw: str | None = Field(
        default=None,
        description="of JSON its text as it was sent (decoded), where `value`, written in one of "
        "the usual ways, does not give it back, nothing in it is masked and it is up to 1 MiB",
    )
    content_type: str | None
    content_encoding: str | None
    wire_bytes: int
    decoded_bytes: int | None
    sha256: Sha256 | None
    truncated: Truncated | None


class TracedRequest(Part):
    """As received, secrets masked."""

    method: str
    path: str
    query: str | None
    http_version: str | None
    headers: list[HeaderPair]
    body: TracedBody


class HeaderChange(Part):
    """One difference between the headers received and sent; values are never told."""

    name: str
    change: Literal["added", "removed", "replaced"]
    reason: str


class TracedForward(Part):
    """What was really sent. `changed: false` proves transparency."""

    url: str
    changed: bool = Field(description="body, path, query or an end-to-end header but Host differs")
    header_changes: list[HeaderChange]
    body_changed: bool
    sha256_in: Sha256 | None
    sha256_out: Sha256 | None


class TracedResponse(Part):
    """As sent to the client. `message`: a stream's events put together."""

    status: int
    http_version: str | None
    headers: list[HeaderPair]
    body: TracedBody
    message: JsonValue


class Base64Text(Part):
    """Bytes that are no UTF-8."""

    base64: str


class TracedEvent(Part):
    """One event. The only keys that are left out stand here: `incomplete`, where it is true,
    and what only the messages of a WebSocket have."""

    t: Milliseconds
    from_: Literal["client", "upstream"] | None = Field(
        default=None, alias="from", description="of a WebSocket: who sent it"
    )
    opcode: Literal["text", "binary", "close", "ping", "pong"] | None = Field(
        default=None, description="of a WebSocket; a fragmented message is one event"
    )
    code: int | None = Field(default=None, description="of a close that gives one")
    raw: str | Base64Text = Field(description="of a close: its reason")
    incomplete: bool = Field(
        default=False, description="no client would have been given this event"
    )


class TracedStream(Part):
    """Joining the raws gives the decoded stream back exactly, byte for byte; a WebSocket's are its
    messages, both ways in the order they passed."""

    protocol: Literal["sse", "ndjson", "json_array", "websocket"]
    events: list[TracedEvent]
    terminal: bool = Field(description="the provider's own end was seen, or a WebSocket's close")


class TraceDocument(Part):
    """One request that reached the proxy, whatever became of it."""

    schema_: Literal["llmtap/1"] = Field(alias="schema")
    id: str = Field(pattern="^[0-9A-HJKMNP-TV-Z]{26}$")
    state: StateName
    summary: Summary
    session: Session
    client: Client
    upstream: UpstreamUsed
    timing: Timing
    termination: Termination
    error: TraceError | None
    usage: TokenUsage
    cost: Cost | None
    request: TracedRequest
    forwarded: TracedForward | None
    response: TracedResponse | None
    stream: TracedStream | None
    redactions: list[str] = Field(description="JSON pointers to what was masked")
    gen_ai: dict[str, JsonValue] = Field(description="OpenTelemetry GenAI attributes, 1.41.1")
    tags: list[str]
    ext: dict[str, JsonValue] = Field(description="what middlewares have added, by their name")


def json_schema() -> str:
    """The JSON Schema of the document, as text."""
    schema = TraceDocument.model_json_schema(mode="validation")
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json_schema())
