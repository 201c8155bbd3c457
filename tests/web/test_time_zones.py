"""Days, hours and dates without an offset are UTC's, wherever the program runs: the folder alone,
the store and the API say the same, on the days when clocks are changed too. All by hand.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from src.cli.root import build_cli
from src.store.indexing import index
from src.tracing.lines import Lines
from tests.record.traces import Written, chat
from tests.web.kit import Browser, Made, make_site

ZONES = ("UTC", "Pacific/Auckland", "America/St_Johns")

# When it happened, and what clocks did there and then.
MOMENTS = {
    "2026-03-08T05:29:59": "St. John's: a second before 02:00 becomes 03:00",
    "2026-03-08T05:30:00": "St. John's: 03:00",
    "2026-04-04T13:59:59": "Auckland: 02:59:59 for the first time, on the 5th",
    "2026-04-04T14:00:00": "Auckland: 02:00:00 again",
    "2026-04-04T23:59:59": "the last second of a day",
    "2026-04-05T00:00:00": "the first of the next",
    "2026-09-26T13:59:59": "Auckland: 01:59:59 NZST, on the 27th",
    "2026-09-26T14:00:00": "Auckland: 03:00 NZDT",
    "2026-11-01T04:29:59": "St. John's: 01:59:59 for the first time",
    "2026-11-01T04:30:00": "St. John's: 01:00:00 again",
}
DAYS = {"2026-03-08": 2, "2026-04-04": 3, "2026-04-05": 1, "2026-09-26": 2, "2026-11-01": 2}
HOURS = {
    "2026-03-08T05": 2,
    "2026-04-04T13": 1,
    "2026-04-04T14": 1,
    "2026-04-04T23": 1,
    "2026-04-05T00": 1,
    "2026-09-26T13": 1,
    "2026-09-26T14": 1,
    "2026-11-01T04": 2,
}
FILTERS = {
    "since:2026-04-04 until:2026-04-05": ["2026-04-04T13", "2026-04-04T14", "2026-04-04T23"],
    "since:2026-04-05 until:2026-04-06": ["2026-04-05T00"],
    "since:2026-04-05T00:00+12:00 until:2026-04-05T03:00+13:00": ["2026-04-04T13"],
    "since:2026-04-05T02:00+12:00 until:2026-04-06T00:00+12:00": [
        "2026-04-04T14",
        "2026-04-04T23",
        "2026-04-05T00",
    ],
    "since:2026-09-26T14:00 until:2026-09-26T14:00:01": ["2026-09-26T14"],
    "since:2026-03-08T05:30Z until:2026-03-09": ["2026-03-08T05"],
    "since:2026-03-08T03:00-02:30 until:2026-03-09": ["2026-03-08T05"],
    "since:2026-11-01": ["2026-11-01T04", "2026-11-01T04"],
}


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
async def made(tmp_path: Path, zone: str) -> Made:
    assert zone == "UTC" or time.localtime().tm_gmtoff != 0, f"{zone} is not known here"
    written = Written(tmp_path)
    for at in MOMENTS:
        written.add(chat("gpt-4o", "hi"), at=datetime.fromisoformat(at).replace(tzinfo=UTC))
    await index(tmp_path, None, lambda *_: None)
    return Made(tmp_path)


@pytest.fixture
async def browser(made: Made) -> AsyncIterator[Browser]:
    site, engine = make_site(made)
    browser = Browser(site)
    yield browser
    await browser.close()
    await engine.dispose()


def read(made: Made, *arguments: str) -> list[dict]:
    done = CliRunner().invoke(build_cli(), [*arguments, "--json", "--trace-dir", str(made.folder)])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_days_and_hours_are_those_of_utc(made: Made, browser: Browser) -> None:
    assert {line["day"]: line["requests"] for line in read(made, "stats", "--by", "day")} == DAYS
    assert {path.name for path in made.folder.glob("????-*")} == DAYS.keys()
    for bucket, wanted, digits in (("1d", DAYS, 10), ("1h", HOURS, 13)):
        told = await browser.json("/api/stats", q="since:2026-01-01 until:2026-12-31", bucket="1d")
        if bucket == "1h":  # no more than 1,500 at once
            told = {"buckets": []}
            for day in DAYS:
                q = f"since:{day} until:{day}T23:59:59.999999"
                told["buckets"] += (await browser.json("/api/stats", q=q, bucket=bucket))["buckets"]
        found = {each["start_at"][:digits]: each["requests"] for each in told["buckets"]}
        assert found == wanted


async def test_dates_in_filters_are_those_of_utc(made: Made, browser: Browser) -> None:
    for q, wanted in FILTERS.items():
        listed = [row["received_at"][:13] for row in read(made, "ls", *q.split())]
        page = await browser.json("/api/requests", q=q)
        assert listed[::-1] == wanted, q
        assert [row["received_at"][:13] for row in page["requests"]] == listed, q
        summed = (await browser.json("/api/stats", q=q))["buckets"]
        assert sum(each["requests"] for each in summed) == len(wanted), q


async def test_today_begins_at_midnight_utc(made: Made, browser: Browser) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    written = Written(made.folder)
    last = written.add(at=datetime.fromtimestamp(midnight.timestamp() - 0.000_001, UTC))
    first = written.add(at=midnight)
    await index(made.folder, None, lambda *_: None)
    for q, wanted in (("since:today", [first]), ("since:yesterday until:today", [last])):
        assert [row["id"] for row in read(made, "ls", q)] == wanted
        page = await browser.json("/api/requests", q=q)
        assert [row["id"] for row in page["requests"]] == wanted


def test_the_line_of_a_request_has_the_time_of_its_files_name(
    zone: str, capfd: pytest.CaptureFixture[str]
) -> None:
    del zone
    summary = dict.fromkeys(
        ("status", "cause", "model", "operation", "input_tokens", "output_tokens", "cost_usd")
    )
    lines = Lines("terminal")
    name = "101112.123456Z_01M3G2JN00MC0W8HYSNQC79JFA_openai_-_200.json"
    at = datetime(2026, 9, 27, 10, 11, 12, 123_456, UTC)
    lines.add({**summary, "ttft_ms": 1, "duration_ms": 1}, name, int(at.timestamp()) * 10**9)
    lines.flush()
    assert re.search(r"10:11:12\b", capfd.readouterr().err)
