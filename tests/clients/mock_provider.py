"""A small provider: OpenAI, Anthropic and Gemini on one loopback port, from `shapes.py`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import zstandard

from tests.clients import shapes
from tests.clients.shapes import Json


@dataclass(slots=True)
class Seen:
    """One request as it arrived: names of headers in lower case, `body` still compressed."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class MockProvider:
    """Serves from `start()` to `stop()`; `seen` has every request in order of arrival."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> MockProvider:
        seen = self.seen
        handler = type("Bound", (_Handler,), {"seen": seen})
        self._server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that closes its connection with a reset is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    seen: list[Seen]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._note(body)
        if self.headers.get("content-encoding") == "zstd":
            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        answer = _answer(self.path.partition("?")[0], json.loads(body))
        if answer is None:
            self._json({"error": {"message": f"nothing at {self.path}"}}, 404)
        elif isinstance(answer, dict):
            self._json(answer)
        else:
            self._stream(answer)

    def do_GET(self) -> None:
        if self.headers.get("Upgrade"):  # no WebSockets here: Codex goes on over HTTP
            self._note(b"")
            self._json({"error": {"message": "use HTTP"}}, 426)
            return
        self._note(b"")
        self._json({"object": "list", "data": [], "models": []})

    def _note(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append(Seen(self.command, self.path, headers, body))

    def _json(self, answer: Json, status: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self._end_headers()
        self.wfile.write(body)

    def _stream(self, events: Iterable[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self._end_headers()
        for event in events:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def _end_headers(self) -> None:
        self.send_header("x-request-id", "req_mock")
        self.send_header("request-id", "req_mock")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing: the tests read the traces."""


def _answer(path: str, body: Json) -> Json | list[bytes] | None:
    """The answer to a parsed request: a dict, or the events of a stream, or None: not known."""
    tools, stream = bool(body.get("tools")), body.get("stream") is True
    match path.rsplit("/", 1)[-1].rpartition(":")[2]:
        case "completions":
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            return shapes.chat_events(tools, usage) if stream else shapes.chat(tools)
        case "responses":
            # Codex always brings tools; the SDK test asks for their use.
            tools = tools and body.get("store") is not False
            return shapes.responses_events(tools) if stream else shapes.responses(tools)
        case "embeddings":
            return shapes.EMBEDDINGS
        case "messages":
            return shapes.messages_events(tools) if stream else shapes.messages(tools)
        case "count_tokens":
            return shapes.COUNT_TOKENS
        case "generateContent":
            return shapes.generate(tools)
        case "streamGenerateContent":
            return shapes.generate_events(tools)
    return None
