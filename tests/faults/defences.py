"""Point 10: each defence switched off turns its test red.

    python -m tests.faults.defences [--only NAME] [--figures FILE]

A defence is switched off in a copy of the source, where one text is replaced by another: nothing in
src knows of it, and every process of the program (workers, recorder) runs without it. Each test is
run with the defences as they are, which must be green, then with the one switched off: red. What
llhttp refuses as well (Content-Length beside Transfer-Encoding), and what is held in two ways (trailers: not
collected, and headers are frozen before), has no single switch: it would stay green.
"""

# ruff: noqa: E501 - a table: the texts that are replaced are as long as they are

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("src", "tests", "examples", "pyproject.toml", "config.yaml", "README.md")
_TIMEOUT_S = 60  # a test that hangs is red too


@dataclass(frozen=True)
class Defence:
    """`numbers` are the catalogue's. `old` stands once in `file` of src; `new` takes its place."""

    name: str
    numbers: str
    file: str
    old: str
    new: str
    test: str


_F = "tests/faults/"
_REQUESTS, _CONNECTION = "proxy/server/requests.py", "proxy/server/connection.py"
_HTTP1, _POOL = "proxy/transport/http1.py", "proxy/transport/pool.py"
DEFENCES = (
    # --- the request's framing and head ---
    Defence("Transfer-Encoding is chunked alone", "3", _REQUESTS,
            'chunked or value.lower() != b"chunked" or version', "version",
            _F + "test_requests.py::test_r03_transfer_encoding_that_is_not_chunked"),
    Defence("one Host", "8", _REQUESTS, 'hosts != 1 and (hosts or version != b"1.0")', "False",
            _F + "test_requests.py::test_r08_host_missing_or_repeated"),
    Defence("HTTP/1.1 and 1.0 only", "9", _REQUESTS, 'method == b"CONNECT" or not version', "False",
            _F + "test_requests.py::test_r09_what_is_not_http_1_1"),
    Defence("other protocols are no HTTP", "9", _REQUESTS,
            "return re.search(line, self._begun + self._fed) is not None", "return True",
            _F + "test_requests.py::test_r09_other_protocols_however_they_are_cut"),
    Defence("underscores in identity headers", "7", "proxy/headers.py",
            "Kind.FORGED for n", "Kind.PASS for n",
            _F + "test_requests.py::test_r07_underscores_in_identity_headers"),
    Defence("cap on the head's bytes", "115", _REQUESTS,
            "if self._head_bytes > self._limits.header_bytes:\n            self._refuse(431, self._h",
            "if False:\n            self._refuse(431, self._h",
            _F + "test_requests.py::test_r115_heads_over_the_limits_are_refused"),
    Defence("cap on the count of headers", "115", _REQUESTS,
            "len(self._headers) > limits.header_count", "False",
            _F + "test_requests.py::test_r115_heads_over_the_limits_are_refused"),
    Defence("cap on the URL", "115", _REQUESTS, "len(self._target) > self._limits.url_bytes", "False",
            _F + "test_requests.py::test_r115_heads_over_the_limits_are_refused"),
    Defence("cap on the body, announced", "116", _REQUESTS, "announced > limits.body_bytes", "False",
            _F + "test_requests.py::test_r22_expect_on_a_refused_request_gets_no_100"),
    Defence("cap on the body, as it comes", "116", "proxy/bodies.py", "self.size > self.limit", "False",
            _F + "test_requests.py::test_r116_body_over_the_limit_is_413"),
    Defence("endless trailers end", "115", _REQUESTS,
            'if self._head_bytes > self._limits.header_bytes:\n                self._refuse(431, "too',
            'if False:\n                self._refuse(431, "too',
            "tests/proxy/test_server.py::test_endless_trailers_end"),
    Defence("deadlines", "115", "utils/tasks.py", "if item.deadline <= now", "if False",
            _F + "test_requests.py::test_slow_head_is_ended_at_its_deadline"),
    Defence("absolute targets lose their host", "10", "proxy/urls.py",
            '_, found, rest = target.partition(b"://")', '_, found, rest = target, b"", b""',
            "tests/proxy/test_urls.py::test_host_of_an_absolute_target_counts_for_nothing"),
    Defence("hop-by-hop headers stop here", "13", "proxy/headers.py", 'b"te": Kind.HOP,', "",
            "tests/test_transparency.py::test_r13_hop_by_hop_headers_are_stripped_both_ways"),
    Defence("Connection cannot name the key away", "13", "proxy/forwarder.py",
            'b"transfer-encoding", b"authorization"}', 'b"transfer-encoding"}',
            "tests/proxy/test_forwarder.py::test_connection_cannot_name_away_what_the_upstream_needs"),
    # --- the answer's framing ---
    Defence("an answer is framed in one way", "23", _HTTP1,
            "problem is not None or not 200 <= status <= 999", "not 200 <= status <= 999",
            _F + "test_responses.py::test_r23_framing_that_is_ambiguous"),
    Defence("no chunks in HTTP/1.0", "23", _HTTP1, 'elif version == b"1.0" and', "elif False and",
            _F + "test_responses.py::test_r23_chunks_in_http_1_0_are_502"),
    Defence("statuses that exist", "20", _HTTP1,
            "problem is not None or not 200 <= status <= 999", "problem is not None",
            _F + "test_responses.py::test_r20_status_that_is_none"),
    Defence("surplus bytes drop the connection", "24", _HTTP1, "and not self._surplus", "",
            _F + "test_responses.py::test_r24_surplus_bytes_never_reach_the_next_caller"),
    Defence("bytes on an idle connection drop it", "24", _HTTP1,
            "self.close()  # bytes nobody asked for", "return  # bytes nobody asked for",
            _F + "test_responses.py::test_garbage_on_an_idle_connection_is_not_the_next_answer"),
    Defence("1xx do not end the answer", "21", _HTTP1, "100 <= status < 200", "False",
            "tests/test_transparency.py::test_r21_informational_answers_do_not_end_the_answer"),
    Defence("cap on the answer's head", "58", _HTTP1,
            "self.state is HEAD and self._bytes_in > self._limits.head_bytes", "False",
            _F + "test_responses.py::test_r58_endless_headers_are_502_and_bounded"),
    Defence("a cut answer has no clean end", "56", "proxy/gateway.py",
            "if flushed or exchange.t_first_byte is not None:\n        client.abort()",
            "if flushed or exchange.t_first_byte is not None:\n        client.end()",
            _F + "test_responses.py::test_r56_chunks_that_break_off_cut_the_client_too"),
    Defence("a cut HTTP/1.0 answer ends with a reset", "56", _CONNECTION,
            "sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)", "pass",
            _F + "test_responses.py::test_r56_client_of_http_1_0_can_tell_a_cut_stream_from_a_whole_one"),
    Defence("an answer lost with its head is 502", "57", "proxy/gateway.py",
            "if flushed or exchange.t_first_byte is not None:", "if True:",
            _F + "test_responses.py::test_r57_answer_lost_in_the_read_that_brought_its_head_is_502"),
    # --- pool, time, leaving ---
    Defence("idle connections are checked", "66", _POOL,
            "return connection.state is IDLE and not connection.transport.is_closing()", "return True",
            "tests/proxy/transport/test_pool.py::test_closed_idle_connection_is_not_handed_out"),
    Defence("a POST is not sent twice", "65, 66", "proxy/transport/native.py",
            "error.stale and _may_repeat(exchange, out)", "True",
            _F + "test_cancellation.py::test_r65_post_that_was_sent_is_not_repeated"),
    Defence("a connect is tried again", "64", "proxy/forwarder.py",
            "left = self._connect_retries", "left = 0",
            _F + "test_cancellation.py::test_r72_every_attempt_is_in_the_trace"),
    Defence("a cancelled waiter passes its turn on", "45", _POOL,
            "elif given.state is IDLE:\n                self.give_back(given)", "",
            "tests/proxy/transport/test_pool.py::test_waiter_cancelled_as_it_is_served_passes_it_on"),
    Defence("the wait for a connection is bounded", "pool", _POOL,
            "asyncio.timeout(self.limits.pool_s)", "asyncio.timeout(None)",
            _F + "test_cancellation.py::test_full_pool_is_503_with_retry_after"),
    Defence("the wait for a connect is bounded", "52", _POOL,
            "asyncio.timeout(self.limits.connect_s)", "asyncio.timeout(None)",
            "tests/proxy/transport/test_pool.py::test_connect_that_hangs_is_a_504"),
    Defence("in flight no more than the limit", "limits", "proxy/gateway.py",
            "if len(self.in_flight) >= self._max_in_flight:\n            exchange.refusal",
            "if False:\n            exchange.refusal",
            _F + "test_cancellation.py::test_in_flight_limit_is_503_and_ends_with_the_load"),
    Defence("a client that leaves ends its upstream", "41", "proxy/gateway.py",
            'self.cut(exchange, Cause.CLIENT_DISCONNECTED, "the client',
            'exchange.end(Cause.CLIENT_DISCONNECTED, "the client',
            "tests/test_trace_truth.py::test_r41_client_leaves_mid_stream"),
    Defence("a slow client slows its upstream", "34", _CONNECTION,
            "self.deadline = monotonic() + self._limits.client_write_s\n        if self._response_body is not None:",
            "self.deadline = monotonic() + self._limits.client_write_s\n        if False:",
            _F + "test_streaming.py::test_r34_client_that_does_not_read_throttles_the_upstream"),
    # --- traces and secrets ---
    Defence("journals of killed processes are recovered", "87", "tracing/recorder.py",
            "in take_leftovers(self._journal_dir)", "in ()",
            "tests/test_crash.py::test_killed_in_a_stream_it_is_recovered_with_what_had_come"),
    # The mode and the umask each would do: what is switched off is both.
    Defence("files are private", "96", "tracing/files.py", "written = os.write(fd, data)",
            "os.fchmod(fd, 0o644)\n                written = os.write(fd, data)",
            "tests/test_trace_truth.py::test_r96_files_and_folders_are_private"),
    Defence("headers that hold keys are masked", "102", "tracing/secrets.py",
            "def _classify(self, name: bytes) -> int:",
            "def _classify(self, name: bytes) -> int:\n        return 0\n\n    def _was(self, name: bytes) -> int:",
            "tests/test_secrets.py::test_secrets_of_a_request_pass_and_are_written_nowhere"),
    Defence("keys in log lines are masked", "102", "utils/redaction.py",
            "return _SHAPES.sub(_keep_label, text)", "return text",
            "tests/utils/test_logging.py::test_no_secret_gets_out"),
    # --- who may come in, and how often ---
    Defence("what is no key is 401", "103", "keys/keyring.py",
            "if key is None or not compare_digest(key.digest, digest):\n            return None",
            "if key is None:\n            return next(iter(self._keys.values()), None)",
            "tests/middlewares/test_auth.py::test_anything_else_is_401_and_not_forwarded"),
    Defence("open beyond loopback needs auth", "105", "config/checks.py",
            'yield Problem(("host",)', 'yield from () if True else Problem(("host",)',
            "tests/config/test_mistakes.py"),
    Defence("refused requests are not charged", "80, 83", "limits/memory.py",
            "marks = [(bucket, cost, bucket.charge(cost, now)) for bucket, cost in found]",
            "marks = [(bucket, cost, bucket.charge(0, now)) for bucket, cost in found]",
            "tests/limits/test_bucket.py"),
    Defence("tokens are settled", "81", "limits/memory.py",
            "bucket.settle(entry, charged, used, now)", "pass",
            "tests/limits/test_bucket.py::test_settled_charges_are_those_of_a_ledger_that_was_right_from_the_start"),
)  # fmt: skip


