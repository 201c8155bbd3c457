"""A trace as a line of OTLP JSON: a span by OpenTelemetry's conventions for generative AI.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids are hexadecimal, 64-bit
integers are texts. Where the client sent a `traceparent`, the span is a child in its trace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..record.conversation import Conversation, Part, Turn, conversation_of
from ..record.reading import loads
from ..record.row import microseconds
from ..utils.ulid import ALPHABET

Json = dict[str, Any]  # what OTLP prescribes
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_CLIENT, _ERROR = 3, 2  # opentelemetry/proto/trace/v1/trace.proto


def otlp(document: Mapping[str, Any], version: str, *, content: bool = False) -> Json:
    """One export request. `content`: with what was said, which the conventions leave out unless
    asked for."""
    scope = {"name": "llmtap", "version": version}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({"service.name": "llmtap"})},
                "scopeSpans": [{"scope": scope, "spans": [span(document, content=content)]}],
            }
        ]
    }


def span(document: Mapping[str, Any], *, content: bool = False) -> Json:
    """The span of one exchange, from its arrival to its end."""
    timing, ended = document["timing"], document["termination"]
    began = microseconds(timing["received_at"]) * 1000
    ids = _ids(document)
    failed = ended["cause"] != "ok"
    found: Json = {
        **ids,
        "name": _name(document),
        "kind": _CLIENT,
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + _ns(timing["finished_ms"] or 0)),
        "attributes": _attributes(_facts(document) | (_said(document) if content else {})),
        "status": {"code": _ERROR, "message": _what_failed(document)} if failed else {},
    }
    if timing["first_token_ms"] is not None:
        at = str(began + _ns(timing["first_token_ms"]))
        found["events"] = [{"timeUnixNano": at, "name": "first token"}]
    if parent := document["session"]["parent_id"]:
        attributes = _attributes({"llmtap.link": "continues"})
        found["links"] = [
            {"traceId": _hex(parent), "spanId": _hex(parent)[16:], "attributes": attributes}
        ]
    return found


def _ids(document: Mapping[str, Any]) -> Json:
    """A ULID is as long as a trace's id, its last half as long as a span's."""
    own = _hex(document["id"])
    for name, value in document["request"]["headers"]:
        if name.lower() == "traceparent" and (match := _TRACEPARENT.fullmatch(value.strip())):
            return {"traceId": match[1], "spanId": own[16:], "parentSpanId": match[2]}
    return {"traceId": own, "spanId": own[16:]}


def _hex(ulid: str) -> str:
    number = 0
    for char in ulid:
        number = number << 5 | ALPHABET.index(char)
    return f"{number & (1 << 128) - 1:032x}"


def _ns(ms: float) -> int:
    return round(ms * 1_000_000)


def _name(document: Mapping[str, Any]) -> str:
    known, model = document["gen_ai"], document["summary"]["model"]
    operation = known.get("gen_ai.operation.name") or document["summary"]["operation"]
    return f"{operation} {model}" if model else str(operation)


def _what_failed(document: Mapping[str, Any]) -> str:
    error, ended = document["error"] or {}, document["termination"]
    return str(error.get("message") or ended["detail"] or ended["cause"])


def _facts(document: Mapping[str, Any]) -> Json:
    """The document's own attributes, and those of HTTP and of ours."""
    summary, upstream = document["summary"], document["upstream"]
    url = urlsplit(upstream["base_url"] or "")
    cost = document["cost"] or {}
    ended = document["termination"]
    facts = {
        **document["gen_ai"],
        "gen_ai.conversation.id": document["session"]["id"],
        "server.address": url.hostname,
        "server.port": url.port or {"https": 443, "http": 80}.get(url.scheme),
        "http.request.method": document["request"]["method"],
        "http.response.status_code": summary["status"],
        "url.path": document["request"]["path"],
        "user_agent.original": document["client"]["user_agent"],
        "llmtap.id": document["id"],
        "llmtap.cause": ended["cause"],
        "llmtap.phase": ended["phase"],
        "llmtap.key_label": document["client"]["key_label"],
        "llmtap.upstream": upstream["name"],
        "llmtap.overhead_ms": document["timing"]["overhead_ms"],
        "llmtap.cost_usd": cost.get("usd"),
        "llmtap.tags": document["tags"] or None,
    }
    if ended["cause"] != "ok":
        facts.setdefault("error.type", ended["cause"])
    return {name: value for name, value in facts.items() if value is not None}


def _attributes(facts: Mapping[str, Any]) -> list[Json]:
    return [{"key": name, "value": _value(value)} for name, value in facts.items()]


def _value(value: object) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return (
            {"intValue": str(value)} if -(2**63) <= value < 2**63 else {"stringValue": str(value)}
        )
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    return {"stringValue": str(value)}


def _said(document: Mapping[str, Any]) -> Json:
    """The messages, by the conventions' own schema of them.

    semantic-conventions: docs/gen-ai/gen-ai-input-messages.json, gen-ai-output-messages.json
    """
    said = conversation_of(document)
    reasons = document["gen_ai"].get("gen_ai.response.finish_reasons") or []
    answers: list[Json] = []
    for number, turn in enumerate(said.answer):
        reason = reasons[number] if number < len(reasons) else "unknown"
        answers.append({**_message(turn), "finish_reason": reason})
    return {
        name: value
        for name, value in (
            ("gen_ai.system_instructions", [_part(part) for part in said.system]),
            ("gen_ai.input.messages", [_message(turn) for turn in said.turns]),
            ("gen_ai.output.messages", answers),
            ("gen_ai.tool.definitions", _tools(said)),
        )
        if value
    }


def _message(turn: Turn) -> Json:
    return {"role": turn.role, "parts": [_part(part) for part in turn.parts]}


def _part(part: Part) -> Json:
    if part.kind == "tool_call":
        asked = loads(part.text)
        arguments = part.text if asked is None else asked
        return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": arguments}
    if part.kind == "tool_result":
        return {"type": "tool_call_response", "id": part.id, "response": part.text}
    if part.kind == "thinking":
        return {"type": "reasoning", "content": part.text}
    if part.kind in {"text", "refusal"}:
        return {"type": "text", "content": part.text}
    return {"type": part.name or part.kind, "content": part.text}


def _tools(said: Conversation) -> list[Json]:
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": loads(tool.schema),
        }
        for tool in said.tools
    ]
