"""redact: its options, what is sent, and traces of the running program, also after kill -9.

What a document under rules holds is tried in tests/tracing/test_masked_documents.
"""

from __future__ import annotations

import gzip
import json
import time

import pytest
import zstandard

from src.config.middlewares import inspect_middleware
from src.config.settings import MiddlewareSpec
from src.middlewares.base import Services
from src.tracing.kinds import KINDS
from src.tracing.rules import MaskRules
from tests.conftest import StartTap
from tests.middlewares.kit import Forward, Pair, exchange, make, problems
from tests.support import bodies, steps
from tests.support.tap import LLMTap, settings
from tests.support.upstream import Upstream
from tests.support.wire import Header

CHAT = "/v1/chat/completions"
JSON = (b"Content-Type", b"application/json")
SEND: dict[str, object] = {"kinds": ["email"], "json_paths": ["user.ssn"], "send": True}
ASKED = b'{"model":"m","n":1.50,"a":"to jane\\u0040example.com","user":{}}'
MASKED = b'{"model":"m","n":1.50,"a":"to [REDACTED]","user":{}}'


async def sent(
    options: dict[str, object], body: bytes, *headers: Pair
) -> tuple[int, bytes | None, list[Pair]]:
    """The answer's status; the body that replaces the client's, None where it is as it was."""
    forward = Forward()
    response = await make("redact", options)(exchange(JSON, *headers, body=body), forward)
    out = forward.sent[0] if forward.sent else None
    return response.status, out.body if out else None, out.headers if out else []


async def test_body_is_masked_for_the_upstream_where_asked() -> None:
    status, body, headers = await sent(SEND, ASKED)
    assert (status, body) == (200, MASKED)
    assert (b"content-length", b"%d" % len(MASKED)) in headers


async def test_body_is_as_it_was_where_not_asked() -> None:
    assert (await sent({**SEND, "send": False}, ASKED))[:2] == (200, None)


async def test_body_without_a_match_is_not_replaced() -> None:
    assert (await sent(SEND, b'{"model": "m", "x": [1, 1]}'))[:2] == (200, None)


@pytest.mark.parametrize(("send", "status"), [(True, 426), (False, 200)])
async def test_websocket_cannot_be_masked_on_its_way(send: bool, status: int) -> None:
    asked = exchange((b"Upgrade", b"websocket"), method=b"GET")
    response = await make("redact", {**SEND, "send": send})(asked, Forward())
    assert response.status == status


async def test_paths_are_masked_too() -> None:
    status, body, _ = await sent(SEND, b'{"user": {"ssn": 5, "x": 1}}')
    assert (status, body) == (200, b'{"user":{"ssn":"[REDACTED]","x":1}}')


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
async def test_compressed_body_is_sent_masked_and_plain(name: str, pack: object) -> None:
    assert callable(pack)
    status, body, headers = await sent(SEND, pack(ASKED), (b"Content-Encoding", name.encode()))
    assert (status, body) == (200, MASKED)
    assert not [value for key, value in headers if key.lower() == b"content-encoding"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"user": {"ssn"', ()),
        (ASKED, ((b"Content-Encoding", b"rot13"),)),
        (ASKED, ((b"Content-Encoding", b"gzip"),)),
    ],
)
async def test_what_cannot_be_looked_through_is_not_sent(
    body: bytes, headers: tuple[Pair, ...]
) -> None:
    assert await sent(SEND, body, *headers) == (400, None, [])


async def test_requests_without_a_body_pass() -> None:
    forward = Forward()
    asked = exchange(method=b"GET", target=b"/v1/models")
    assert (await make("redact", SEND)(asked, forward)).status == 200
    assert len(forward.sent) == 1


async def test_large_bodies_are_masked_too() -> None:
    body = json.dumps({"a": ["jane@example.com"] * 30_000}).encode()
    status, masked, _ = await sent(SEND, body)
    assert status == 200
    assert masked is not None
    assert b"jane" not in masked


def test_traces_are_told_what_to_mask(tmp_path: object) -> None:
    spec = MiddlewareSpec("redact", {"kinds": ["email"], "headers": ["X-Who"]})
    found, options, _ = inspect_middleware(spec)
    assert found is not None
    services = Services(trace_dir=tmp_path)  # type: ignore[arg-type]  # a path
    found(options, services)
    assert services.masking == [MaskRules(kinds=("email",), headers=("X-Who",))]


