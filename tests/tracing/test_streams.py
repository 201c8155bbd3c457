from __future__ import annotations

import gzip
import json

import pytest

from tests.tracing.building import build

HEAD = b'data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,'
DELTA = HEAD + b'"delta":{"content":"%b"}}]}\n\n'
END = HEAD + b'"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
EVENTS = [b": hello\n\n", DELTA % b"Hel", DELTA % b"lo", END, DONE]
SSE = b"text/event-stream; charset=utf-8"


def stream(chunks: list[bytes], **kwargs: object) -> dict:
    return build(chunks=chunks, content_type=SSE, **kwargs)


def joined(document: dict) -> bytes:
    return "".join(event["raw"] for event in document["stream"]["events"]).encode()


def test_joining_the_raws_gives_the_stream_back() -> None:
    document = stream(EVENTS)
    assert joined(document) == b"".join(EVENTS)
    assert document["stream"]["protocol"] == "sse"
    assert document["stream"]["terminal"] is True


def test_an_event_has_the_time_of_the_chunk_that_completed_it() -> None:
    whole = b"".join(EVENTS)
    document = stream([whole[:30], whole[30:]], times=[100.5, 100.75])
    assert [event["t"] for event in document["stream"]["events"]] == [500.0] + [750.0] * 4
    assert document["timing"]["first_token_ms"] == document["summary"]["ttft_ms"] == 750.0


def test_the_events_add_up_to_the_message() -> None:
    document = stream(EVENTS)
    assert document["response"]["message"]["choices"][0]["message"]["content"] == "Hello"
    assert document["gen_ai"]["gen_ai.response.finish_reasons"] == ["stop"]
    body = document["response"]["body"]
    assert (body["kind"], body["truncated"]) == ("omitted", None)
    assert body["wire_bytes"] == len(b"".join(EVENTS))


def test_a_clean_end_without_the_terminal_event_is_an_upstream_eof() -> None:
    document = stream(EVENTS[:3])
    assert document["termination"]["cause"] == "upstream_eof"
    assert document["stream"]["terminal"] is False


def test_a_client_that_leaves_after_the_terminal_event_has_not_failed() -> None:
    document = stream(EVENTS, cause="client_disconnected", phase="body")
    assert document["termination"] == {"cause": "ok", "phase": "done", "detail": None}


def test_a_client_that_leaves_before_it_has() -> None:
    document = stream(EVENTS[:3], cause="client_disconnected", phase="body")
    assert document["termination"]["cause"] == "client_disconnected"


def test_an_error_within_the_stream_is_an_error() -> None:
    error = b'data: {"error":{"message":"too busy","type":"overloaded","code":"529"}}\n\n'
    document = stream([*EVENTS[:2], error])
    assert document["summary"]["cause"] == "in_stream_error"
    assert document["error"] == {
        "source": "in_stream",
        "type": "overloaded",
        "message": "too busy",
        "status": 200,
    }


def test_an_event_without_its_blank_line_is_kept_and_marked() -> None:
    document = stream([*EVENTS[:2], b"data: cut of"])
    assert document["stream"]["events"][-1] == {
        "t": 700.0,
        "raw": "data: cut of",
        "incomplete": True,
    }


def test_bytes_that_are_no_utf8_have_a_form_of_their_own() -> None:
    document = stream([b"data: \xff\n\n"])
    assert document["stream"]["events"][0]["raw"] == {"base64": "ZGF0YTog/woK"}


def test_a_compressed_stream_is_decoded_event_by_event() -> None:
    packer = gzip.GzipFile(fileobj=(out := _Pieces()), mode="wb")
    chunks = []
    for event in EVENTS:
        packer.write(event)
        packer.flush()
        chunks.append(out.take())
    packer.close()
    chunks.append(out.take())
    document = stream(chunks, response_headers=[(b"Content-Encoding", b"gzip")])
    assert joined(document) == b"".join(EVENTS)
    times = [event["t"] for event in document["stream"]["events"]]
    assert times == sorted(set(times)), "each with the time of its own chunk"


class _Pieces:
    def __init__(self) -> None:
        self._data = b""

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def flush(self) -> None: ...

    def take(self) -> bytes:
        data, self._data = self._data, b""
        return data


def test_a_stream_cut_by_the_cap_is_not_called_unfinished() -> None:
    document = stream(EVENTS[:3], wire_bytes=(10, 100_000))
    assert document["termination"]["cause"] == "ok"
    assert document["response"]["body"]["truncated"]["kept_bytes"] == sum(map(len, EVENTS[:3]))


