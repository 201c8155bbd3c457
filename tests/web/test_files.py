"""Traces and what lies beside them: read when asked for, by their owners, inside the folder."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path

import pytest

from src.tracing.archive import Archive
from src.web.view import Site
from tests.record.traces import NOON, Written, answer, chat
from tests.web.kit import ADMIN, KEYS, Browser, Made, index_of

BINARY = secrets.token_bytes(300_000)


@pytest.fixture(scope="module", params=["sqlite"])
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Traces with a body in a file of its own: of alice the request's, of bob the answer's."""
    made = Made(tmp_path_factory.mktemp("files"))
    written = Written(made.folder)
    made.ids["alice"] = [written.add(BINARY, [answer("ok")], key="alice")]
    kind = b"application/octet-stream"
    made.ids["bob"] = [written.add(chat(), [BINARY], key="bob", content_type=kind)]
    made.ids["carol"] = [written.add(chat("m", f"said {n}"), key="carol") for n in range(4)]
    index_of(made)
    return made


def path_of(made: Made, identity: str, suffix: str = ".json") -> Path:
    (path,) = made.folder.rglob(f"*{identity}*{suffix}")
    return path


async def test_a_body_in_a_file_is_read_when_it_is_asked_for(browser: Browser, made: Made) -> None:
    for label, which in (("alice", "request"), ("bob", "response")):
        (identity,) = made.ids[label]
        document = await browser.json(f"/api/request/{identity}", KEYS[label])
        assert document[which]["body"]["kind"] == "file"
        assert len(json.dumps(document)) < 20_000
        body = await browser.get(f"/api/request/{identity}/body/{which}", KEYS[label])
        assert body.content == BINARY
        assert body.headers["content-length"] == str(len(BINARY))
        assert body.headers["content-type"] == "application/octet-stream"
        assert hashlib.sha256(body.content).hexdigest() == document[which]["body"]["sha256"]


async def test_anothers_file_is_not_reached(browser: Browser, made: Made) -> None:
    (alices,), (bobs,) = made.ids["alice"], made.ids["bob"]
    for label, identity, which in (("bob", alices, "request"), ("alice", bobs, "response")):
        answered = await browser.get(f"/api/request/{identity}/body/{which}", KEYS[label])
        assert answered.status_code == 404
        assert BINARY[:100] not in answered.content


async def test_a_trace_that_names_anothers_file_is_given_its_own_or_none(
    browser: Browser, made: Made
) -> None:
    """What the document says about where its body lies is not believed."""
    (alices,), (bobs,) = made.ids["alice"], made.ids["bob"]
    path, others = path_of(made, bobs), path_of(made, alices, ".bin")
    before = path.read_bytes()
    document = json.loads(before)
    for name in (others.name, f"../{others.parent.name}/{others.name}", str(others)):
        document["request"]["body"] |= {"kind": "file", "value": name}
        path.write_text(json.dumps(document, indent=2))
        answered = await browser.get(f"/api/request/{bobs}/body/request", KEYS["bob"])
        assert answered.status_code in (404, 410)
        assert BINARY[:100] not in answered.content
    path.write_bytes(before)


async def test_what_retention_has_just_deleted_is_gone(browser: Browser, made: Made) -> None:
    """Its row is there for a moment longer. 410 to whom it belonged, nothing to others."""
    identity = made.ids["carol"][0]
    path = path_of(made, identity)
    away = path.rename(made.folder / "away")
    try:
        for tail in ("", "?bodies=0", "/body/request"):
            for key in (KEYS["carol"], ADMIN):
                answered = await browser.get(f"/api/request/{identity}{tail}", key)
                assert answered.status_code == 410
                assert answered.json()["error"]["type"] == "gone"
                assert "carol" not in answered.text
                assert str(made.folder) not in answered.text
            answered = await browser.get(f"/api/request/{identity}{tail}", KEYS["bob"])
            assert answered.status_code == 404
        found = await browser.json("/api/search", KEYS["carol"], q='"said 0"')
        assert [hit["excerpts"] for hit in found["hits"]] == [[]]
    finally:
        away.rename(path)


async def test_a_body_whose_file_has_just_been_deleted_is_gone(
    browser: Browser, made: Made
) -> None:
    (identity,) = made.ids["alice"]
    path = path_of(made, identity, ".bin")
    away = path.rename(made.folder / "away")
    try:
        answered = await browser.get(f"/api/request/{identity}/body/request", KEYS["alice"])
        assert answered.status_code == 410
        path.symlink_to(away)  # a link leads nowhere, either
        answered = await browser.get(f"/api/request/{identity}/body/request", KEYS["alice"])
        assert answered.status_code == 404
        path.unlink()
    finally:
        os.replace(away, path)


async def test_the_body_of_an_archived_trace_was_not_kept(browser: Browser, made: Made) -> None:
    identity = made.ids["carol"][3]
    others = [made.ids[label][0] for label in ("alice", "bob")]
    saved = {path: path.read_bytes() for each in others for path in made.folder.rglob(f"*{each}*")}
    Archive(made.folder, 0, lambda _: None).sweep(NOON.replace(year=2030))
    answered = await browser.get(f"/api/request/{identity}/body/request", KEYS["carol"])
    assert answered.status_code == 404
    assert answered.json()["error"]["type"] == "body_not_kept"
    assert (await browser.get(f"/api/request/{identity}", KEYS["carol"])).status_code == 200
    for path, data in saved.items():
        path.unlink(missing_ok=True)
        path.write_bytes(data)


@pytest.mark.parametrize(
    "target",
    [
        "/api/request/{id}/",
        "/api/request/{id}/../{id}",
        "/api/request/..%2F..%2Fetc%2Fpasswd",
        "/api/request/%2e%2e%2f{id}",
        "/api/request/{id}%00",
        "/api/request/{id}%0A",
        "/api/request/{id}.json",
        "/api/request/{id}/body/../../../../etc/passwd",
        "/api/request/{id}/body/request.bin",
        "/api/request/{id}/body/%72equest%00",
        "/api/request/{id}/body/..",
        "/api/request/{id}/body/",
        "//api/request/{id}",
        "/api//request/{id}",
        "/api/request/\u0661{id}",
        "/API/request/{id}",
    ],
)
async def test_a_path_that_is_none_of_ours_leads_nowhere(
    browser: Browser, site: Site, made: Made, target: str
) -> None:
    answered = await browser.get(target.replace("{id}", made.ids["carol"][1]))
    # A client may have made one of ours of it: then it is that, and nothing else.
    assert answered.status_code in (200, 404, 422)
    if answered.status_code == 200:
        assert answered.json()["id"] == made.ids["carol"][1]
    assert "root:" not in answered.text
    assert str(made.folder) not in answered.text
