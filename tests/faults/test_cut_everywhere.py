"""Point 2 of issue "It holds": an exchange of some 300 bytes cut at every byte, in every way.

By default a sample: every 7th offset, from a random first one (printed). `--every-byte` for all.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Figure, StartTap
from tests.faults.cutting import ANSWER, CHAT, STREAM, Cut, all_cuts
from tests.support import bodies, steps
from tests.support.client import Client, status_of
from tests.support.tap import Document, LLMTap, settings
from tests.support.upstream import Connection, Upstream
from tests.support.wire import Ended

SAMPLE = 7
_SHORT = {"headers_s": 0.4, "idle_s": 0.4, "request_head_s": 0.4, "request_body_s": 0.6}


class Runs:
    """The runs of one program, and what was wrong with any."""

    def __init__(self, tap: LLMTap, cuts: list[Cut]) -> None:
        self.tap = tap
        self.cuts = {cut.name: cut for cut in cuts}
        self.wrong: Counter[str] = Counter()
        self.notes: list[str] = []

    def judge(self, cut: Cut, what: str, held: bool, seen: object) -> None:
        if not held:
            self.wrong[what] += 1
            self.notes.append(f"{cut.name}: {what}: {seen}")

    # --- the upstream's part, in a thread of its own ---

    def serve(self, connection: Connection) -> None:
        name = connection.request.target.decode().partition("?")[2]
        cut = self.cuts.get(name)
        if cut is None:
            for step in steps.stream([STREAM]):
                step(connection)
            return
        cut.arrived.set()
        try:
            connection.read_body()
            connection.send(ANSWER[: cut.at] if cut.place != "request" else b"")
            cut.sent.set()
            self._end(connection, cut)
        except Ended:
            cut.closed.set()
            raise

    def _end(self, connection: Connection, cut: Cut) -> None:
        if cut.place == "answer" and cut.end != "stall":
            (steps.fin() if cut.end == "fin" else steps.rst())(connection)
        elif cut.place == "leaving" and cut.end == "stall":
            assert cut.go_on.wait(10)
            connection.send(ANSWER[cut.at :])
        elif not cut.is_whole:
            steps.until_closed(10)(connection)

    # --- the client's part ---

    def run(self, cut: Cut) -> None:
        """One run, then the next request: on the same connection where it may be used again."""
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(Client(self.tap.address, timeout=5))
            {"request": self._cut_request, "answer": self._be_cut, "leaving": self._leave}[
                cut.place
            ](client, cut)
            if not cut.in_request_head and not (cut.is_whole or cut.end == "stall" == cut.place):
                self._upstream_was_let_go(cut)
            self._next_request(client, cut)

    def _upstream_was_let_go(self, cut: Cut) -> None:
        if cut.place == "answer" and cut.end != "stall":
            return  # it was the upstream that ended it
        if cut.place == "leaving" and cut.end == "stall":
            return  # it is whole, and the connection may serve again
        self.judge(cut, "upstream left open", cut.closed.wait(1), "after 1 s")

    def _cut_request(self, client: Client, cut: Cut) -> None:
        client.send(cut.request[: cut.at])
        if not cut.in_request_head:
            self.judge(cut, "not forwarded", cut.arrived.wait(2), "")
        if cut.end == "rst":
            client.reset()
            return
        if cut.end == "fin":
            client.half_close()
        answered, how = _read_to_end(client)
        self.judge(cut, "not ended", how == "fin", how)
        self.judge(cut, "wrong answer", status_of(answered) == (cut.status or 0), answered)

    def _be_cut(self, client: Client, cut: Cut) -> None:
        client.send(cut.request)
        answer = client.answer()
        self.judge(cut, "wrong answer", answer.status == cut.status, answer.head.raw)
        if cut.in_answer_head:
            error = json.loads(answer.body)
            said = (answer.one("x-llmtap-id") or b"-").decode() == error["request_id"]
            said = said and bool(error["error"]["message"])
            self.judge(cut, "no plain error", answer.complete and said, answer.body)
        else:
            end = "complete" if cut.is_whole else "cut"
            self.judge(cut, "failure not seen", answer.end == end, answer.end)
            self.judge(cut, "wrong bytes", answer.body == cut.passed, answer.body)

    def _leave(self, client: Client, cut: Cut) -> None:
        client.send(cut.request)
        assert cut.sent.wait(5)
        if not cut.in_answer_head:  # until it has all that has passed
            head = client.wire.head()
            self.judge(cut, "wrong answer", head.first == b"HTTP/1.1 200 OK", head.first)
            got = b"" if cut.end == "stall" else _read_stream(client, len(cut.passed))
            self.judge(cut, "wrong bytes", cut.passed.startswith(got), got)
            if cut.is_whole and cut.end != "stall":
                client.wire.exactly(5)
        if cut.end == "stall":
            cut.go_on.set()
            if cut.in_answer_head:
                client.wire.head()
            got = _read_stream(client, len(STREAM))
            self.judge(cut, "wrong bytes", got == STREAM and not client.wire.chunk(), got)
        else:
            client.reset() if cut.end == "rst" else client.close()

    def _next_request(self, client: Client, cut: Cut) -> None:
        target, body = f"{CHAT}?next-{cut.name}", bodies.chat_request(stream=True)
        kept = cut.place == "leaving" and cut.end == "stall"
        kept = kept or (cut.place == "answer" and (cut.in_answer_head or cut.is_whole))
        # Where the upstream has just closed after a whole answer, the next request on that
        # connection races with the close: only an idempotent one may be repeated (reliability 66).
        method = "GET" if cut.is_whole else "POST"
        try:
            if kept:
                client.request(method, target, None, body)
                answer = client.answer()
            else:
                answer = self.tap.call(method, target, None, body)
            served = (answer.status, answer.end, answer.body) == (200, "complete", STREAM)
            self.judge(cut, "next not served", served, answer)
        except (Ended, TimeoutError, OSError) as error:
            self.judge(cut, "next not served", False, error)

    # --- the traces ---

    def judge_traces(self, traces: dict[str, list[Document]]) -> None:
        for cut in self.cuts.values():
            found = traces.get(cut.name, [])
            wanted = 0 if cut.told is None else 1
            self.judge(cut, "not one trace", len(found) == wanted, len(found))
            for trace in found[:1]:
                self._judge_trace(cut, trace)
            after = [t["termination"]["cause"] for t in traces.get(f"next-{cut.name}", [])]
            self.judge(cut, "untruthful of the next", after == ["ok"], after)

    def _judge_trace(self, cut: Cut, trace: Document) -> None:
        end = trace["termination"]
        self.judge(cut, "untruthful", (end["cause"], end["phase"]) == cut.told, end)
        self.judge(cut, "untruthful", trace["state"] == "complete", trace["state"])
        status = (trace["response"] or {}).get("status")
        self.judge(cut, "untruthful", status == cut.status, f"status {status}")
        if cut.place != "request" and cut.status == 200:
            stream = trace["stream"] or {"events": [], "terminal": False}
            raw = "".join(event["raw"] for event in stream["events"]).encode()
            passed = STREAM if cut.end == "stall" and cut.place == "leaving" else cut.passed
            self.judge(cut, "untruthful", raw == passed, raw)
            self.judge(cut, "untruthful", stream["terminal"] == (passed == STREAM), stream)


def _read_stream(client: Client, size: int) -> bytes:
    """So many bytes of a chunked answer's data."""
    got = b""
    while len(got) < size:
        got += client.wire.chunk()
    return got


