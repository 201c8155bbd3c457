"""Who is let in, and by what name the site may be called."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request

from src.keys.keyring import ClientKey
from src.web.door import Door, Failures
from src.web.endpoints import router
from src.web.errors import Refusal
from src.web.view import Site, look
from tests.web.kit import ADMIN, KEYS, Browser, Made, make_site


def asking(address: str = "127.0.0.1", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, "client": (address, 1)})


async def test_every_endpoint_asks_who_looks() -> None:
    """The one place that own-key isolation comes from: what goes without it is red here."""

    def calls(dependant: Dependant) -> set[object]:
        return {dependant.call}.union(*(calls(inner) for inner in dependant.dependencies))

    app = FastAPI()
    app.include_router(router)
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) >= 8
    for route in routes:
        assert look in calls(route.dependant), route.path


@pytest.mark.parametrize("key", [None, "", "sk-llmtap-wrong-wrong-wrong", "' OR '1'='1"])
async def test_r103_without_a_known_key_nothing_is_told(browser: Browser, key: str | None) -> None:
    for path in ("me", "requests", "sessions", "stats", "search?q=x", "live"):
        answered = await browser.get(f"/api/{path}", key)
        assert answered.status_code == 401
        assert answered.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_is_taken_from_either_header(browser: Browser) -> None:
    me = await browser.get("/api/me", None, headers={"X-API-Key": KEYS["bob"]})
    assert me.json() == {"admin": False, "key_label": "bob", "open": False}
    assert (await browser.json("/api/me", ADMIN))["admin"] is True


async def test_wrong_keys_from_one_address_are_bounded(site: Site) -> None:
    """Behind the same address may be many: whose key was let in from there is let in, always."""
    browser = Browser(site, peer="10.1.2.3")
    assert (await browser.get("/api/me", KEYS["alice"])).status_code == 200
    for number in range(10):
        assert (await browser.get("/api/me", f"wrong-{number}")).status_code == 401
    refused = await browser.get("/api/me", "wrong")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    guessed = await browser.get("/api/me", ADMIN)  # for the first time from there
    assert guessed.status_code == 429
    assert guessed.content == refused.content
    assert (await browser.get("/api/me", KEYS["alice"])).status_code == 200
    other = Browser(site, peer="10.1.2.4")
    assert (await other.get("/api/me", ADMIN)).status_code == 200
    await browser.close()
    await other.close()


async def test_a_client_that_was_forgotten_with_an_old_key_locks_nobody_out(site: Site) -> None:
    browser = Browser(site, peer="10.1.2.3")
    for _ in range(50):
        assert (await browser.get("/api/me", "an-old-key-of-somebody")).status_code == 401
    assert (await browser.get("/api/me", KEYS["bob"])).status_code == 200
    await browser.close()


def test_keys_of_many_addresses_cost_no_more_than_some_memory() -> None:
    failures = Failures()
    for number in range(10_100):
        failures.welcome(f"2001:db8:{number:x}::1", b"x")
    assert len(failures._welcome) <= 10_000
    assert failures.is_welcome("2001:db8:2773::2", b"x")
    assert not failures.is_welcome("2001:db8:2773::2", b"y")
    assert not failures.is_welcome("2001:db8:1::1", b"x")


def test_clients_of_ipv4_on_a_socket_of_both_are_told_apart() -> None:
    failures = Failures()
    for number in range(11):
        failures.note("::ffff:10.1.2.3", b"%d" % number)
    assert failures.wait_s("::ffff:10.1.2.3") > 0
    assert failures.wait_s("10.1.2.3") > 0
    assert failures.wait_s("::ffff:10.1.2.4") == 0


def test_failures_are_forgiven_with_time_and_bounded_in_number() -> None:
    now = 0.0
    failures = Failures(lambda: now)
    for number in range(10):
        assert failures.wait_s("2001:db8::1") == 0
        failures.note("2001:db8::1", b"%d" % number)
    assert failures.wait_s("2001:db8::ffff") > 0  # the same network
    assert failures.wait_s("2001:db9::1") == 0
    now = 6.0
    assert failures.wait_s("2001:db8::1") == 0
    for number in range(10_100):
        failures.note(f"10.0.{number // 256}.{number % 256}", b"x")
    assert len(failures._free_at) <= 10_000
    assert len(failures._tried) <= 10_000


def from_many(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def test_wrong_keys_from_many_addresses_are_answered_one_after_the_other(made: Made) -> None:
    now = 1000.0
    knows = ClientKey("bob", hashlib.sha256(b"sk-bob").digest())
    door = Door(None, [knows], made.folder, is_open=False, clock=lambda: now)

    def guess(number: int) -> Refusal:
        with pytest.raises(Refusal) as refused:
            door.viewer(asking(from_many(number), x_api_key=f"wrong-{number}"))
        # Whoever knows a key is let in meanwhile, and from where nobody came before.
        assert door.viewer(asking(from_many(1_000_000 + number), x_api_key="sk-bob")).label == "bob"
        return refused.value

    assert {guess(number).delay_s for number in range(100)} == {0.0}
    waits = [guess(100 + number).delay_s for number in range(100)]
    assert waits == pytest.approx([0.05 * (number + 1) for number in range(100)])
    full = guess(200)
    assert (full.status, full.delay_s, full.headers) == (429, 0.0, {"Retry-After": "6"})
    now += 1.0
    assert [guess(201 + number).status for number in range(21)] == [401] * 20 + [429]
    now += 60.0
    assert guess(300).delay_s == 0.0


def test_the_same_wrong_key_again_is_no_new_guess(made: Made) -> None:
    door = Door(b"x" * 32, [], made.folder, is_open=False, clock=lambda: 1000.0)
    for _ in range(300):
        with pytest.raises(Refusal) as refused:
            door.viewer(asking("10.0.0.1", x_api_key="an-old-key"))
        assert (refused.value.status, refused.value.delay_s) == (401, 0.0)


async def test_who_knows_a_key_does_not_wait_behind_who_guesses(site: Site) -> None:
    for number in range(190):
        with pytest.raises(Refusal):
            site.door.viewer(asking(from_many(number), x_api_key=f"wrong-{number}"))
    guesser, other = Browser(site, peer="10.8.8.8"), Browser(site, peer="10.9.9.9")
    guess = asyncio.create_task(guesser.get("/api/me", "wrong"))
    for _ in range(20):
        assert (await other.get("/api/me", ADMIN)).status_code == 200
    assert not guess.done()  # for seconds yet
    guess.cancel()
    await asyncio.gather(guess, return_exceptions=True)
    await guesser.close()
    await other.close()


def test_an_expired_key_is_no_key(made: Made) -> None:
    digest = hashlib.sha256(b"sk-llmtap-old-old-old").digest()
    door = Door(None, [ClientKey("old", digest, expires_ns=1)], made.folder, is_open=False)
    with pytest.raises(Refusal) as refused:
        door.viewer(asking(x_api_key="sk-llmtap-old-old-old"))
    assert refused.value.status == 401


def test_who_was_let_in_is_known_as_long_as_the_key_is_what_it_was(made: Made) -> None:
    """By which live feeds end: see test_live.py."""
    digest = hashlib.sha256(KEYS["bob"].encode()).digest()
    door = Door(None, [ClientKey("bob", digest)], made.folder, is_open=False)
    viewer = door.viewer(asking(x_api_key=KEYS["bob"]))
    assert door.still_knows(viewer)
    for keys in ([], [ClientKey("other", digest)], [ClientKey("bob", digest, expires_ns=1)]):
        door.replace_keys(keys)
        assert not door.still_knows(viewer)
    door.replace_keys([ClientKey("bob", digest, tier="gold")])
    assert door.still_knows(viewer)


async def test_without_any_keys_this_machine_alone_sees_all(made: Made) -> None:
    site, engine = make_site(made, is_open=True)
    here, there = Browser(site), Browser(site, peer="192.0.2.7")
    assert (await here.json("/api/me", None)) == {"admin": True, "key_label": None, "open": True}
    assert (await there.get("/api/me", None)).status_code == 403
    await here.close()
    await there.close()
    await engine.dispose()


@pytest.mark.parametrize(
    ("host", "listens", "served"),
    [
        ("localhost:3001", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]:3001", "127.0.0.1", True),
        ("evil.test", "127.0.0.1", False),
        ("127.0.0.1.evil.test", "127.0.0.1", False),
        ("10.0.0.5", "127.0.0.1", False),
        ("10.0.0.5:3001", "0.0.0.0", True),
        ("evil.test", "0.0.0.0", False),
        ("", "127.0.0.1", False),
    ],
)
async def test_r109_only_known_hosts_are_served(
    site: Site, host: str, listens: str, served: bool
) -> None:
    browser = Browser(site, host=listens)
    answered = await browser.get("/api/me", headers={"Host": host})
    assert answered.status_code == (200 if served else 421)
    await browser.close()