def test_every_kind_can_be_named() -> None:
    assert not problems("redact", {"kinds": list(KINDS)})


MISTAKES = {
    "nothing": ({}, ": masks nothing; write kinds: [email] or patterns, json_paths, headers"),
    "kind": ({"kinds": ["emial"]}, "kinds.0: is a text of 5 characters; give email, credit_card"),
    "pattern": ({"patterns": ["(a"]}, "patterns.0: is no regular expression: missing ), untermi"),
    "all": ({"patterns": ["x*"]}, "patterns.0: fits an empty text, and so everything; let it ask"),
    "path": ({"json_paths": ["a[b]"]}, "json_paths.0: 'a[b]' is no path; write it like messages"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_is_one_line(case: str) -> None:
    options, expected = MISTAKES[case]
    (line,) = problems("redact", dict(options))
    assert line.startswith(expected), line


# --- in the running program ----------------------------------------------------------------------

SECRET = "jane@example.com"
RULES: dict[str, object] = {"kinds": ["email"], "headers": ["x-who"], "json_paths": ["metadata.id"]}
QUESTION = json.dumps(
    {"model": "m", "messages": [{"content": f"I am {SECRET}"}], "metadata": {"id": "hush-hush"}}
).encode()


def start(start_tap: StartTap, upstream: Upstream, **options: object) -> LLMTap:
    chain = ["trace", {"redact": {**RULES, **options}}]
    return start_tap(config=settings(upstream.url, middlewares=chain))


def on_disk(tap: LLMTap) -> str:
    files = tap.files()
    return "".join(path.read_text() for path in files)


def test_stream_passes_as_it_is_and_is_written_masked(
    start_tap: StartTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    tap = start(start_tap, upstream)
    events = bodies.chat_events(["write to ", *SECRET, " now"])
    upstream.script(case, *steps.stream(events))
    answer = tap.call("POST", CHAT, [*tagged, (b"X-Who", b"somebody")], QUESTION)
    assert answer.body == b"".join(events)
    assert bytes(upstream.request(case).body) == QUESTION
    trace = tap.trace(case)
    message = trace["response"]["message"]["choices"][0]["message"]["content"]
    assert message == "write to [REDACTED] now"
    assert trace["request"]["body"]["value"]["messages"][0]["content"] == "I am [REDACTED]"
    assert not trace["forwarded"]["body_changed"]
    text = on_disk(tap)
    assert not [word for word in (SECRET, "somebody", "hush-hush", "jane") if word in text]
    assert "/request/body/value/metadata/id" in trace["redactions"]


def test_send_masks_for_the_upstream_and_the_trace_says_so(
    start_tap: StartTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    tap = start(start_tap, upstream, send=True)
    assert tap.call("POST", CHAT, tagged, QUESTION).status == 200
    seen = json.loads(bytes(upstream.request(case).body))
    assert seen["messages"][0]["content"] == "I am [REDACTED]"
    assert seen["metadata"]["id"] == "[REDACTED]"
    trace = tap.trace(case)
    assert trace["forwarded"]["body_changed"]
    assert trace["forwarded"]["sha256_in"] != trace["forwarded"]["sha256_out"]
    assert SECRET not in on_disk(tap)


def test_what_a_killed_process_leaves_is_masked_by_its_own_rules(
    start_tap: StartTap, upstream: Upstream, case: str, tagged: list[Header]
) -> None:
    """Recovered by a program that has no rules any more."""
    tap = start(start_tap, upstream)
    upstream.script(
        case, *steps.stream(bodies.chat_events(list(SECRET), done=False), end=steps.until_closed())
    )
    with tap.client() as client:
        client.request("POST", CHAT, tagged, QUESTION)
        client.answer_head()
        time.sleep(0.3)
        tap.kill9(group=True)
    tap.config = settings(upstream.url, middlewares=["trace"])
    tap.restart()
    trace = tap.trace(case)
    assert trace["state"] == "recovered"
    text = on_disk(tap)
    assert not [word for word in (SECRET, "hush-hush", "jane") if word in text]
    assert trace["response"]["message"]["choices"][0]["message"]["content"] == "[REDACTED]"
