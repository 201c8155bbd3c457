"""Codex through the program: `codex exec` with a model provider of its own, no network.

Responses is its only protocol. Signed in with ChatGPT it compresses its requests with zstd and
tries a WebSocket first: both are checked, the first against our own small provider, which can
read zstd (aimock cannot).
"""

from __future__ import annotations

import base64
import json
import time

from tests.clients import shapes
from tests.clients.cases import ANSWER, KEY, USAGE, Case, Outcome, Stage, Watch, of, same_usage
from tests.clients.mock_provider import MockProvider
from tests.clients.npm import Ran, binary, run_client
from tests.clients.shapes import Json
from tests.support.tap import LLMTap

_CONFIG = """\
model = "gpt-5-codex"
model_provider = "tap"
check_for_update_on_startup = false
chatgpt_base_url = "{url}/backend-api"
openai_base_url = "{url}/v1"
[analytics]
enabled = false
[feedback]
enabled = false
[otel]
exporter = "none"
[features]
apps = false
plugins = false
[model_providers.tap]
name = "tap"
base_url = "{url}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
"""


def codex(stage: Stage, prompt: str, *flags: str, home: str = "codex") -> Ran:
    folder = stage.folder / home
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(_CONFIG.format(url=stage.tap.url))
    variables = {"HOME": str(folder), "CODEX_HOME": str(folder), "OPENAI_API_KEY": KEY}
    # Its sandbox needs user namespaces, which a container may forbid; the only command is an echo.
    command = [binary(stage.npm, "codex"), "exec", "--json", "--skip-git-repo-check"]
    command += ["--dangerously-bypass-approvals-and-sandbox", *flags, prompt]
    return run_client(command, variables, folder / "work")


def hello(stage: Stage, outcome: Outcome) -> None:
    watch = Watch(stage.tap)
    ran = codex(stage, "tap-hello please")
    outcome.ended_well(ran, ANSWER)
    traces = of(watch.traces(), "responses")
    outcome.that("one trace", len(traces) == 1, len(traces))
    for trace in traces[:1]:
        outcome.went_well(trace)
        session = trace["session"]
        source = session["source"]
        outcome.that("the session is from its header", source == "session-id", session)
        outcome.that("and the client's own", session["id"] == thread_of(ran), session)
        outcome.that("the message is the answer", ANSWER in texts(trace), texts(trace))
        outcome.that("usage as sent", same_usage(trace, USAGE), trace["usage"])


def tool_round(stage: Stage, outcome: Outcome) -> None:
    watch = Watch(stage.tap)
    ran = codex(stage, "tap-tool-codex please")
    outcome.ended_well(ran, "The tool said tap-ran-42.")
    traces = of(watch.traces(2), "responses")
    outcome.that("two traces", len(traces) == 2, len(traces))
    for trace in traces:
        outcome.went_well(trace)
    if len(traces) == 2:
        items = traces[0]["response"]["message"]["output"]
        calls = [item["name"] for item in items if item["type"] == "function_call"]
        outcome.that("the call is put together", calls == ["exec_command"], calls)
        same = traces[0]["session"]["id"] == traces[1]["session"]["id"]
        outcome.that("one session", same, traces[1]["session"])


def websocket_first(stage: Stage, outcome: Outcome) -> None:
    """The mock speaks WebSocket, too: Codex gets its answer over it, and asks nothing over HTTP."""
    watch = Watch(stage.tap)
    ran = codex(stage, "tap-hello please", "-c", "model_providers.tap.supports_websockets=true")
    outcome.ended_well(ran, ANSWER)
    traces = watch.traces(2)
    upgrades = [t for t in traces if t["request"]["method"] == "GET"]
    statuses = {t["summary"]["status"] for t in upgrades}
    outcome.that("upgraded", statuses == {101}, statuses)
    protocols = {t["stream"]["protocol"] for t in upgrades if t["stream"]}
    outcome.that("traced as a WebSocket", protocols == {"websocket"}, protocols)
    posted = [t for t in of(traces, "responses") if t["request"]["method"] == "POST"]
    outcome.that("no POST beside it", not posted, len(posted))


def zstd_body(stage: Stage, outcome: Outcome) -> None:
    mock = MockProvider().start()
    tap = LLMTap(stage.folder / "tap-zstd", base_url=mock.url, kind="openai", args=["--quiet"])
    try:
        _zstd_body(Stage(stage.npm, stage.folder, tap.start()), mock, outcome)
    finally:
        tap.stop()
        mock.stop()


def _zstd_body(stage: Stage, mock: MockProvider, outcome: Outcome) -> None:
    home = stage.folder / "codex-signed-in"
    home.mkdir(parents=True, exist_ok=True)
    (home / "auth.json").write_text(json.dumps(_login()))
    watch = Watch(stage.tap)
    ran = codex(stage, "tap-hello please", "-c", 'model_provider="openai"', home=home.name)
    outcome.ended_well(ran, shapes.TEXT)
    arrived = [seen for seen in mock.seen if seen.headers.get("content-encoding") == "zstd"]
    outcome.that("a zstd body arrived at the provider", len(arrived) == 1, len(arrived))
    traces = [t for t in of(watch.traces(2), "responses") if t["request"]["method"] == "POST"]
    outcome.that("one trace", len(traces) == 1, len(traces))
    for trace in traces[:1]:
        outcome.went_well(trace)
        body = trace["request"]["body"]
        outcome.that("encoding zstd", body["content_encoding"] == "zstd", body["content_encoding"])
        outcome.that("decoded in the trace", body["kind"] == "json", body["kind"])
        outcome.that("the prompt is readable", "tap-hello" in json.dumps(body["value"]))
        message = trace["response"]["message"]
        outcome.that("the message is the answer", message == shapes.responses(False), message)


def provider_error(stage: Stage, outcome: Outcome) -> None:
    watch = Watch(stage.tap)
    ran = codex(stage, "tap-error please")
    outcome.seconds += ran.seconds
    outcome.that("the client fails", ran.code != 0, ran.code)
    outcome.that("with the provider's words", "this request is refused" in ran.out + ran.err)
    traces = of(watch.traces(), "responses")
    outcome.that("a trace", bool(traces))
    for trace in traces:
        ended = trace["termination"]
        outcome.that("cause upstream_error", ended["cause"] == "upstream_error", ended)


def thread_of(ran: Ran) -> str | None:
    """The thread id in the client's JSON lines."""
    for line in ran.out.splitlines():
        if line.startswith("{") and "thread_id" in line:
            found = json.loads(line).get("thread_id")
            return str(found)
    return None


def texts(trace: Json) -> str:
    items = trace["response"]["message"]["output"]
    parts = [part for item in items for part in item.get("content", [])]
    return "".join(part.get("text", "") for part in parts)


def _login() -> Json:
    """A ChatGPT sign-in as Codex keeps it, of nobody: an unsigned token that names no account."""
    claims = {
        "email": "nobody@example.com",
        "exp": int(time.time()) + 86400,
        "https://api.openai.com/auth": {"chatgpt_plan_type": "pro", "chatgpt_account_id": "none"},
    }
    token = f"{_encoded({'alg': 'none', 'typ': 'JWT'})}.{_encoded(claims)}.c2ln"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    names = ("id_token", "access_token", "refresh_token")
    return {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": {**dict.fromkeys(names, token), "account_id": "none"},
        "last_refresh": now,
    }


def _encoded(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


CASES: dict[str, Case] = {
    "hello": hello,
    "tool round": tool_round,
    "websocket first": websocket_first,
    "zstd body": zstd_body,
    "provider error": provider_error,
}
