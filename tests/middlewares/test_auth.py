"""auth: who is let in, what of the key goes on, how a no looks."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import zstandard

from src.config.settings import Settings, UpstreamSettings
from src.keys import hash_key, new_key
from src.middlewares.auth import Auth, AuthOptions
from src.proxy.exchange import Exchange, Response
from src.proxy.providers import PROVIDER_TYPES
from tests.middlewares.kit import Forward, Pair, exchange, make, problems, upstream

KEY = new_key()
OTHER = new_key()
ALICE: dict[str, object] = {"label": "alice", "hash": hash_key(KEY)}
CHAT = b'{"model":"gpt-4o-mini","messages":[]}'

PLACES: dict[str, tuple[tuple[Pair, ...], bytes]] = {
    "bearer": (((b"Authorization", b"Bearer " + KEY.encode()),), b""),
    "bearer in another case": (((b"authorization", b"bearer  " + KEY.encode()),), b""),
    "x-api-key": (((b"X-Api-Key", KEY.encode()),), b""),
    "x-goog-api-key": (((b"x-goog-api-key", KEY.encode()),), b""),
    "api-key": (((b"api-key", KEY.encode()),), b""),
    "x-client-api-key": (((b"X-Client-API-Key", KEY.encode()),), b""),
    "subprotocol": (
        ((b"Sec-WebSocket-Protocol", b"a, openai-insecure-api-key." + KEY.encode() + b",b"),),
        b"",
    ),
    "query": ((), b"key=" + KEY.encode()),
    "query among others": ((), b"alt=sse&key=" + KEY.encode() + b"&a=1"),
    "query in percent signs": ((), b"%6bey=" + KEY.replace("-", "%2D").encode()),
}


def auth(*entries: dict[str, object], **options: object) -> Auth:
    made = make("auth", {"keys": list(entries or (ALICE,)), **options})
    assert isinstance(made, Auth)
    return made


async def ask(
    middleware: Auth, *headers: Pair, query: bytes = b"", **given: object
) -> tuple[Response, Exchange, Forward]:
    target = given.pop("target", b"/v1/chat/completions")
    assert isinstance(target, bytes)
    asked = exchange(*headers, target=target + (b"?" + query if query else b""), **given)  # type: ignore[arg-type]  # as exchange takes them
    forward = Forward()
    return await middleware(asked, forward), asked, forward


def error_of(response: Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("api_key", [None, "sk-upstream-0123456789"])
async def test_key_is_accepted_and_removed_in_each_place(place: str, api_key: str | None) -> None:
    headers, query = PLACES[place]
    to = upstream(api_key=api_key)
    response, asked, forward = await ask(
        auth(), *headers, (b"X-Other", b"1"), query=query, body=CHAT, to=to
    )
    assert response.status == 200
    assert asked.key_label == "alice"
    (sent,) = forward.sent
    wire = repr((sent.target, sent.headers)).encode()
    assert KEY.encode() not in wire
    assert KEY.replace("-", "%2D").encode() not in wire
    assert (b"X-Other", b"1") in sent.headers
    signed = [value for name, value in sent.headers if name.lower() == b"authorization"]
    assert signed == ([b"Bearer " + api_key.encode()] if api_key else [])


async def test_query_keeps_its_other_parameters_as_they_were() -> None:
    _, _, forward = await ask(auth(), query=b"alt=sse&key=" + KEY.encode() + b"&c=%zz;&c=")
    assert forward.sent[0].target == b"/v1/chat/completions?alt=sse&c=%zz;&c="
    _, _, forward = await ask(auth(), query=b"key=" + KEY.encode())
    assert forward.sent[0].target == b"/v1/chat/completions"


async def test_clients_own_provider_key_goes_on_beside_ours() -> None:
    own = (b"Authorization", b"Bearer sk-proj-the-clients-own")
    response, asked, forward = await ask(auth(), own, (b"X-Client-API-Key", KEY.encode()))
    assert response.status == 200
    assert asked.key_label == "alice"
    assert forward.sent[0].headers == [own]


async def test_first_known_key_counts_and_all_known_ones_are_removed() -> None:
    bob = {"label": "bob", "hash": hash_key(OTHER)}
    headers = ((b"x-api-key", KEY.encode()), (b"x-client-api-key", OTHER.encode()))
    _, asked, forward = await ask(auth(ALICE, bob), *headers)
    assert asked.key_label == "bob"
    assert forward.sent[0].headers == []


async def test_header_meant_for_us_never_goes_on_even_when_it_is_wrong() -> None:
    wrong = (b"X-Client-Api-Key", b"sk-llmtap-mistyped-0123456789")
    response, _, forward = await ask(auth(), (b"api-key", KEY.encode()), wrong)
    assert response.status == 200
    assert forward.sent[0].headers == []


async def test_key_given_as_text_is_known_too() -> None:
    response, _, _ = await ask(auth({"label": "ci", "key": KEY}), (b"x-api-key", KEY.encode()))
    assert response.status == 200


WRONG: dict[str, tuple[Pair, ...]] = {
    "none": (),
    "empty": ((b"Authorization", b""),),
    "unknown": ((b"Authorization", b"Bearer " + OTHER.encode()),),
    "without its scheme": ((b"Authorization", KEY.encode()),),
    "basic": ((b"Authorization", b"Basic " + KEY.encode()),),
    "the hash": ((b"x-api-key", hash_key(KEY).encode()),),
    "the digest": ((b"x-api-key", hash_key(KEY).removeprefix("sha256:").encode()),),
    "one character short": ((b"x-api-key", KEY.encode()[:-1]),),
    "one character more": ((b"x-api-key", KEY.encode() + b"x"),),
    "sql": ((b"Authorization", b"Bearer ' OR '1'='1"),),  # reliability 103
    "bytes": ((b"x-api-key", bytes(range(128, 256))),),
    "a header of another name": ((b"X-Api-Keys", KEY.encode()),),
    "underscores": ((b"x_api_key", KEY.encode()),),  # reliability 7
}


@pytest.mark.parametrize("case", WRONG)
async def test_anything_else_is_401_and_not_forwarded(case: str) -> None:
    response, asked, forward = await ask(auth(), *WRONG[case])
    assert response.status == 401
    assert response.refused
    assert not forward.sent
    assert asked.key_label is None
    told = dict(response.headers)
    assert told[b"www-authenticate"].startswith(b"Bearer")
    assert told[b"x-llmtap-error"] == b"invalid_api_key"
    for _, value in WRONG[case]:
        assert len(value) < 8 or value not in error_of(response)


@pytest.mark.parametrize("kind", PROVIDER_TYPES)
async def test_no_looks_like_the_providers_own(kind: str) -> None:
    response, asked, _ = await ask(auth(), to=upstream(kind))
    body = json.loads(error_of(response))
    own = asked.provider.error(401, body)
    assert own is not None
    assert own.message is not None
    assert "API key" in own.message
    if kind == "anthropic":
        assert body["type"] == "error"
        assert body["error"]["type"] == "authentication_error"
    if kind == "gemini":
        assert body["error"]["status"] == "UNAUTHENTICATED"


async def test_expired_key_is_401_and_named_in_the_trace() -> None:
    entry = {**ALICE, "expires": "2020-01-31"}
    response, asked, forward = await ask(auth(entry), (b"x-api-key", KEY.encode()))
    assert response.status == 401
    assert b"expired" in error_of(response)
    assert not forward.sent
    assert asked.key_label == "alice"


@pytest.mark.parametrize(
    ("expires", "received", "status"),
    [
        ("2027-01-31", "2027-01-31T23:59:59+00:00", 200),  # a date counts to its end
        ("2027-01-31", "2027-02-01T00:00:00+00:00", 401),
        ("2027-01-31T12:00:00Z", "2027-01-31T11:59:59+00:00", 200),
        ("2027-01-31T12:00:00", "2027-01-31T12:00:00+00:00", 401),
        ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00+00:00", 401),
    ],
)
async def test_key_counts_until_it_expires(expires: str, received: str, status: int) -> None:
    middleware = auth({**ALICE, "expires": expires})
    asked = exchange((b"x-api-key", KEY.encode()))
    asked.received_ns = int(datetime.fromisoformat(received).timestamp()) * 10**9
    assert (await middleware(asked, Forward())).status == status


async def test_upstreams_and_tier_of_a_key() -> None:
    middleware = auth({**ALICE, "upstreams": ["mine"], "tier": "gold"})
    header = (b"x-api-key", KEY.encode())
    response, asked, _ = await ask(middleware, header, to=upstream(name="mine"))
    assert (response.status, asked.key_tier) == (200, "gold")
    response, _, forward = await ask(middleware, header, to=upstream(name="theirs"))
    assert response.status == 403
    assert not forward.sent


# --- models --------------------------------------------------------------------------------------

LIMITED: dict[str, object] = {**ALICE, "models": ["gpt-4o*", "claude-haiku-4-5"]}


async def limited(
    body: bytes | None,
    *headers: Pair,
    kind: str = "openai",
    target: bytes = b"/v1/chat/completions",
) -> tuple[int, bytes]:
    method = b"POST" if body is not None else b"GET"
    response, _, forward = await ask(
        auth(LIMITED),
        *((b"x-api-key", KEY.encode()), *headers),
        body=body,
        to=upstream(kind),
        target=target,
        method=method,
    )
    assert bool(forward.sent) == (response.status == 200)
    return response.status, dict(response.headers).get(b"x-llmtap-error", b"")


ALLOWED = {
    "plain": CHAT,
    "exact": b'{"model": "claude-haiku-4-5"}',
    "escaped": b'{"mod\\u0065l": "gpt-4o"}',
    "the same word deeper down": b'{"model":"gpt-4o","tools":[{"model":1,"Model":2}]}',
    "with a byte order mark": b"\xef\xbb\xbf" + CHAT,
    "fallbacks": b'{"model":"gpt-4o","models":["gpt-4o","claude-haiku-4-5"]}',
}
REFUSED: dict[str, tuple[bytes, int]] = {
    "another": (b'{"model":"gpt-5"}', 403),
    "in other letters": (b'{"model":"GPT-4o"}', 403),
    "with more before it": (b'{"model":"x/gpt-4o"}', 403),
    "none": (b'{"messages":[]}', 403),
    "no text": (b'{"model":["gpt-4o"]}', 403),
    "a list": (b'[{"model":"gpt-4o"}]', 403),
    "twice": (b'{"model":"gpt-4o","model":"gpt-5"}', 400),  # reliability 93
    "twice, the other first": (b'{"model":"gpt-5","model":"gpt-4o"}', 400),
    "twice, once escaped": (b'{"model":"gpt-4o","\\u006dodel":"gpt-5"}', 400),
    "twice, in other letters": (b'{"model":"gpt-4o","MODEL":"gpt-5"}', 400),
    "a fallback": (b'{"model":"gpt-4o","models":["gpt-4o","gpt-5"]}', 403),
    "fallbacks in other letters": (b'{"model":"gpt-4o","Models":["gpt-5"]}', 400),
    "no json": (b"model=gpt-4o", 400),
    "cut": (CHAT[:-1], 400),
    "deep": (b'{"model":"gpt-4o","model":' + b"[" * 100_000, 400),
    "nested in batches": (b'{"requests":[{"params":{"model":"gpt-5"}}]}', 403),
}


@pytest.mark.parametrize("case", ALLOWED)
async def test_allowed_model_passes(case: str) -> None:
    assert await limited(ALLOWED[case]) == (200, b"")


@pytest.mark.parametrize("case", REFUSED)
async def test_model_that_is_not_allowed_or_not_clear_is_refused(case: str) -> None:
    body, status = REFUSED[case]
    assert (await limited(body))[0] == status


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_compressed_bodies_are_read_for_the_check(encoding: str) -> None:
    pack: Callable[[bytes], bytes] = {"gzip": gzip.compress, "zstd": zstandard.compress}[encoding]
    header = (b"Content-Encoding", encoding.encode())
    assert await limited(pack(CHAT), header) == (200, b"")
    assert await limited(pack(b'{"model":"gpt-5"}'), header) == (403, b"model_not_allowed")
    assert await limited(CHAT, header) == (400, b"unclear_model")
    assert await limited(pack(b" " * (30 << 20)), header) == (400, b"unclear_model")


async def test_unknown_encoding_is_refused() -> None:
    assert await limited(CHAT, (b"Content-Encoding", b"rot13")) == (400, b"unclear_model")


async def test_requests_without_a_model_pass() -> None:
    assert await limited(None, target=b"/v1/models") == (200, b"")


GEMINI = b"/v1beta/models/%b:generateContent"


async def test_model_in_the_path_counts() -> None:
    body = b'{"contents":[]}'
    for kind in ("gemini", "generic"):
        assert await limited(body, kind=kind, target=GEMINI % b"gpt-4o") == (200, b"")
        assert (await limited(body, kind=kind, target=GEMINI % b"gemini-pro"))[0] == 403
    both = b'{"model":"gpt-4o"}'
    assert (await limited(both, kind="generic", target=GEMINI % b"gemini-pro"))[0] == 403
    azure = b"/openai/deployments/%b/chat/completions"
    assert await limited(body, kind="azure", target=azure % b"gpt-4o") == (200, b"")
    assert (await limited(body, kind="azure", target=azure % b"gpt-5"))[0] == 403


async def test_websocket_of_a_key_limited_to_models_is_refused_so_that_clients_use_http() -> None:
    """Its messages may name another, and nobody looks."""
    handshake = (*PLACES["bearer"][0], (b"Upgrade", b"websocket"))
    for entry, status in ({**ALICE, "models": ["gpt-4o"]}, 426), (ALICE, 200):
        response, *_ = await ask(
            auth(entry), *handshake, method=b"GET", target=b"/v1/realtime?model=gpt-4o"
        )
        assert response.status == status


@pytest.mark.parametrize("hidden", [b"gpt-4o/../gemini-pro", b"gpt-4o%2f%2e%2e%2fgemini-pro"])
async def test_dot_segments_are_refused(hidden: bytes) -> None:
    assert (await limited(b"{}", kind="gemini", target=GEMINI % hidden))[0] == 400


# --- options -------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[dict[str, object], str]] = {
    "nothing": ({}, ": needs keys or keys_file; make a key with: llmtap keys new"),
    "neither": ({"keys": [{"label": "a"}]}, "keys.0: needs one of key and hash"),
    "both": (
        {"keys": [{"label": "a", "key": KEY, "hash": hash_key(KEY)}]},
        "keys.0: needs one of key and hash",
    ),
    "short": ({"keys": [{"label": "a", "key": "secret"}]}, "keys.0.key: is shorter than 16"),
    "hash as key": (
        {"keys": [{"label": "a", "key": hash_key(KEY)}]},
        "keys.0.key: is a hash; write it as hash:",
    ),
    "no hash": ({"keys": [{"label": "a", "hash": "md5:1"}]}, "keys.0.hash: is no hash; write"),
    "no date": ({"keys": [{**ALICE, "expires": "soon"}]}, "keys.0.expires: is no date; write"),
    "no models": ({"keys": [{**ALICE, "models": []}]}, "keys.0.models: is a list"),
    "twice": ({"keys": [ALICE, ALICE]}, ": is a second key with the label alice"),
    "one key, two labels": (
        {"keys": [ALICE, {**ALICE, "label": "bob"}]},
        ": is the same key as that of alice",
    ),
    "misspelt": ({"keys": [{**ALICE, "model": ["x"]}]}, "keys.0.model: unknown key; did you mean"),
    "no file": ({"keys_file": "/nowhere/keys.yaml"}, "keys_file: is "),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_is_one_line_that_names_it_and_no_secret(case: str) -> None:
    options, expected = MISTAKES[case]
    (line,) = problems("auth", options)
    assert line.startswith(expected), line
    assert "\n" not in line
    assert KEY not in line
    assert hash_key(KEY) not in line


def test_upstreams_that_are_not_there_are_told() -> None:
    options = AuthOptions.model_validate({"keys": [{**ALICE, "upstreams": ["opnai", "openai"]}]})
    settings = Settings(upstreams=(UpstreamSettings(type="openai"),))
    assert Auth.check(options, settings) == [
        "key alice names an unknown upstream opnai; did you mean openai?"
    ]


def test_mistake_in_the_keys_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n  - label: a\n    hash: sha256:12\n")
    (line,) = problems("auth", {"keys_file": str(path)})
    assert line.startswith(": keys.yaml:3 keys.0.hash: is no hash"), line


async def test_keys_file_is_read_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"keys:\n  - label: alice\n    hash: {hash_key(KEY)}\n")
    middleware = make("auth", {"keys_file": str(path), "reload_s": 0.02})
    assert isinstance(middleware, Auth)

    async def status(key: str) -> int:
        return (await ask(middleware, (b"x-api-key", key.encode())))[0].status

    async def until(done: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not done():
                await asyncio.sleep(0.02)

    caplog.set_level(logging.INFO, "llmtap.keys")
    await middleware.start()
    try:
        assert (await status(KEY), await status(OTHER)) == (200, 401)
        path.write_text(f"keys:\n  - label: bob\n    hash: {hash_key(OTHER)}\n")
        await until(lambda: "read again: 1 keys" in caplog.text)
        assert (await status(KEY), await status(OTHER)) == (401, 200)
        path.write_text(f"keys:\n  - label: alice\n    key: {KEY}\n    hassh: 1\n")
        await until(lambda: "stays as it was" in caplog.text)
        assert (await status(KEY), await status(OTHER)) == (401, 200)
        path.unlink()
        await until(lambda: caplog.text.count("stays as it was") == 2)
        assert (await status(KEY), await status(OTHER)) == (401, 200)
    finally:
        await middleware.stop()
    assert "keys.yaml:4 keys.0.hassh: unknown key" in caplog.text
    assert KEY not in caplog.text
