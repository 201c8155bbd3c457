from __future__ import annotations

import pytest

from src.utils.redaction import (
    MASK,
    credential,
    is_secret_header,
    redact_headers,
    redact_query,
    redact_target,
    redact_text,
    searched_values,
)


@pytest.mark.parametrize(
    "name",
    [
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"x-client-api-key",
        b"x-amz-security-token",
        b"x-auth-token",
        b"x-csrf-token",
        b"my-secret-thing",
        b"client-secret",
        b"apikey",
        b"x-apikey",
        b"x_api_key",
        b"password",
        b"clientsecret",
    ],
)
def test_secret_headers(name: bytes) -> None:
    assert is_secret_header(name)


@pytest.mark.parametrize(
    "name",
    [
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-limit-tokens-usage-based",
        b"anthropic-ratelimit-input-tokens-remaining",
        b"anthropic-ratelimit-unified-status",
        b"x-total-tokens",
        b"x-token-count",
        b"content-type",
        b"x-request-id",
        b"openai-organization",
    ],
)
def test_figures_and_the_rest_are_no_secrets(name: bytes) -> None:
    assert not is_secret_header(name)


def test_a_configured_name_is_a_secret_too() -> None:
    assert is_secret_header(b"x-team", frozenset((b"x-team",)))


def test_the_mask_is_fixed_and_order_and_case_stay() -> None:
    headers = [(b"X-A", b"1"), (b"AUTHORIZATION", b"Bearer abcdefgh123"), (b"x-a", b"2")]
    masked, secrets = redact_headers(headers)
    assert masked == [(b"X-A", b"1"), (b"AUTHORIZATION", MASK), (b"x-a", b"2")]
    assert secrets == [b"Bearer abcdefgh123", b"abcdefgh123"]


def test_each_cookie_is_searched_for_by_itself() -> None:
    found = searched_values(b"cookie", b"theme=dark; session=abcdefgh123")
    assert b"abcdefgh123" in found
    assert b"dark" not in found, "too short to be looked for"


def test_the_credential_is_what_follows_the_scheme() -> None:
    assert credential(b" Bearer  abc ") == b"abc"
    assert credential(b"abc") == b"abc"


def test_a_query_keeps_everything_but_its_secrets_verbatim() -> None:
    query = b"a=1;b=2&KEY=s%2Bcret-1234&c=%zz&key=&sig=abcdefghij"
    masked, secrets = redact_query(query)
    assert masked == b"a=1;b=2&KEY=[REDACTED]&c=%zz&key=&sig=[REDACTED]"
    assert {b"s%2Bcret-1234", b"s+cret-1234", b"abcdefghij"} == set(secrets)


@pytest.mark.parametrize(
    "name",
    b"KEY apiKey API_KEY api-key X_API_KEY x-api-key accessToken PASSWORD client_secret"
    b" refreshToken Signature id_token %41pi_key".split(),
)
def test_a_parameters_name_may_be_written_in_any_way(name: bytes) -> None:
    masked, secrets = redact_query(b"a=1&" + name + b"=0123456789&b=2")
    assert masked == b"a=1&" + name + b"=" + MASK + b"&b=2"
    assert secrets == [b"0123456789"]
    if b"%" not in name:
        text = f"GET /v1?a=1&{name.decode()}=0123456789"
        assert redact_text(text) == f"GET /v1?a=1&{name.decode()}=[REDACTED]"


@pytest.mark.parametrize("name", [b"pageToken", b"max_tokens", b"page_key", b"keys", b"alt"])
def test_other_parameters_are_no_secrets(name: bytes) -> None:
    assert redact_query(name + b"=0123456789") == (name + b"=0123456789", [])


def test_a_parameters_name_may_be_escaped() -> None:
    assert redact_query(b"%6bey=abcdefghij")[0] == b"%6bey=[REDACTED]"


def test_a_target_without_a_query_is_left_alone() -> None:
    target = b"/v1/key=abc"
    assert redact_target(target) == (target, [])


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET /x?key=abc&b=1", "GET /x?key=[REDACTED]&b=1"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [REDACTED]"),
        ("sent Bearer abcdef1234 to", "sent Bearer [REDACTED] to"),
        ("{'x-api-key': 'abcdef'}", "{'x-api-key': '[REDACTED]'}"),
        ("Incorrect key sk-abcdefgh1234", "Incorrect key [REDACTED]"),
        ("AIzaSyA1234567890123456789012345678", "[REDACTED]"),
        ("12 tokens, the bearer of news", "12 tokens, the bearer of news"),
    ],
)
def test_shapes_of_secrets_in_text(text: str, clean: str) -> None:
    assert redact_text(text) == clean


def test_known_secrets_in_text() -> None:
    assert redact_text("a hunter2 b", ["hunter2"]) == "a [REDACTED] b"
