"""`ls`, `search`, `stats`, `filters`: on a folder of traces alone."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from src.cli.root import READERS, build_cli
from src.query.fields import FIELDS
from src.query.groups import Group
from src.record.figures import Figures
from src.record.folder import Folder
from src.store.cursors import SORTS
from tests.record.traces import NOON, Written, answer, chat
from tests.store.making import make_row

ROOT = Path(__file__).parents[2]
MINUTE = timedelta(minutes=1)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build_cli(), list(arguments))


def rows(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Four traces, from the newest to the oldest: b, a, refused, cut; one a minute."""
    written = Written(tmp_path / "traces")
    written.add(
        chat("gpt-4o", "A story of the sea"),
        (),
        at=NOON - 3 * MINUTE,
        cause="client_disconnected",
        phase="body",
        answered=False,
    )
    written.add(
        chat("claude-x", "no"),
        (b'{"error": {"message": "slow down", "type": "rate_limit"}}',),
        at=NOON - 2 * MINUTE,
        status=429,
        cause="upstream_error",
        key="bob",
    )
    written.add(
        chat("gpt-4o-mini", "Tell me of foo-bar"),
        (answer("Once upon a rate limit", output=500),),
        at=NOON - MINUTE,
        session="run-1",
        key="alice",
    )
    written.add(
        chat("gpt-4o", "one", "two", "and the sea again"),
        (answer("the sea, \x1b[31mthe sea\u202e"),),
        at=NOON,
        session="run-1",
        key="alice",
    )
    return written


def test_ls_prints_a_table_newest_first(written: Written) -> None:
    result = run("ls", "--trace-dir", str(written.root))
    head, *lines = result.stdout.splitlines()
    titles = "time (UTC) model status tokens ttft duration cause cost id"
    assert " ".join(head.split()) == titles
    assert [line.split()[2] for line in lines] == ["gpt-4o", "gpt-4o-mini", "claude-x", "gpt-4o"]
    assert lines[0].startswith("2026-11-21 12:00:00  gpt-4o ")
    assert "12 → 34" in lines[0]
    assert [line.split()[3] for line in lines] == ["200", "200", "429", "ERR"]
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        ([], [0, 1, 2, 3]),
        (["model:gpt*"], [0, 1, 3]),
        (["status:>=400"], [2]),
        (["-status:none"], [0, 1, 2]),
        (["-cause:ok"], [2, 3]),
        (["key:alice", "out:>100"], [1]),
        (["key:bob OR cause:client_disconnected"], [2, 3]),
        (["sea"], [0, 3]),
        (["message:foo-bar"], [1]),
        (["rate limit"], [1, 2]),  # in its error it is `rate_limit`
        (["answer:rate limit", "status:200"], [1]),
        (["limit rate"], []),
        (["since:2026-11-21T11:58:30", "until:2026-11-21T12:00"], [1]),
        (["session:run", "-sea"], [1]),
    ],
)
def test_the_filter_chooses(written: Written, words: list[str], minutes: list[int]) -> None:
    found = rows(run("ls", "--json", "--trace-dir", str(written.root), *words))
    received = [f"{NOON - minute * MINUTE:%Y-%m-%dT%H:%M:%S.000000Z}" for minute in minutes]
    assert [row["received_at"] for row in found] == received


@pytest.mark.parametrize(
    ("options", "models"),
    [
        (["--limit", "2"], ["gpt-4o", "gpt-4o-mini"]),
        (["--reverse", "--limit", "1"], ["gpt-4o"]),
        (["--sort", "tokens", "--limit", "2"], ["gpt-4o-mini", "gpt-4o"]),
        (["--sort", "model", "--limit", "0"], ["gpt-4o-mini", "gpt-4o", "gpt-4o", "claude-x"]),
        (["--sort", "status", "--reverse", "--limit", "3"], ["gpt-4o", "gpt-4o-mini", "claude-x"]),
    ],
)
def test_ls_sorts(written: Written, options: list[str], models: list[str]) -> None:
    result = run("ls", "--json", "--trace-dir", str(written.root), *options)
    assert [row["model"] for row in rows(result)] == models
    assert ("--limit 0 for all" in result.stderr) == (len(models) < 4)


