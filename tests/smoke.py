"""One traced request through an installed `llmtap`, with nothing but the standard library.

Usage: python smoke.py PATH-TO-LLMTAP. Exit status 0 when the answer and its trace are right.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-smoke",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "It works."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
).encode()


class Upstream(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *args: object) -> None:
        """Be quiet."""


def free_port() -> int:
    with HTTPServer(("127.0.0.1", 0), Upstream) as server:
        return int(server.server_port)


def ask(url: str) -> bytes:
    body = json.dumps({"model": "gpt-smoke", "messages": []}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main(llmtap: str) -> int:
    upstream = HTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [llmtap, "--type", "openai", "--port", str(port), "--trace-dir", folder]
        base = f"http://127.0.0.1:{upstream.server_port}"
        proxy = subprocess.Popen([*command, "--base-url", base])
        try:
            assert ask(f"http://127.0.0.1:{port}/v1/chat/completions") == ANSWER
        finally:
            proxy.terminate()
            proxy.wait(20)
        (trace,) = Path(folder).glob("2*/*.json")
        summary = json.loads(trace.read_text())["summary"]
    assert summary["model"] == "gpt-smoke", summary
    assert (summary["input_tokens"], summary["output_tokens"]) == (7, 3), summary
    assert summary["cause"] == "ok", summary
    print(f"smoke: ok, {trace.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