def test_a_stream_of_an_unknown_server_is_kept_without_a_verdict() -> None:
    document = build(chunks=[b"data: x\n\n"], content_type=SSE, target=b"/hook", kind="generic")
    assert joined(document) == b"data: x\n\n"
    assert document["termination"]["cause"] == "ok"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_however_it_is_cut_the_events_are_the_same(size: int) -> None:
    whole = b"".join(EVENTS)
    document = stream([whole[i : i + size] for i in range(0, len(whole), size)])
    raws = [event["raw"].encode() for event in document["stream"]["events"]]
    assert raws == EVENTS


def test_the_usage_of_a_stream_is_in_the_summary() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
    document = stream([*EVENTS[:4], usage, DONE])
    assert document["summary"]["input_tokens"] == 7
    assert document["usage"]["source"] == "provider"
    assert json.dumps(document["usage"]["raw"])


USAGE = (
    b'data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":20}}\n\n'
)


def rate(chunks: list[bytes], times: list[float], **kwargs: object) -> float | None:
    return stream(chunks, times=times, **kwargs)["timing"]["output_tokens_per_s"]


def test_the_rate_is_taken_from_the_first_token_to_the_last_byte() -> None:
    pieces = [DELTA % b"Hel", DELTA % b"lo", END + USAGE + DONE]
    assert rate(pieces, [100.5, 100.6, 100.7]) == 100.0
    assert rate(pieces, [100.5, 100.51, 100.55]) == 400.0


@pytest.mark.parametrize(
    ("chunks", "times"),
    [
        ([DELTA % b"Hel", DELTA % b"lo", END + USAGE + DONE], [100.5, 100.50001, 100.50002]),
        ([DELTA % b"Hel", DELTA % b"lo", END + USAGE + DONE], [100.5, 100.51, 100.549]),
        ([DELTA % b"Hello" + END + USAGE, DONE], [100.5, 100.6]),
        ([b": hello\n\n", DELTA % b"Hello" + END + USAGE, DONE], [100.4, 100.5, 100.6]),
        ([DELTA % b"Hello" + END + USAGE + DONE], [100.5]),
    ],
    ids=["microseconds", "under 50 ms", "one piece and an end", "a comment before", "one piece"],
)
def test_there_is_no_rate_where_the_pieces_came_nearly_at_once(
    chunks: list[bytes], times: list[float]
) -> None:
    assert rate(chunks, times) is None


def test_a_stream_cut_after_two_tokens_has_no_rate() -> None:
    cut = [DELTA % b"Hel", DELTA % b"lo"]
    assert rate(cut, [100.5, 100.500011], cause="client_disconnected", phase="body") is None


REASONED = USAGE[:-4] + b',"completion_tokens_details":{"reasoning_tokens":15}}}\n\n'
RESPONSE = (
    b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r",'
    b'"object":"response","status":"completed","model":"gpt-5","output":[{"type":"reasoning",'
    b'"id":"rs","summary":[%b]},{"type":"message","id":"m","role":"assistant","content":'
    b'[{"type":"output_text","text":"Hello"}]}],"usage":{"input_tokens":9,"output_tokens":20,'
    b'"output_tokens_details":{"reasoning_tokens":15}}}}\n\n'
)
SPOKEN = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","item_id":"m",'
    b'"output_index":1,"content_index":0,"delta":"Hel"}\n\n'
)
SUMMARY = b'{"type":"summary_text","text":"Thinking"}'


def test_reasoning_that_was_not_sent_is_not_in_the_rate() -> None:
    pieces = [DELTA % b"Hel", DELTA % b"lo", END + REASONED + DONE]
    assert rate(pieces, [100.5, 100.6, 100.7]) == 25.0
    shown = [DELTA.replace(b"content", b"reasoning_content") % b"Hm", *pieces]
    assert rate(shown, [100.4, 100.5, 100.6, 100.7]) == pytest.approx(20 / 0.3, abs=0.01)


@pytest.mark.parametrize(("summary", "expected"), [(b"", 25.0), (SUMMARY, 100.0)])
def test_a_summary_of_the_reasoning_counts_as_sent(summary: bytes, expected: float) -> None:
    pieces = [SPOKEN, SPOKEN, RESPONSE % summary]
    assert rate(pieces, [100.5, 100.6, 100.7], target=b"/v1/responses") == expected


def test_reasoning_alone_has_no_rate() -> None:
    usage = REASONED.replace(b'"completion_tokens":20', b'"completion_tokens":15')
    pieces = [DELTA % b"", DELTA % b"", END + usage + DONE]
    assert rate(pieces, [100.5, 100.6, 100.7]) is None