def test_search_shows_where_and_answers_first(written: Written) -> None:
    result = run("search", "sea", "--trace-dir", str(written.root))
    assert [line.strip() for line in result.stdout.splitlines() if line[:1] == " "] == [
        r"answer: the sea, \x1b[31mthe sea\u202e",
        "messages: A story of the sea",
    ]
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_search_as_json_names_each_place_of_a_short_text(written: Written) -> None:
    first, *_ = rows(run("search", "sea", "--json", "--trace-dir", str(written.root)))
    assert [place["found"] for place in first["excerpts"]] == ["sea", "sea"]


def test_search_as_json_names_part_and_surroundings(written: Written) -> None:
    first, second = rows(run("search", "--json", "--trace-dir", str(written.root), "sea"))
    assert first["excerpts"][0] == {
        "part": "answer",
        "before": "the ",
        "found": "sea",
        "after": ", \x1b[31mthe sea\u202e",
    }
    assert second["session_id"] != first["session_id"] == "run-1"


def test_search_without_words_says_what_to_do(written: Written) -> None:
    result = run("search", "status:200", "--trace-dir", str(written.root))
    assert (result.exit_code, result.stderr) == (
        2,
        "give words to search for; ls lists by fields alone\n",
    )


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("day", [("2026-11-21", 4, 2)]),
        ("model", [("gpt-4o", 2, 1), ("gpt-4o-mini", 1, 0), ("claude-x", 1, 1)]),
        ("key", [("alice", 2, 0), ("bob", 1, 1), (None, 1, 1)]),
        ("cause", [("ok", 2, 0), ("upstream_error", 1, 1), ("client_disconnected", 1, 1)]),
        ("provider", [("openai", 4, 2)]),
        ("op", [("chat", 4, 2)]),
        ("status", [(200, 2, 0), (429, 1, 1), (None, 1, 1)]),
    ],
)
def test_stats_add_up(written: Written, by: str, groups: list[tuple]) -> None:
    found = rows(run("stats", "--by", by, "--json", "--trace-dir", str(written.root)))
    assert [(row[by], row["requests"], row["errors"]) for row in found] == groups


@pytest.mark.parametrize("by", Group)
def test_stats_by_each_group_that_the_api_has(written: Written, by: Group) -> None:
    assert sum(row["requests"] for row in rows(stats_by(written, by.value, "--json"))) == 4
    table = stats_by(written, by.value).stdout.splitlines()
    assert (table[0].split()[0], table[-1].split()[:2]) == (by, ["all", "4"])


def test_connections_of_one_address_count_together(written: Written) -> None:
    (found,) = rows(stats_by(written, "address", "--json"))
    assert (found["address"], found["requests"]) == ("127.0.0.1", 4)
    folder = ("--trace-dir", str(written.root), "--json")
    for address in ("127.0.0.1", "127.0.0.*", "127.0.0.1:*"):
        assert len(rows(run("ls", f"address:{address}", *folder))) == 4, address
    assert rows(run("ls", "address:127.0.0", *folder)) == []


def test_stats_by_what_there_is_not_says_what_there_is(written: Written) -> None:
    result = stats_by(written, "modle")
    assert result.exit_code == 2
    assert "'modle' is none of: day, model, key, upstream, provider, op, status" in result.stderr


@pytest.mark.parametrize(
    ("option", "known"),
    [
        (("ls", "--sort"), "time, received, model, status"),
        (("show", "--raw"), "request, response\n"),
        (("export", "--format"), "jsonl, har, otlp, curl, python\n"),
    ],
)
def test_a_choice_that_there_is_not_is_told_plainly(option: tuple[str, str], known: str) -> None:
    result = run(*option, "none")
    assert result.exit_code == 2
    assert f"Invalid value for '{option[1]}': 'none' is none of: {known}" in result.stderr


