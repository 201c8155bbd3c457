from __future__ import annotations

import json

import pytest

from src.proxy.providers import PROVIDER_TYPES, get_provider
from src.proxy.providers.base import ErrorInfo, Provider

SHAPES = [
    (
        {"error": {"message": "m", "type": "t", "param": None, "code": "c"}},
        ErrorInfo("t", "m", "c"),
    ),
    ({"type": "error", "error": {"type": "t", "message": "m"}}, ErrorInfo("t", "m")),
    ({"error": {"code": 429, "message": "m", "status": "S"}}, ErrorInfo("S", "m", "429")),
    ([{"error": {"code": 429, "message": "m", "status": "S"}}], ErrorInfo("S", "m", "429")),
    ({"error": "m"}, ErrorInfo(None, "m")),
    ({"object": "error", "message": "m", "type": "t", "code": 404}, ErrorInfo("t", "m", "404")),
    ({"detail": "Not Found"}, ErrorInfo(None, "Not Found")),
    ({"error": {"code": "only"}}, ErrorInfo(None, None, "only")),
    ({"error": None, "message": "m"}, ErrorInfo(None, "m")),
]


@pytest.mark.parametrize(("body", "expected"), SHAPES)
@pytest.mark.parametrize("provider", PROVIDER_TYPES)
def test_error_is_read_in_every_shape(provider: str, body: object, expected: ErrorInfo):
    assert get_provider(provider).error(500, body) == expected


@pytest.mark.parametrize("body", [None, [], {}, "x", 5, {"error": {}}, {"ok": True}, [1]])
def test_what_names_no_error_is_none(body: object):
    assert Provider().error(500, body) is None


def test_success_has_no_error():
    assert Provider().error(200, {"error": {"message": "m"}}) is None


@pytest.mark.parametrize("provider", PROVIDER_TYPES)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 429, 499, 500, 502, 503, 504])
def test_own_error_is_read_back_by_the_provider(provider: str, status: int):
    known = get_provider(provider)
    raw = known.error_body(status, "some_code", 'It "failed"\n', "01JABC")
    found = known.error(status, json.loads(raw))
    assert found is not None
    assert found.message == 'It "failed"\n'
    assert b"01JABC" in raw
    assert b"some_code" in raw