def switched_off(defence: Defence, text: str) -> str:
    """The file's text without the defence; AssertionError where it is not to be found."""
    found = text.count(defence.old)
    assert found == 1, f"{defence.name}: {found} times in {defence.file}: {defence.old!r}"
    return text.replace(defence.old, defence.new)


def _copy(folder: Path) -> None:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def _run(folder: Path, *tests: str) -> tuple[bool, str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"still running after {_TIMEOUT_S} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: tests failed; else: no such
    return done.returncode == 0, lines[0] if lines else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="the defences whose name holds this")
    parser.add_argument("--figures", metavar="FILE", help="append the figure, as pytest does")
    options = parser.parse_args()
    chosen = [d for d in DEFENCES if not options.only or options.only in d.name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _copy(folder)
        green, why = _run(folder, *sorted({d.test for d in chosen}))
        print(f"all on: {'green' if green else f'RED {why}'}")
        red = sum([_switch(folder, defence) for defence in chosen])
    values = {"defences": len(chosen), "red_when_off": red, "green_when_on": green}
    print(f"figure 10: {values}")
    if options.figures:
        row = {"point": 10, "test": "python -m tests.faults.defences", "values": values}
        with open(options.figures, "a") as file:
            file.write(json.dumps(row) + "\n")
    return 0 if green and red == len(chosen) else 1


def _switch(folder: Path, defence: Defence) -> bool:
    path = folder / "src" / defence.file
    text = path.read_text()
    path.write_text(switched_off(defence, text))
    try:
        still_green, why = _run(folder, defence.test)
    finally:
        path.write_text(text)
    print(f"{defence.numbers:8} {defence.name:45} {'GREEN' if still_green else 'red'}  {why[:110]}")
    sys.stdout.flush()
    return not still_green


if __name__ == "__main__":
    sys.exit(main())