def test_paths_that_end_otherwise_look_otherwise(written: Written) -> None:
    for ending in ("streamGenerateContent", "generateContent"):
        path = f"/gemini/v1beta/models/gemini-2.5-pro-preview:{ending}"
        written.add(chat("gemini", "no"), (answer("no"),), at=NOON + MINUTE, target=path.encode())
    options = ("stats", "--by", "path", "--trace-dir", str(written.root))
    table = on_terminal(*options, columns=80)
    lines = [line.split()[0] for line in table.splitlines() if "Content" in line]
    assert len(set(lines)) == 2, table


def stats_by(written: Written, by: str, *options: str) -> Result:
    return run("stats", "--by", by, "--trace-dir", str(written.root), *options)


def test_ls_sorts_by_all_that_the_api_does(written: Written) -> None:
    for order in SORTS:
        found = rows(run("ls", "--sort", order, "--json", "--trace-dir", str(written.root)))
        column = "received_at" if order == "received" else SORTS[order]
        known = [row[column] for row in found if row[column] is not None]
        assert known == sorted(known, reverse=True), order
        assert len(found) == len(rows(run("ls", "--json", "--trace-dir", str(written.root))))


def test_ls_sorts_by_cost_the_dearest_first_the_unknown_last(written: Written) -> None:
    found = rows(run("ls", "--sort", "cost", "--json", "--trace-dir", str(written.root)))
    costs = [row["cost_usd"] for row in found]
    known = [cost for cost in costs if cost is not None]
    assert known == sorted(known, reverse=True)
    assert costs == [*known, *[None] * (len(costs) - len(known))]
    assert len(known) > 1


def test_stats_of_a_session_are_exact(written: Written) -> None:
    (row,) = rows(
        run("stats", "--by", "session", "--json", "session:run-1", "--trace-dir", str(written.root))
    )
    listed = rows(run("ls", "session:run-1", "--json", "--trace-dir", str(written.root)))
    assert (row["input_tokens"], row["output_tokens"]) == (24, 534)
    assert row["cost_usd"] > 0
    assert row["cost_usd"] == pytest.approx(sum(one["cost_usd"] or 0 for one in listed))
    durations = sorted(row["duration_ms"] for row in listed)
    assert (row["duration_ms_p50"], row["duration_ms_p99"]) == (durations[0], durations[1])
    table = run("stats", "--trace-dir", str(written.root)).stdout.splitlines()
    assert table[-1].split()[:3] == ["all", "4", "2"]


def test_a_cost_is_complete_where_all_else_was_free() -> None:
    total = Figures()
    for cause, tokens, unpriced in [
        ("upstream_error", None, 0),
        ("connect_failed", None, 0),
        ("client_disconnected", None, 1),
        ("ok", 5, 1),
        ("ok", None, 0),
    ]:
        row = make_row(cause=cause, input_tokens=tokens, output_tokens=None, cost_usd=None)
        before = total.unpriced
        total.add(row)
        assert total.unpriced - before == unpriced, cause
    models = make_row(model=None, cause="timeout", input_tokens=None, output_tokens=None)
    total.add(models._replace(cost_usd=None))
    assert total.unpriced == 2


@pytest.mark.parametrize("command", ["ls", "search"])
def test_nothing_found_is_told_beside_the_result(
    command: str, written: Written, tmp_path: Path
) -> None:
    none = run(command, "nowheresaid", "--trace-dir", str(written.root))
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "no trace passes\n")
    (tmp_path / "empty").mkdir()
    empty = run(command, "x", "--trace-dir", str(tmp_path / "empty"))
    assert empty.stderr == f"there are no traces in {tmp_path}/empty\n"
    assert run(command, "nowheresaid", "--json", "--trace-dir", str(written.root)).stderr == ""


def test_filters_prints_the_whole_language() -> None:
    text = run("filters").stdout
    assert all(f"`{name}`" in text for name in FIELDS)


