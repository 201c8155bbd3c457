"""Claude Code through the program: `claude -p` at its address, with no real key."""

from __future__ import annotations

import json

from tests.clients.cases import ANSWER, KEY, USAGE, Case, Outcome, Stage, Watch, of, same_usage
from tests.clients.npm import NOWHERE, Ran, binary, run_client
from tests.clients.shapes import Json

SESSION = "x-claude-code-session-id"
_QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_BUG_COMMAND": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}


def claude(stage: Stage, prompt: str, *flags: str, **env: str) -> Ran:
    home = stage.folder / "claude"
    variables = {
        **_QUIET,
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / "config"),
        "ANTHROPIC_BASE_URL": stage.tap.url,
        "ANTHROPIC_API_KEY": KEY,
        **env,
    }
    command = [binary(stage.npm, "claude"), "-p", prompt, *flags]
    return run_client(command, variables, home / "work")


def hello(stage: Stage, outcome: Outcome) -> None:
    watch = Watch(stage.tap)
    ran = claude(stage, "tap-hello please", "--output-format", "json")
    outcome.ended_well(ran, ANSWER)
    said = parsed(ran.out)
    traces = of(watch.traces(), "messages")
    outcome.that("one trace", len(traces) == 1, len(traces))
    for trace in traces[:1]:
        outcome.went_well(trace)
        session = trace["session"]
        outcome.that("the session is from its header", session["source"] == SESSION, session)
        outcome.that("and the client's own", session["id"] == said.get("session_id"), session)
        text = [block.get("text") for block in trace["response"]["message"]["content"]]
        outcome.that("the message is the answer", text == [ANSWER], text)
        outcome.that("usage as sent", same_usage(trace, USAGE), trace["usage"])
        outcome.that("the query is kept", trace["request"]["query"] == "beta=true")


def tool_round(stage: Stage, outcome: Outcome) -> None:
    watch = Watch(stage.tap)
    ran = claude(stage, "tap-tool-claude please", "--allowedTools", "Bash(echo:*)")
    outcome.ended_well(ran, "The tool said tap-ran-42.")
    traces = of(watch.traces(2), "messages")
    outcome.that("two traces", len(traces) == 2, len(traces))
    for trace in traces:
        outcome.went_well(trace)
    if len(traces) == 2:
        first, second = traces
        calls = [b for b in first["response"]["message"]["content"] if b["type"] == "tool_use"]
        ran_it = [call["input"].get("command") for call in calls]
        outcome.that("the tool's input", ran_it == ["echo tap-ran-$((40+2))"], calls)
        same = first["session"]["id"] == second["session"]["id"]
        outcome.that("one session", same, second["session"])
        asked = json.dumps(second["request"]["body"]["value"])
        outcome.that("the result went up", "tap-ran-42" in asked)


def subagent(stage: Stage, outcome: Outcome) -> None:
    watch = Watch(stage.tap)
    ran = claude(stage, "tap-subagent please")
    outcome.ended_well(ran, "The other agent said pelican.")
    traces = of(watch.traces(3), "messages")
    outcome.that("three traces", len(traces) == 3, len(traces))
    for trace in traces:
        outcome.went_well(trace)
    sessions = {trace["session"]["id"] for trace in traces}
    outcome.that("one session", len(sessions) == 1, sessions)
    agents = [t for t in traces if header(t, "x-claude-code-agent-id")]
    outcome.that("one request of the other agent", len(agents) == 1, len(agents))


def token_count_burst(stage: Stage, outcome: Outcome) -> None:
    """`/context` counts tokens in some thirty requests at once; the mock answers none of them."""
    watch = Watch(stage.tap)
    ran = claude(stage, "/context")
    outcome.ended_well(ran, "Context Usage")
    traces = of(watch.traces(10), "count_tokens")
    outcome.that("ten traces and more", len(traces) >= 10, len(traces))
    causes = {trace["termination"]["cause"] for trace in traces}
    outcome.that("each the provider's 404", causes == {"upstream_error"}, causes)


def start_probes(stage: Stage, outcome: Outcome) -> None:
    """With its other traffic on: HEAD, the list of models, and a token in place of the key.

    It sends its HEAD only where no variable names an outgoing proxy.
    """
    watch = Watch(stage.tap)
    ran = claude(
        stage,
        "tap-hello please",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="",
        CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY="1",
        ANTHROPIC_AUTH_TOKEN=f"{KEY}-token",
        ANTHROPIC_API_KEY="",
        **dict.fromkeys(NOWHERE, ""),
    )
    outcome.ended_well(ran, ANSWER)
    traces = watch.traces(3)
    methods = {trace["request"]["method"] for trace in traces}
    outcome.that("a HEAD, a GET and a POST", methods == {"HEAD", "GET", "POST"}, methods)
    listed = [t for t in traces if t["request"]["path"] == "/v1/models"]
    outcome.that("the models are listed", [t["summary"]["status"] for t in listed] == [200])
    for trace in of(traces, "messages"):
        outcome.went_well(trace)


def provider_error(stage: Stage, outcome: Outcome) -> None:
    watch = Watch(stage.tap)
    ran = claude(stage, "tap-error please")
    outcome.seconds += ran.seconds
    outcome.that("the client fails", ran.code != 0, ran.code)
    outcome.that("with the provider's words", "this request is refused" in ran.out + ran.err)
    traces = of(watch.traces(), "messages")
    outcome.that("a trace", bool(traces))
    for trace in traces:
        ended = trace["termination"]
        outcome.that("cause upstream_error", ended["cause"] == "upstream_error", ended)
        error = trace["error"] or {}
        outcome.that("its message", "is refused" in (error.get("message") or ""), error)


def parsed(text: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def header(trace: Json, name: str) -> str | None:
    found = [v for n, v in trace["request"]["headers"] if n.lower() == name]
    return found[0] if found else None


CASES: dict[str, Case] = {
    "hello": hello,
    "tool round": tool_round,
    "subagent": subagent,
    "burst of token counts": token_count_burst,
    "probes at start": start_probes,
    "provider error": provider_error,
}
