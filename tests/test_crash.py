"""kill -9 under load (reliability 87): every request that was accepted has a trace after the start.

The oracle is not the program: the load's own ledger says which requests got a byte of an answer,
and the upstream's record says which ones it saw.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Figure
from tests.support import bodies, steps
from tests.support.load import Load
from tests.support.tap import LLMTap
from tests.support.upstream import Connection, Upstream
from tests.support.wire import LAST_CHUNK, chunked

MARKER = re.compile(rb"mark-\d+-[0-9a-f]{12}")
ANSWER = steps.head(200, steps.JSON_TYPE, (b"Content-Length", b"%d" % len(bodies.chat_answer())))
STREAM = steps.head(200, steps.SSE_TYPE, (b"Transfer-Encoding", b"chunked"))


def serve(connection: Connection) -> None:
    """A call at once, a stream over some 20 ms."""
    connection.read_body()
    if not connection.request.target.endswith(b"?stream"):
        connection.send(ANSWER + bodies.chat_answer())
        return
    connection.send(STREAM)
    for event in bodies.chat_events():
        connection.send(chunked(event))
        time.sleep(0.003)
    connection.send(LAST_CHUNK)


def seen_by(upstream: Upstream) -> set[str]:
    found: set[str] = set()
    for connection in list(upstream.connections):
        found.update(marker.decode() for marker in MARKER.findall(connection.received))
    return found


def traced(tap: LLMTap) -> Counter[str]:
    """How many traces hold each marker. Every file has to parse."""
    counts: Counter[str] = Counter()
    ids: set[str] = set()
    for _, document in tap.documents():
        assert document["id"] not in ids, "the same request twice"
        ids.add(document["id"])
        request = json.dumps(document["request"])  # a GET has its marker in the target
        counts.update(set(re.findall(MARKER.pattern.decode(), request)))
    return counts


def torn(tap: LLMTap) -> int:
    """How many files are no JSON."""
    found = 0
    for path in tap.files():
        try:
            json.loads(path.read_bytes())
        except ValueError:
            found += 1
    return found


def wait_for(tap: LLMTap, wanted: set[str], timeout: float) -> Counter[str]:
    deadline = time.monotonic() + timeout
    while wanted - set(counts := traced(tap)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return counts


def test_r87_killed_at_random_moments_nothing_accepted_is_lost(
    tmp_path: Path, pytestconfig: pytest.Config, figure: Figure
) -> None:
    seed = pytestconfig.getoption("--crash-seed") or random.randrange(1 << 32)
    rounds = pytestconfig.getoption("--crash-rounds")
    print(f"--crash-seed {seed}")
    dice = random.Random(seed)
    with Upstream(default=(serve,)) as upstream:
        tap = LLMTap(tmp_path / "tap", base_url=upstream.url, args=["--quiet"])
        accepted: set[str] = set()
        whole = 0
        try:
            for number in range(rounds):
                tap.start()
                load = Load(tap.address, seed=dice.getrandbits(32)).start()
                time.sleep(dice.uniform(0.02, 0.5))
                tap.kill9(group=number % 2 == 1)
                ledger = load.stop()
                whole += len(ledger.whole)
                accepted |= ledger.answered
            accepted |= seen_by(upstream)
            tap.start()
            counts = wait_for(tap, accepted, 15)
        finally:
            tap.stop()
    lost = accepted - set(counts)
    twice = {marker for marker, count in counts.items() if count > 1}
    causes = Counter(d["termination"]["cause"] for _, d in tap.documents())
    states = Counter(d["state"] for _, d in tap.documents())
    print(f"{rounds} kills, {len(accepted)} accepted, {whole} whole, {causes}, {states}")
    figure(
        4,
        kills=rounds,
        accepted=len(accepted),
        recovered=states["recovered"],
        lost=len(lost),
        torn=torn(tap),
        doubled=len(twice),
    )
    assert not lost, f"{len(lost)} of {len(accepted)} accepted requests have no trace (seed {seed})"
    assert not twice, f"{len(twice)} requests have two traces (seed {seed})"
    assert len(accepted) > rounds
    left = [p for p in tap.trace_dir.rglob("*") if p.is_file() and p.suffix == ".tmp"]
    assert not left, "temporary files were left behind"


@pytest.mark.parametrize("group", [False, True], ids=["proxy", "with_children"])
def test_killed_in_a_stream_it_is_recovered_with_what_had_come(
    tmp_path: Path, case: str, group: bool
) -> None:
    sent = bodies.chat_events()[:3]
    with Upstream(default=steps.stream(sent, end=steps.until_closed())) as upstream:
        tap = LLMTap(tmp_path / "tap", base_url=upstream.url, args=["--quiet"])
        try:
            tap.start()
            from_client = bodies.chat_request(case, stream=True)
            with pytest.raises(AssertionError):
                tap.traces(1, having=case, timeout=0)
            answer = _killed_stream(tap, from_client, sent, group=group)
            assert answer == b"".join(sent)
            tap.restart()
            trace = tap.trace(case, timeout=5)
        finally:
            tap.stop()
    assert trace["state"] == "recovered"
    assert trace["termination"]["cause"] == trace["summary"]["cause"] == "crash"
    assert trace["termination"]["phase"] == "body"
    assert "".join(e["raw"] for e in trace["stream"]["events"]).encode() == b"".join(sent)
    assert trace["request"]["body"]["value"] == json.loads(from_client)
    assert tap.path_of(case).stem.endswith("_CUT")


def _killed_stream(tap: LLMTap, body: bytes, sent: list[bytes], *, group: bool) -> bytes:
    from_tap = b""
    with tap.client() as client:
        client.request("POST", "/v1/chat/completions", None, body)
        client.answer_head()
        for _ in sent:
            from_tap += client.wire.chunk()
        time.sleep(0.05)  # a piece is written to the client first and to the journal after it
        tap.kill9(group=group)
    return from_tap


def test_recovery_happens_once(tmp_path: Path, case: str) -> None:
    with Upstream(default=(steps.read_body(), steps.until_closed())) as upstream:
        tap = LLMTap(tmp_path / "tap", base_url=upstream.url, args=["--quiet"])
        try:
            tap.start()
            with tap.client() as client:
                client.request("POST", "/v1/chat/completions", None, bodies.chat_request(case))
                upstream.wait(lambda: upstream.hits("") == 1)
                tap.kill9(group=True)
            for _ in range(3):
                tap.restart()
                tap.traces(1, having=case)
                tap.kill9(group=True)
        finally:
            tap.stop()
    assert tap.documents(case)[0][1]["termination"]["cause"] == "crash"


def test_killed_again_and_again_just_after_its_start_it_gives_nothing_up(
    tmp_path: Path, case: str
) -> None:
    """A recorder loads prices for 0.1 s before its first trace: to be killed while it does is no
    sign of a trace that kills recorders."""
    with Upstream(default=steps.reply()) as upstream:
        tap = LLMTap(tmp_path / "tap", base_url=upstream.url, args=["--quiet"])
        try:
            tap.start()
            for number in range(8):
                answer = tap.call(body=bodies.chat_request(f"{case}-{number}"))
                assert answer.status == 200
                time.sleep(0.005 * number)
                tap.kill9(group=True)
                tap.restart()
            for number in range(8):
                assert tap.traces(1, having=f"{case}-{number}")
        finally:
            tap.stop()
    assert not list((tap.trace_dir / ".set-aside").glob("*"))


def test_stop_and_start_leaves_nothing_to_recover(tmp_path: Path, case: str) -> None:
    with Upstream(default=steps.reply()) as upstream:
        tap = LLMTap(tmp_path / "tap", base_url=upstream.url, args=["--quiet"])
        try:
            tap.start()
            tap.call("POST", body=bodies.chat_request(case))
            assert tap.stop() == 0
            tap.traces(1, having=case)
            tap.start()
            assert tap.call("GET", "/v1/models").status == 200
            assert tap.stop() == 0
            assert [d["state"] for d in tap.traces(1, having=case)] == ["complete"]
        finally:
            tap.stop()