@pytest.mark.parametrize("command", ["ls", "search", "stats", "tail"])
def test_mistakes_are_told_with_their_place(command: str, written: Written, tmp_path: Path) -> None:
    bad = run(command, "modle:x", "--trace-dir", str(written.root))
    assert bad.exit_code == 2
    assert bad.stderr.startswith("modle:x\n^^^^^\nthere is no field 'modle'; did you mean model?")
    misspelt = run(command, "--limti", "3")
    assert misspelt.exit_code == 2
    assert "No such option: --limti" in misspelt.stderr
    short = run(command, "-c", "config.yaml")
    assert short.exit_code == 2
    assert "No such option: -c; a word to leave out is -body:c" in short.stderr
    nowhere = run(command, "x", "--trace-dir", str(tmp_path / "none"))
    assert nowhere.exit_code == 1
    assert (
        nowhere.stderr
        == f"{tmp_path}/none: no such file or directory; give another by --trace-dir\n"
    )
    file = run(command, "x", "--trace-dir", __file__)
    assert (file.exit_code, file.stderr) == (1, f"{__file__}: not a directory\n")
    config = run(command, "x", "--config", str(tmp_path / "none.yaml"))
    assert config.exit_code == 2
    assert "no such file" in config.stderr


@pytest.mark.parametrize("command", sorted(READERS.keys() - {"filters"}))
def test_help_points_to_the_language_and_knows_no_short_option(command: str) -> None:
    text = run(command, "--help").stdout
    assert "llmtap filters" in text
    assert not [line for line in text.splitlines() if line.startswith("  -") and line[3] != "-"]


@pytest.mark.parametrize(
    "config",
    [
        "trace_dir: traces\nupstreams: [{base_url: '${NOWHERE}'}]\n",
        "trace_dir: elsewhere\nmiddlewares: [auth, trace: {dir: traces}]\n",
        "middlewares:\n  - use: trace\n    dir: traces\n",
    ],
)
def test_the_folder_is_the_configs(
    written: Written, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(written.root.parent)
    Path("config.yaml").write_text(config)
    assert len(rows(run("ls", "--json"))) == 4
    monkeypatch.setenv("LLMTAP_TRACE_DIR", "other")
    assert run("ls").exit_code == 1


def test_what_is_no_trace_is_told_in_one_line(written: Written) -> None:
    for file in list(Folder(written.root).files())[:2]:
        (written.root / file.file).write_text("{")
    result = run("ls", "--json", "--trace-dir", str(written.root))
    assert len(rows(result)) == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("skipped, as they are no traces: 2026-11-21/1200")
    assert result.stderr.endswith(" and 1 more\n")


def on_terminal(*arguments: str, columns: int = 100) -> str:
    """What the program writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "src.main", *arguments],
        cwd=ROOT,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": ""},
    )
    os.close(theirs)
    text = b""
    try:
        while data := os.read(ours, 65536):
            text += data
    except OSError:  # Linux: the other side is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(10) == 0
    return text.decode()


def test_on_a_terminal_it_is_coloured_and_fits(written: Written) -> None:
    text = on_terminal("ls", "--trace-dir", str(written.root))
    lines = [line for line in text.splitlines() if "gpt" in line]
    assert len(lines) == 3
    assert "\x1b[32m" in lines[0]
    found = on_terminal("search", "sea", "--trace-dir", str(written.root))
    assert "sea\x1b[0m" in found
    assert r"\x1b[31mthe" in found.replace("\x1b[0m", "")
    assert "\u202e" not in found


def test_a_reader_that_has_seen_enough_is_no_error(written: Written) -> None:
    command = f"{sys.executable} -m src.main ls --limit 0 --trace-dir {written.root} | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_search_through_130_mb_takes_less_than_a_second(tmp_path: Path, figure) -> None:
    """As many bytes, of fewer requests: the time is that of the bytes."""
    written = Written(tmp_path)
    said = [f"word{i} " * 60 for i in range(1400)]
    for turn in range(1, 141):
        written.add(chat("m", *said[: turn * 10]), (answer(f"turn {turn}"),))
    size = sum(path.stat().st_size for path in tmp_path.glob("*/*.json"))
    assert size > 30_000_000
    times = []
    for words in ("word7 turn", "word1399", "nowhere"):
        begin = time.perf_counter()
        result = run("search", "--trace-dir", str(tmp_path), *words.split())
        times.append(time.perf_counter() - begin)
        assert result.exit_code == 0
    figure("record 6", megabytes=round(size / 1e6), search_s=[round(each, 2) for each in times])
    assert max(times) < size / 130e6 + 0.5
