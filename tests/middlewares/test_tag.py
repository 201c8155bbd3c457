"""tag: labels from config and headers into the trace."""

from __future__ import annotations

import pytest

from tests.middlewares.kit import Forward, Pair, exchange, make, problems


async def tagged(options: dict[str, object], *headers: Pair) -> tuple[list[str], list[Pair]]:
    asked, forward = exchange(*headers), Forward()
    response = await make("tag", options)(asked, forward)
    assert response.status == 200
    return asked.tags, forward.sent[0].headers


async def test_fixed_tags_and_those_of_headers() -> None:
    options: dict[str, object] = {"tags": ["prod"], "headers": {"X-Team": "team", "x-run": ""}}
    headers = ((b"x-team", b"blue"), (b"X-Run", b"42"), (b"X-Other", b"1"))
    assert await tagged(options, *headers) == (["prod", "team:blue", "42"], list(headers))


async def test_repeated_header_gives_a_tag_each() -> None:
    tags, _ = await tagged({"headers": {"x-team": "team"}}, (b"X-Team", b"a"), (b"x-team", b"b"))
    assert tags == ["team:a", "team:b"]


async def test_headers_are_stripped_where_asked() -> None:
    options: dict[str, object] = {"headers": {"x-team": "team"}, "strip": True}
    tags, sent = await tagged(options, (b"X-Team", b"blue"), (b"X-Other", b"1"))
    assert tags == ["team:blue"]
    assert sent == [(b"X-Other", b"1")]


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (b"a\x1b[31mb\x07", "t:a\ufffd[31mb\ufffd"),
        ("häuser".encode(), "t:häuser"),
        (b"\xff", "t:\ufffd"),
        (b"x" * 9000, "t:" + "x" * 198),
        (b"", "t:"),
    ],
)
async def test_any_bytes_make_one_short_line(value: bytes, tag: str) -> None:
    assert (await tagged({"headers": {"x-t": "t"}}, (b"x-t", value)))[0] == [tag]


def test_secret_headers_are_no_tags() -> None:
    assert problems("tag", {"headers": {"Authorization": "who"}}) == [
        ": Authorization holds a secret, which no trace may show; take it out"
    ]
    assert problems("tag", {}) == [": needs tags or headers; write headers: {x-team: team}"]