def _read_to_end(client: Client) -> tuple[bytes, str]:
    try:
        while True:
            client.wire.fill()
    except Ended as end:
        return end.rest, end.how
    except TimeoutError:
        return bytes(client.wire.buffer), "late"


def _by_query(tap: LLMTap) -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = {}
    for _, trace in tap.documents():
        found.setdefault(trace["request"]["query"], []).append(trace)
    return found


def _health(tap: LLMTap) -> dict[str, int]:
    told: dict[str, int] = json.loads(tap.call("GET", "/health").body)
    return told


def _settled(tap: LLMTap, timeout: float = 20) -> dict[str, int]:
    """The health page once nothing is in flight and nothing waits to be written."""
    deadline = time.monotonic() + timeout
    while (told := _health(tap)) and time.monotonic() < deadline:
        if not told["in_flight"] and not told["trace.pending"]:
            break
        time.sleep(0.02)
    return told


def _sockets(tap: LLMTap) -> int:
    """Sockets the program has open: idle connections to the upstream go after `upstream_idle_s`."""
    folder = Path(f"/proc/{tap.pid}/fd")
    found = 0
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


@pytest.mark.slow
def test_an_exchange_cut_at_every_byte(
    start_tap: StartTap, figure: Figure, pytestconfig: pytest.Config
) -> None:
    every = pytestconfig.getoption("--every-byte")
    step, start = (1, 0) if every else (SAMPLE, random.SystemRandom().randrange(SAMPLE))
    cuts = list(all_cuts(step, start))
    with Upstream() as upstream:
        tap = start_tap(
            config=settings(
                upstream.url, timeouts=_SHORT, limits={"upstream_idle_s": 1.5}, quiet=True
            )
        )
        runs = Runs(tap, cuts)
        upstream.default = (runs.serve,)
        _health(tap)
        before = _sockets(tap)
        # These race with the next request of others, too: see `_next_request`.
        alone = [cut for cut in cuts if cut.is_whole and cut.end != "stall"]
        with ThreadPoolExecutor(48) as pool:
            list(pool.map(runs.run, [cut for cut in cuts if cut not in alone]))
        for cut in alone:
            runs.run(cut)
        told = _settled(tap)
        deadline = time.monotonic() + 4
        while (left := _sockets(tap) - before) > 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        traces = _by_query(tap)
    runs.judge_traces(traces)
    figure(
        2,
        runs=len(cuts),
        offsets=f"every {step} from {start}",
        untruthful=runs.wrong["untruthful"] + runs.wrong["not one trace"],
        failures_unseen=runs.wrong["failure not seen"],
        left_active=told["in_flight"] + runs.wrong["upstream left open"],
        sockets_left=max(left, 0),
        next_not_served=runs.wrong["next not served"],
    )
    assert not runs.wrong, f"from {start}: {dict(runs.wrong)}\n" + "\n".join(runs.notes[:40])
    assert (told["in_flight"], max(left, 0)) == (0, 0)
    assert told["trace.accepted"] == told["trace.written"] == told["accepted"]
