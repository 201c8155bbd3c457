"""Spans, as OpenTelemetry's own parsers read them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto_json.collector.trace.v1 import trace_service
from typer.testing import CliRunner

from src.cli.root import build_cli
from src.views.otlp import otlp
from tests.record.kit import example
from tests.support.tap import LLMTap


def sdk(line: str) -> Any:  # Any: a generated class
    """The span in a line, by the SDK's parser of OTLP's JSON."""
    found = trace_service.ExportTraceServiceRequest.from_json(line)
    (resource,) = found.resource_spans
    (scope,) = resource.scope_spans
    (span,) = scope.spans
    return span


def protobuf(line: str) -> Any:  # Any: a generated class
    """The same by protobuf's own, which takes ids as base64; strict about every name and type."""
    value = json.loads(line)
    for resource in value["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for each in (span, *span.get("links", ())):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in each:
                            each[key] = base64.b64encode(bytes.fromhex(each[key])).decode()
    found = json_format.Parse(json.dumps(value), ExportTraceServiceRequest())
    return found.resource_spans[0].scope_spans[0].spans[0]


def written(document: dict[str, Any], **options: bool) -> str:
    return json.dumps(otlp(document, "1", **options))


def facts(span: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


@pytest.mark.parametrize("content", [False, True])
def test_both_parsers_take_every_field(content: bool) -> None:
    line = written(example(), content=content)
    span, strict = sdk(line), protobuf(line)
    assert span.name == strict.name == "chat claude-sonnet-4-5"
    assert span.trace_id == strict.trace_id
    assert span.span_id == strict.span_id
    assert len(span.trace_id) == 16
    assert strict.end_time_unix_nano - strict.start_time_unix_nano == 424_208_000
    assert strict.kind == strict.SPAN_KIND_CLIENT


def test_attributes_are_the_documents_own_and_the_session() -> None:
    known = facts(protobuf(written(example())))
    assert known["gen_ai.usage.input_tokens"] == 1812
    assert known["gen_ai.conversation.id"] == "6f1c2b0e"
    assert known["gen_ai.provider.name"] == "anthropic"
    assert known["server.port"] == 9333
    assert "gen_ai.input.messages" not in known


def test_what_was_said_where_it_is_asked_for() -> None:
    line = json.loads(written(example(), content=True))
    (span,) = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
    said = {each["key"]: each["value"] for each in span["attributes"]}
    assert json.dumps(said["gen_ai.input.messages"]).count("What is in this folder?") == 1
    assert '"tool_call"' in json.dumps(said["gen_ai.output.messages"])


def test_failure_is_an_error_with_its_cause() -> None:
    trace = example()
    trace["termination"] = {"cause": "upstream_eof", "phase": "body", "detail": "no message_stop"}
    span = protobuf(written(trace))
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert span.status.message == "no message_stop"
    assert facts(span)["error.type"] == "upstream_eof"


def test_span_is_a_child_of_the_clients_trace() -> None:
    trace = example()
    trace["request"]["headers"].append(["traceparent", f"00-{'ab' * 16}-{'cd' * 8}-01"])
    span = protobuf(written(trace))
    assert span.trace_id.hex() == "ab" * 16
    assert span.parent_span_id.hex() == "cd" * 8


def test_span_is_linked_to_the_request_it_continues() -> None:
    first, second = example(), example()
    second["id"] = second["id"][:-1] + "A"
    second["session"]["parent_id"] = first["id"]
    before, after = protobuf(written(first)), protobuf(written(second))
    assert after.links[0].span_id == before.span_id
    assert after.links[0].trace_id == before.trace_id


def test_lines_of_a_folder(tap: LLMTap, case: str) -> None:
    for _ in range(3):
        tap.call("POST", headers=[(b"X-Case", case.encode())], body=b'{"model": "m"}')
    tap.traces(3, having=case)
    found = CliRunner().invoke(
        build_cli(), ["export", "--format", "otlp", "--trace-dir", str(tap.trace_dir)]
    )
    spans = [protobuf(line) for line in found.stdout.splitlines()]
    assert len(spans) >= 3
    assert len({span.span_id for span in spans}) == len(spans)
