"""Claude Code and Codex through the program, offline: `python -m tests.clients.run`.

Installs the clients and a mock provider (aimock) from npm into a temporary folder, starts the mock,
starts llmtap in front of it, runs each client against llmtap and looks at what it printed and at
the traces. Needs Node 20 or newer, npm, and the npm registry once; nothing else of the network.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients import claude_code, codex, npm
from tests.clients.cases import KEY, Case, Outcome, Stage
from tests.support.tap import LLMTap

CLIENTS: dict[str, tuple[str, str, dict[str, Case]]] = {  # package, provider type, cases
    "claude": ("@anthropic-ai/claude-code", "anthropic", claude_code.CASES),
    "codex": ("@openai/codex", "openai", codex.CASES),
}


def main() -> int:
    """Exit code 0 when every case passed, 1 when one failed, 2 when nothing could be run."""
    options = _options()
    try:
        with _folder(options.work, keep=options.keep) as folder:
            outcomes = _run(options, folder)
    except npm.InstallError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; every process it started is ended", file=sys.stderr)
        return 2
    return _report(outcomes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", choices=CLIENTS, help="one client instead of all")
    parser.add_argument("--claude", default=npm.CLAUDE_CODE, help="its version (%(default)s)")
    parser.add_argument("--codex", default=npm.CODEX, help="its version (%(default)s)")
    parser.add_argument("--aimock", default=npm.AIMOCK, help="its version (%(default)s)")
    parser.add_argument("--npm", type=Path, help="keep the npm packages in this folder")
    parser.add_argument("--work", type=Path, help="homes, traces and logs go here")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    return parser.parse_args()


@contextmanager
def _folder(given: Path | None, *, keep: bool) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    name = tempfile.mkdtemp(prefix="llmtap-clients-")
    try:
        yield Path(name)
    finally:
        if keep:
            _say(f"kept in {name}")
        else:
            shutil.rmtree(name, ignore_errors=True)


def _run(options: argparse.Namespace, folder: Path) -> list[Outcome]:
    chosen = [options.only] if options.only else list(CLIENTS)
    packages = {"@copilotkit/aimock": options.aimock}
    packages |= {CLIENTS[name][0]: getattr(options, name) for name in chosen}
    where = (options.npm or folder / "npm").resolve()
    _say(f"npm: {', '.join(f'{name} {version}' for name, version in packages.items())}")
    npm.install(where, packages)
    mock = npm.Aimock(where, folder / "aimock.log")
    try:
        mock.start()
        return [o for name in chosen for o in _run_client(name, where, folder, mock.url)]
    finally:
        mock.stop()


def _run_client(name: str, where: Path, folder: Path, upstream: str) -> list[Outcome]:
    _, kind, cases = CLIENTS[name]
    tap = LLMTap(folder / f"tap-{name}", base_url=upstream, kind=kind)
    try:
        stage = Stage(where, folder, tap.start())
        outcomes = [_run_case(name, title, case, stage) for title, case in cases.items()]
    finally:
        tap.stop()
    outcomes.append(_no_key(name, tap))
    return outcomes


def _run_case(client: str, title: str, case: Case, stage: Stage) -> Outcome:
    _say(f"{client}: {title}")
    outcome = Outcome(client, title)
    try:
        case(stage, outcome)
    except Exception:
        outcome.failures.append(traceback.format_exc(limit=-2))
    return outcome


def _no_key(client: str, tap: LLMTap) -> Outcome:
    outcome = Outcome(client, "its key is nowhere")
    texts = {path.name: path.read_text("utf-8") for path in tap.files()}
    shown = [name for name, text in texts.items() if KEY in text]
    outcome.that("there are traces", bool(texts))
    outcome.that("not in a trace", not shown, shown)
    outcome.that("not in the log", KEY not in tap.output)
    return outcome


def _report(outcomes: list[Outcome]) -> int:
    print(f"{'client':8} {'case':24} {'checks':>6} {'seconds':>8}  result")
    for outcome in outcomes:
        result = "passed" if not outcome.failures else "FAILED"
        row = f"{outcome.client:8} {outcome.name:24} {outcome.held:6} {outcome.seconds:8.1f}"
        print(f"{row}  {result}")
        for failure in outcome.failures:
            print(f"         - {failure}")
    failed = sum(bool(outcome.failures) for outcome in outcomes)
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
