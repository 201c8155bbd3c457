from __future__ import annotations

import pytest

from src.proxy.providers import PROVIDER_TYPES, get_provider
from src.proxy.providers.base import CREDENTIAL_HEADERS, CREDENTIAL_QUERY, Header
from src.utils import redaction


def test_what_is_signed_over_is_what_is_masked():
    assert CREDENTIAL_HEADERS == redaction.CREDENTIAL_HEADERS
    assert CREDENTIAL_QUERY == redaction.CREDENTIAL_QUERY


PLACES = [
    ("openai", "sk-proj-1", (b"Authorization", b"Bearer sk-proj-1")),
    ("openrouter", "sk-or-1", (b"Authorization", b"Bearer sk-or-1")),
    ("ollama", "k", (b"Authorization", b"Bearer k")),
    ("generic", "k", (b"Authorization", b"Bearer k")),
    ("anthropic", "sk-ant-api03-1", (b"x-api-key", b"sk-ant-api03-1")),
    ("anthropic", "sk-ant-oat01-1", (b"Authorization", b"Bearer sk-ant-oat01-1")),
    ("gemini", "AIza1", (b"x-goog-api-key", b"AIza1")),
    ("azure", "0123abcd", (b"api-key", b"0123abcd")),
    ("azure", "eyJ0eXAi.e30.x", (b"Authorization", b"Bearer eyJ0eXAi.e30.x")),
]


@pytest.mark.parametrize(("provider", "key", "header"), PLACES)
def test_key_goes_where_the_provider_wants_it(provider: str, key: str, header: Header):
    assert get_provider(provider).sign([(b"Host", b"h")], b"", key) == (
        [(b"Host", b"h"), header],
        b"",
    )


@pytest.mark.parametrize("name", [*CREDENTIAL_HEADERS, b"AUTHORIZATION", b"X-Api-Key"])
@pytest.mark.parametrize("provider", PROVIDER_TYPES)
def test_client_s_credential_is_taken_out_of_every_header(provider: str, name: bytes):
    headers = [(b"Host", b"h"), (name, b"client-secret"), (b"Accept", b"*/*")]
    signed, _ = get_provider(provider).sign(headers, b"", "ours")
    assert b"client-secret" not in b"".join(value for _, value in signed)
    assert [pair[0] for pair in signed][::2] == [b"Host", b"Accept"]
    assert len(signed) == 3
    assert b"ours" in signed[1][1]


def test_several_credentials_become_one_in_place_of_the_first():
    headers = [
        (b"a", b"1"),
        (b"x-client-api-key", b"c"),
        (b"Authorization", b"Bearer c"),
        (b"b", b"2"),
        (b"x-api-key", b"c"),
    ]
    signed, _ = get_provider("anthropic").sign(headers, b"", "sk-ant-api")
    assert signed == [(b"a", b"1"), (b"x-api-key", b"sk-ant-api"), (b"b", b"2")]


def test_client_s_spelling_of_the_same_header_is_kept():
    signed, _ = get_provider("anthropic").sign([(b"X-API-KEY", b"c")], b"", "k")
    assert signed == [(b"X-API-KEY", b"k")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"key=secret", b""),
        (b"alt=sse&key=secret", b"alt=sse"),
        (b"key=secret&alt=sse", b"alt=sse"),
        (b"a=1&api_key=secret&b=2&key=secret", b"a=1&b=2"),
        (b"%6Bey=secret&a=%20+x", b"a=%20+x"),
        (b"key&a=1", b"key&a=1"),
        (b"monkey=1&keys=2&xkey=3", b"monkey=1&keys=2&xkey=3"),
        (b"a=1&&b=%zz", b"a=1&&b=%zz"),
        (b"", b""),
    ],
)
def test_client_s_credential_is_taken_out_of_the_query(query: bytes, expected: bytes):
    assert get_provider("gemini").sign([], query, "k")[1] == expected


def test_the_client_s_headers_are_left_alone():
    headers = [(b"Authorization", b"Bearer c")]
    get_provider("openai").sign(headers, b"", "k")
    assert headers == [(b"Authorization", b"Bearer c")]


@pytest.mark.parametrize("name", [b"anthropic-version", b"anthropic-beta", b"OpenAI-Organization"])
def test_other_headers_pass_verbatim(name: bytes):
    signed, _ = get_provider("anthropic").sign([(name, b"v, w")], b"", "k")
    assert signed[0] == (name, b"v, w")
