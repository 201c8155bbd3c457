"""Own-key isolation: whatever a key asks, in whatever way, it is told of its own requests alone.

A table of endpoint, key, filter, order and cursor, generated, the same one each time.
Each answer is searched for every id and word that belongs to anybody else.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.kit import ADMIN, EACH, KEYS, LABELS, Browser, Made

OWNERS = LABELS[:-1]
SORTS = ("-received", "received", "-in", "in", "-duration", "-cost", "status")


def filters(made: Made) -> st.SearchStrategy[str]:
    """Those that reach for others: by key, by id, by what others have said, and their opposites."""
    everything = [each for ids in made.ids.values() for each in ids]
    atoms = st.sampled_from(
        [
            "",
            "lighthouse",
            "harbour",
            "key:*",
            "key:none",
            "-key:none",
            *(f'key:"{label}"' for label in LABELS),
            *(f"-key:{label}" for label in ("alice", "bob")),
            "session:session-0",
            "status:429",
            "model:gpt*",
            "since:2020-01-01",
            *(f"id:{identity}" for identity in everything),
            *(f"id:{identity[:20]}" for identity in everything[:3]),
            *(made.words[identity] for identity in everything),
            *(f"-{made.words[identity]}" for identity in everything[:5]),
        ]
    )
    combined = st.recursive(
        atoms.filter(bool),
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda two: f"({two[0]} OR {two[1]})"),
            st.tuples(inner, inner).map(" ".join),
            inner.map(lambda one: f"-({one})"),
        ),
        max_leaves=5,
    )
    return st.one_of(atoms, atoms, combined)


def cursors(made: Made) -> st.SearchStrategy[str | None]:
    """None, and what somebody might make up: other lists', other places', other types."""
    values = st.one_of(st.none(), st.integers(-1, 2**63), st.floats(), st.text(max_size=5))
    seqs = st.one_of(st.integers(-(2**62), 2**62), st.just(2**70), st.none())
    forged = st.tuples(st.sampled_from([*SORTS, "sessions", "x"]), values, seqs).map(
        lambda place: base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")
    )
    made_up = st.one_of(forged, st.text("abcXYZ019_-", max_size=40))
    return st.one_of(st.none(), st.none(), st.none(), made_up)


async def test_no_question_is_answered_with_somebody_elses_requests(
    browser: Browser, made: Made
) -> None:
    counted = {"asked": 0, "rows": 0}
    everything = [each for ids in made.ids.values() for each in ids]
    asking: list[tuple[str, str, dict[str, Any]]] = []

    @settings(
        max_examples=250 if made.database_url is None else 120,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        label = data.draw(st.sampled_from(LABELS))
        kind = data.draw(
            st.sampled_from(
                ["requests", "requests", "search", "stats", "sessions", "request", "body"]
            )
        )
        q, cursor = data.draw(filters(made)), data.draw(cursors(made))
        identity = data.draw(st.sampled_from(everything))
        paths: dict[str, tuple[str, dict[str, Any]]] = {
            "requests": (
                "requests",
                {
                    "q": q,
                    "cursor": cursor,
                    "sort": data.draw(st.sampled_from(SORTS)),
                    "limit": data.draw(st.integers(1, 500)),
                },
            ),
            "search": ("search", {"q": q, "cursor": cursor, "limit": 50}),
            "stats": (
                "stats",
                {
                    "q": q,
                    "by": data.draw(st.sampled_from(["key", "model", "session", "cause", None])),
                    "bucket": data.draw(st.sampled_from(["1h", "1d", None])),
                },
            ),
            "sessions": ("sessions", {"cursor": cursor}),
            "request": (f"request/{identity}", {"bodies": data.draw(st.sampled_from("01"))}),
            "body": (
                f"request/{identity}/body/{data.draw(st.sampled_from(['request', 'response']))}",
                {},
            ),
        }
        asking.append((label, *paths[kind]))

    collect()
    for label, path, query in asking:
        answered = await browser.get(f"/api/{path}", KEYS[label], **query)
        assert answered.status_code in (200, 404, 422), (path, query, answered.text)
        strange = [each for each in made.of_others(label) if each in answered.text]
        if answered.status_code == 422:  # what was asked may be told, nothing else
            strange = [each for each in strange if each not in str(query)]
        assert not strange, (label, path, query)
        counted["asked"] += 1
        if answered.status_code == 200 and path in ("requests", "search"):
            rows = _rows(answered.json())
            assert {row["key_label"] for row in rows} <= {label}, (label, path, query)
            counted["rows"] += len(rows)
        if answered.status_code == 200 and path == "stats":
            buckets = answered.json()["buckets"]
            assert sum(bucket["requests"] for bucket in buckets) <= EACH
            if query["by"] == "key":
                assert {bucket["group"] for bucket in buckets} <= {label}
    assert counted["rows"] > 40  # else nothing has been shown


def _rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return answer["requests"] if "requests" in answer else [h["request"] for h in answer["hits"]]


@pytest.mark.parametrize("label", LABELS)
async def test_a_key_sees_all_that_is_its_own(browser: Browser, made: Made, label: str) -> None:
    own = made.ids.get(label, [])
    page = await browser.json("/api/requests", KEYS[label], limit=500)
    assert [row["id"] for row in page["requests"]] == own[::-1]
    found = await browser.json("/api/search", KEYS[label], q="lighthouse", limit=50)
    assert len(found["hits"]) == len(own)
    stats = await browser.json("/api/stats", KEYS[label])
    assert sum(bucket["requests"] for bucket in stats["buckets"]) == len(own)
    sessions = await browser.json("/api/sessions", KEYS[label])
    assert sum(session["requests"] for session in sessions["sessions"]) == len(own)
    assert {session["key_label"] for session in sessions["sessions"]} <= {label}
    for identity in own:
        assert (await browser.get(f"/api/request/{identity}", KEYS[label])).status_code == 200


async def test_anothers_request_is_answered_as_one_that_is_not_there(
    browser: Browser, made: Made
) -> None:
    for label in LABELS:
        for owner, ids in made.ids.items():
            if owner == label:
                continue
            for tail in ("", "?bodies=0", "/body/request", "/body/response"):
                there = await browser.get(f"/api/request/{ids[0]}{tail}", KEYS[label])
                nowhere = await browser.get(f"/api/request/{'0' * 26}{tail}", KEYS[label])
                assert there.status_code == nowhere.status_code == 404
                assert there.content == nowhere.content
                assert there.headers == nowhere.headers


async def test_anothers_cursor_leads_to_ones_own(browser: Browser, made: Made) -> None:
    """A cursor is a place and no permission."""
    page = await browser.json("/api/requests", ADMIN, limit=3)
    for label in OWNERS:
        rest = await browser.json("/api/requests", KEYS[label], cursor=page["cursor"], limit=500)
        assert {row["key_label"] for row in rest["requests"]} == {label}


async def test_a_file_that_is_anothers_is_not_told_whatever_the_row_says(
    browser: Browser, made: Made
) -> None:
    """The rows are an index and may be wrong; the file says whose it is."""
    identity = made.ids["alice"][3]
    (path,) = made.folder.rglob(f"*{identity}*.json")
    before = path.read_bytes()
    document = json.loads(before)
    document["client"]["key_label"] = "bob"
    path.write_text(json.dumps(document, indent=2))
    try:
        answered = await browser.get(f"/api/request/{identity}", KEYS["alice"])
        assert answered.status_code == 404
        hits = await browser.json("/api/search", KEYS["alice"], q=made.words[identity])
        assert [hit["excerpts"] for hit in hits["hits"]] == [[]]
    finally:
        path.write_bytes(before)
