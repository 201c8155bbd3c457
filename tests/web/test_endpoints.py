"""What the endpoints answer, and how they refuse."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from src.query.groups import Group
from src.web.view import Site
from tests.web.kit import ADMIN, EACH, KEYS, Browser, Made, make_site

ALL = EACH * 5


async def test_pages_follow_each_other_without_gap_or_repetition(
    browser: Browser, made: Made
) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        page = await browser.json("/api/requests", limit=4, cursor=cursor)
        seen += [row["id"] for row in page["requests"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert len(seen) == ALL
    assert set(seen) == {each for ids in made.ids.values() for each in ids}
    assert seen == sorted(seen, reverse=True)


async def test_filter_and_sort(browser: Browser) -> None:
    page = await browser.json("/api/requests", q="status:429 model:gpt-4o", sort="-in")
    tokens = [row["input_tokens"] for row in page["requests"]]
    assert tokens
    assert tokens == sorted(tokens, reverse=True)
    assert {row["status"] for row in page["requests"]} == {429}
    assert all("file" not in row for row in page["requests"])


async def test_a_mistake_in_the_filter_is_told_with_its_place(browser: Browser) -> None:
    answered = await browser.get("/api/requests", q="model:x stauts:200")
    assert answered.status_code == 422
    error = answered.json()["error"]
    assert error["type"] == "bad_filter"
    assert error["parameter"] == "q"
    assert error["position"] == 8
    assert "status" in error["message"]


async def test_a_trace_whole_and_without_bodies(browser: Browser, made: Made) -> None:
    identity = made.ids["bob"][1]
    whole = await browser.json(f"/api/request/{identity}")
    assert made.words[identity] in json.dumps(whole)
    (path,) = made.folder.rglob(f"*{identity}*.json")
    assert whole == json.loads(path.read_text())
    bare = await browser.json(f"/api/request/{identity.lower()}", bodies=0)
    assert made.words[identity] not in json.dumps(bare)
    assert bare["usage"] == whole["usage"]
    assert bare["request"]["body"]["sha256"] == whole["request"]["body"]["sha256"]


async def test_bodies_one_by_one_are_never_pages(browser: Browser, made: Made) -> None:
    identity = made.ids["bob"][1]
    asked = await browser.get(f"/api/request/{identity}/body/request")
    assert asked.json()["messages"][0]["content"].startswith(made.words[identity])
    answered = await browser.get(f"/api/request/{identity}/body/response")
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["content-disposition"].startswith("attachment")
    assert answered.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answered.headers["content-security-policy"]


async def test_stats_by_field_and_over_time(browser: Browser) -> None:
    whole = await browser.json("/api/stats")
    assert [bucket["requests"] for bucket in whole["buckets"]] == [ALL]
    by_cause = await browser.json("/api/stats", by="cause")
    counts = {bucket["group"]: bucket["requests"] for bucket in by_cause["buckets"]}
    assert counts == {"ok": 20, "upstream_error": 15}
    since = "since:2026-11-21T11:00 until:2026-11-21T13:00"
    minutes = await browser.json("/api/stats", q=since, bucket="1m")
    assert sum(bucket["requests"] for bucket in minutes["buckets"]) == ALL
    assert minutes["since_at"] == "2026-11-21T11:00:00.000000Z"
    assert minutes["buckets"][0]["duration_ms"]["p50"] > 0


@pytest.mark.parametrize("by", Group)
async def test_stats_by_each_group_that_the_terminal_has(browser: Browser, by: Group) -> None:
    answered = await browser.json("/api/stats", by=by.value)
    assert answered["by"] == by
    assert sum(bucket["requests"] for bucket in answered["buckets"]) == ALL


async def test_too_many_buckets_are_refused(browser: Browser) -> None:
    answered = await browser.get("/api/stats", q="since:2020-01-01", bucket="1m")
    assert answered.status_code == 422
    assert answered.json()["error"]["parameter"] == "bucket"


async def test_search_shows_where_the_words_stand(browser: Browser, made: Made) -> None:
    identity = made.ids["Alice"][2]
    page = await browser.json("/api/search", q=f'"{made.words[identity]} harbour"')
    (hit,) = page["hits"]
    assert hit["request"]["id"] == identity
    assert hit["excerpts"][0]["part"] == "answer"
    assert (await browser.get("/api/search", q="model:x")).status_code == 422


async def test_sessions(browser: Browser) -> None:
    first = await browser.json("/api/sessions", limit=3)
    rest = await browser.json("/api/sessions", limit=100, cursor=first["cursor"])
    found = first["sessions"] + rest["sessions"]
    assert sum(session["requests"] for session in found) == ALL
    assert len(found) == 10  # two of each key


@pytest.mark.parametrize(
    ("path", "query", "kind"),
    [
        ("/api/requests", {"limit": "0"}, "bad_parameter"),
        ("/api/requests", {"limit": "many"}, "bad_parameter"),
        ("/api/requests", {"q": "a\x00b"}, "bad_parameter"),
        ("/api/requests", {"q": "x" * 4001}, "bad_parameter"),
        ("/api/requests", {"q": "in:1," + "1," * 150 + "1"}, "bad_filter"),
        ("/api/requests", {"q": "(" * 60}, "bad_filter"),
        ("/api/requests", {"q": "-" * 21 + "a"}, "bad_filter"),
        ("/api/requests", {"q": "model:" + ",".join(["a*"] * 31)}, "bad_filter"),
        ("/api/search", {"q": '"' + "a " * 101 + '"'}, "bad_filter"),
        ("/api/requests", {"cursor": "eyJ4"}, "bad_parameter"),
        ("/api/requests", {"cursor": "WyItcmVjZWl2ZWQiLCBudWxsLCAxZTk5OV0"}, "bad_parameter"),
        ("/api/requests", {"filter": "x"}, "unknown_parameter"),
        ("/api/requests", {"api_key": KEYS["bob"]}, "unknown_parameter"),
        ("/api/stats", {"by": "file"}, "bad_parameter"),
        ("/api/request/nonsense", {}, "bad_parameter"),
        ("/api/live", {"q": "stauts:1"}, "bad_filter"),
    ],
)
async def test_what_is_wrong_is_422_and_not_sent_back(
    browser: Browser, path: str, query: dict[str, str], kind: str
) -> None:
    answered = await browser.get(path, **query)
    assert answered.status_code == 422
    assert answered.json()["error"]["type"] == kind
    assert KEYS["bob"] not in answered.text
    assert "x" * 100 not in answered.text


async def test_a_key_in_the_filter_is_not_sent_back(browser: Browser) -> None:
    answered = await browser.get("/api/requests", q="cause:sk-ant-api03-abcdefghijklmnop")
    assert answered.status_code == 422
    assert "abcdefghijklmnop" not in answered.text


async def test_there_are_no_other_pages_and_nothing_but_get(browser: Browser) -> None:
    for path in ("/", "/docs", "/redoc", "/openapi.json", "/api", "/api/requests/"):
        answered = await browser.get(path)
        assert answered.status_code == 404, path
        assert answered.json()["error"]["type"] == "not_found"
    document = (await browser.get("/api/openapi.json", None)).json()
    methods = {method for path in document["paths"].values() for method in path}
    assert methods == {"get"}
    posted = await browser._client.post("/api/requests", headers={"X-API-Key": ADMIN})
    assert posted.status_code == 405


async def test_no_other_origin_may_read(browser: Browser) -> None:
    answered = await browser.get("/api/requests", headers={"Origin": "https://evil.test"})
    assert not [name for name in answered.headers if name.startswith("access-control")]


async def test_health_needs_no_key(browser: Browser) -> None:
    for path in ("/health", "/liveness", "/readiness"):
        assert (await browser.get(path, None)).status_code == 200


async def test_a_trace_is_read_inside_the_folder_only(
    browser: Browser, site: Site, made: Made, tmp_path: Path
) -> None:
    """A link in place of the file leads nowhere, whatever it leads to."""
    identity = made.ids["bob"][0]
    (path,) = made.folder.rglob(f"*{identity}*.json")
    outside = tmp_path / path.name
    os.rename(path, outside)
    path.symlink_to(outside)
    try:
        assert (await browser.get(f"/api/request/{identity}")).status_code == 404
    finally:
        path.unlink()
        os.rename(outside, path)
    assert (await browser.get(f"/api/request/{identity}")).status_code == 200


async def test_a_store_that_is_not_there_is_503(made: Made, tmp_path: Path) -> None:
    site, engine = make_site(Made(tmp_path / "nothing"))
    browser = Browser(site)
    answered = await browser.get("/api/requests")
    assert answered.status_code == 503
    assert answered.json()["error"]["type"] == "store_unavailable"
    assert str(tmp_path) not in answered.text
    assert (await browser.get("/readiness")).status_code == 503
    assert (await browser.get("/health")).status_code == 200
    await browser.close()
    await engine.dispose()
