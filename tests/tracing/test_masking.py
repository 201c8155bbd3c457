"""Telling names: found however they are written, in a body's bytes and in its value."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from src.tracing.masking import field_values, mask_fields, mask_fields_in_text
from src.utils.redaction import MASK_TEXT, TELLING_NAMES
from tests.tracing.building import build
from tests.tracing.support import compact

USUAL = ["PASSWORD", "Password", "X_API_KEY", "x-api-key", "X-Api-Key", "xApiKey", "apiKey"]
USUAL += ["APIKEY", "API_KEY", "Api-Key", "ACCESS_TOKEN", "accessToken", "AccessToken", "idToken"]
USUAL += ["CLIENT_SECRET", "clientSecret", "ID_TOKEN", "refreshToken", "REFRESH_TOKEN"]
USUAL += ["AUTHORIZATION", "Authorization", "Proxy-Authorization", "SECRET_KEY", "secretKey"]


def any_case(name: str, rng: random.Random) -> str:
    return "".join(rng.choice((str.upper, str.lower))(letter) for letter in name)


@pytest.mark.parametrize("words", TELLING_NAMES)
def test_a_name_is_found_in_bytes_in_any_case_and_with_any_joint(words: tuple[str, ...]) -> None:
    rng = random.Random(5)
    for joint in ("_", "-", ""):
        for _ in range(20):
            name = any_case(joint.join(words), rng)
            data = b'{"a": 1, "%b" : "qZ7q"}' % name.encode()
            assert field_values(data) == [b"qZ7q"], name
            assert mask_fields_in_text(data.decode())[0] == data.decode().replace("qZ7q", MASK_TEXT)


@pytest.mark.parametrize("name", USUAL)
def test_a_name_as_it_is_usually_written_is_masked_in_a_value(name: str) -> None:
    value = {"tools": [{"env": {name: "qZ7q", "n": 1}}], name: {"type": "string"}}
    assert mask_fields(value) == [f"/tools/0/env/{name}"]
    assert value["tools"] == [{"env": {name: MASK_TEXT, "n": 1}}]
    assert value[name] == {"type": "string"}


@pytest.mark.parametrize("name", USUAL)
def test_it_is_masked_in_a_compressed_body_too(name: str) -> None:
    body = gzip.compress(compact({"model": "m", name: "qZ7q"}))
    headers = [(b"Content-Encoding", b"gzip")]
    document = build(body, request_headers=headers)
    assert document["request"]["body"]["value"] == {"model": "m", name: MASK_TEXT}
    assert f"/request/body/value/{name}" in document["redactions"]


@pytest.mark.parametrize(
    "name", ["key", "token", "max_tokens", "passwords", "api_keys", "author", "x", "client", "ids"]
)
def test_other_names_tell_of_no_secret(name: str) -> None:
    value = {name: "qZ7q"}
    assert field_values(json.dumps(value).encode()) == []
    assert mask_fields(value) == []
