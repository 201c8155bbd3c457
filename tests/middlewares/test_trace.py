"""The trace middleware is an ordinary one: it watches, and it never stands in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from src.middlewares.trace import Trace, TraceOptions
from src.proxy.exchange import Exchange, Response
from src.tracing.records import Kind
from tests.tracing.support import KEY, load_traces, new_exchange, new_trace, pass_through, response


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError):
        TraceOptions(bodybytes=5)


def test_every_option_says_what_it_is() -> None:
    assert [n for n, f in TraceOptions.model_fields.items() if not f.description] == []


async def test_before_start_and_after_stop_requests_pass_untraced(tmp_path: Path) -> None:
    trace = new_trace(tmp_path)
    answer = response()

    async def forward(exchange: Exchange) -> Response:
        return answer

    assert await trace(new_exchange(), forward) is answer
    await trace.stop()
    assert trace.counters()["accepted"] == 0


async def test_constructing_does_nothing(tmp_path: Path) -> None:
    new_trace(tmp_path / "never")
    assert not (tmp_path / "never").exists()


async def test_an_error_on_the_way_is_passed_on_and_traced(tmp_path: Path) -> None:
    trace = new_trace(tmp_path)
    await trace.start()
    exchange = new_exchange()

    async def fail(inner: Exchange) -> Response:
        raise LookupError("further in")

    with pytest.raises(LookupError):
        await trace(exchange, fail)
    exchange.finish()
    await trace.stop()
    assert trace.counters()["written"] == 1


async def test_when_there_is_no_room_the_request_passes_and_is_counted(tmp_path: Path) -> None:
    trace = new_trace(tmp_path)
    await trace.start()
    assert trace._journal is not None
    trace._journal.takes_exchanges = False
    await pass_through(trace, new_exchange())
    await trace.stop()
    counters = trace.counters()
    assert (counters["accepted"], counters["dropped"], counters["written"]) == (1, 1, 0)


async def test_bodies_go_first_and_say_so(tmp_path: Path) -> None:
    trace = new_trace(tmp_path)
    await trace.start()
    assert trace._journal is not None
    trace._journal.takes_bodies = False
    wanted = await pass_through(trace, new_exchange())
    await trace.stop()
    document = load_traces(tmp_path)[wanted]
    body = document["request"]["body"]
    assert body["kind"] == "omitted"
    assert body["truncated"] == {"kept_bytes": 0, "reason": "the trace queue was full"}
    assert trace.counters()["bodies_omitted"] == 2


async def test_the_journal_holds_no_secret_of_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = new_trace(tmp_path)
    await trace.start()
    assert trace._journal is not None
    payloads: list[bytes] = []
    append = trace._journal.append

    def spy(kind: Kind, exchange: int, t: float, payload: bytes) -> bool:
        payloads.append(payload)
        return append(kind, exchange, t, payload)

    monkeypatch.setattr(trace._journal, "append", spy)
    exchange = new_exchange(
        b'{"api_key": "' + KEY[::-1] + b'"}',
        target=b"/v1/x?key=" + KEY + b"&a=1",
        headers=[(b"X-My-Token", KEY), (b"Cookie", b"s=" + KEY), (b"Referer", b"/?key=" + KEY)],
    )
    await pass_through(trace, exchange, chunks=[b'{"echo": "' + KEY + b'"}'])
    await trace.stop()
    written = b"".join(payloads)
    assert len(payloads) == 5
    assert KEY not in written
    assert KEY[::-1] not in written


def test_it_is_found_under_its_name() -> None:
    assert Trace.Options is TraceOptions
