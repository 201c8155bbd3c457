"""Exported curl commands and Python programs, run: the upstream gets the same request again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from src.cli.root import build_cli
from tests.support.tap import LLMTap
from tests.support.upstream import Request, Upstream
from tests.support.wire import Header

TYPE = (b"Content-Type", b"application/json")
KEY = (b"Authorization", b"Bearer sk-canary-of-the-export")
ENV = {"OPENAI_API_KEY": "sk-canary-of-the-export", "OPENAI_ORG_TOKEN": "tok-canary"}
CHAT = {
    "model": "gpt-4.1",
    "messages": [{"role": "user", "content": 'it\'s "é" $HOME `ls` \\n %s'}],
}
BIG = {
    "model": "m",
    "messages": [{"role": "user", "content": "äb'\n" * 60_000}],
}  # over one argument

BODIES = {
    "compact": json.dumps(CHAT, separators=(",", ":"), ensure_ascii=False).encode(),
    "spaced": json.dumps(CHAT).encode(),
    "indented": json.dumps(CHAT, indent=2, ensure_ascii=False).encode() + b"\n",
    "tabs": json.dumps(CHAT, indent="\t").encode(),
    "go": json.dumps(CHAT | {"x": "<&>"}, separators=(",", ":"), ensure_ascii=False)
    .encode()
    .replace(b"<&>", b"\\u003c\\u0026\\u003e"),
    "big": json.dumps(BIG, separators=(",", ":"), ensure_ascii=False).encode(),
    "repeated keys": b'{"model": "a", "model": "b"}',
    "floats": b'{"model":"m","temperature":1e-7,"top_p":1.0,"n":1}',
    "laid out by hand": b'{ "model" : "m",\n\n\t"temperature":1.0e0, "top_p":0.10,"n":\t1 }\n\n',
    "escapes of one's own": b'{"model":"\\u006d","a\\/b":"it\'s \\u00e9\xc3\xa9 \\"/\\""}',
    "marked and ended": b'\xef\xbb\xbf{"model":"m"}\r\n\r\n',
    "big by hand": b'{"model":"m", "input" : "' + "äb' ".encode() * 60_000 + b'"}',
    "text": "plain wörds\nand 'quotes'\n\n".encode(),
    "escapes": b"\x1b]0;title\x07\x1b[31mred\r\n",
    "binary": bytes(range(256)) * 4,
    "large binary": bytes(range(256)) * 400,  # kept in a file beside the trace
    "empty": b"",
    "leading dash": b"-n -e \\x41",
    "at": b"@/etc/passwd",
}
HEADERS: list[Header] = [
    TYPE,
    KEY,
    (b"X-Quoted", b"a \"b\" 'c' $HOME `id` \\"),
    (b"X-Latin", b"caf\xe9"),
    (b"X-Twice", b"1"),
    (b"X-Twice", b"2"),
    (b"OpenAI-Org-Token", b"tok-canary"),
]


def run_export(tap: LLMTap, case: str, kind: str, folder: Path, *more: str) -> str:
    """The exported text, run with the keys in its environment."""
    trace = tap.trace(case)
    found = CliRunner().invoke(
        build_cli(),
        ["export", trace["id"], "--format", kind, "--trace-dir", str(tap.trace_dir), *more],
    )
    assert found.exit_code == 0, found.output
    script = folder / f"again.{kind}"
    script.write_bytes(found.stdout_bytes)
    command = ["sh", str(script)] if kind == "curl" else [sys.executable, str(script)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        timeout=20,
        env=ENV | {"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr.decode()
    return found.stdout


def told(request: Request) -> tuple[bytes, bytes, list[Header], bytes]:
    """All of a request but what belongs to a connection; curl has an order of its own."""
    passing = {b"host", b"connection"}
    headers = [(n.lower(), v) for n, v in request.headers if n.lower() not in passing]
    return request.method, request.target, sorted(headers), bytes(request.body)


def both(upstream: Upstream, case: str) -> tuple[Request, Request]:
    upstream.wait(lambda: sum(r.complete for r in upstream.requests(case)) == 2, 5)
    first, second = upstream.requests(case)
    return first, second


@pytest.mark.parametrize("kind", ["curl", "python"])
@pytest.mark.parametrize("body", BODIES)
def test_bodies_come_again_byte_for_byte(
    tap: LLMTap, upstream: Upstream, case: str, tmp_path: Path, kind: str, body: str
) -> None:
    headers = [(b"X-Case", case.encode()), *HEADERS]
    tap.call("POST", "/v1/chat/completions", headers, BODIES[body])
    text = run_export(tap, case, kind, tmp_path)
    first, second = both(upstream, case)
    assert told(second) == told(first)
    assert second.body == BODIES[body]
    assert "canary" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("kind", ["curl", "python"])
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/models?limit=10"),
        ("DELETE", "/v1/files/%2F..%7e//a?b=[1]&c={x}&d=%zz&e=';ls'"),
        ("HEAD", "/v1/models/a/../b"),
        ("GET", "/v1/models?key=sk-canary-of-the-export&x=1"),
    ],
)
def test_targets_and_methods_come_again(
    tap: LLMTap, upstream: Upstream, case: str, tmp_path: Path, kind: str, method: str, target: str
) -> None:
    tap.call(method, target, [(b"X-Case", case.encode())])
    run_export(tap, case, kind, tmp_path)
    first, second = both(upstream, case)
    assert told(second) == told(first)
    assert second.target == target.encode()


@pytest.mark.parametrize("kind", ["curl", "python"])
def test_asked_at_the_proxy_again_it_is_traced_again(
    tap: LLMTap, upstream: Upstream, case: str, tmp_path: Path, kind: str
) -> None:
    tap.call("POST", "/v1/chat/completions?a=1", [(b"X-Case", case.encode()), KEY], b"{}")
    run_export(tap, case, kind, tmp_path, "--to", tap.url)
    first, second = both(upstream, case)
    assert told(second) == told(first)
    one, two = tap.traces(2, having=case)
    assert one["request"]["body"]["sha256"] == two["request"]["body"]["sha256"]


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (b'{"a" : "%b"}' % (b"long " * 210_000), "not written the same way: laid out by hand, it"),
        (b'{"a" : 1, "\\u0070assword": "canary-xyz"}', "secrets in the body are masked"),
    ],
    ids=["over a mebibyte", "masked"],
)
def test_what_cannot_be_the_same_says_so(tap: LLMTap, case: str, body: bytes, note: str) -> None:
    tap.call("POST", "/v1/a", [(b"X-Case", case.encode()), TYPE], body)
    trace = tap.trace(case)
    arguments = ["export", trace["id"], "--format", "curl", "--trace-dir", str(tap.trace_dir)]
    found = CliRunner().invoke(build_cli(), arguments)
    assert note in "".join(line for line in found.stdout.splitlines() if line.startswith("# "))
    assert "canary" not in found.stdout
