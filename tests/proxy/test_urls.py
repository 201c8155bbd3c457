from __future__ import annotations

import pytest

from src.proxy.urls import host_header, join_path, origin_form, split_base, strip_prefix


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://api.openai.com", ("https", "api.openai.com", 443, b"")),
        ("http://a:81/x/", ("http", "a", 81, b"/x")),
        ("https://a/b//", ("https", "a", 443, b"/b")),
        ("http://[::1]:11434", ("http", "::1", 11434, b"")),
        ("HTTP://A/b", ("http", "a", 80, b"/b")),
    ],
)
def test_base_url_is_taken_apart(url: str, parts: tuple[str, str, int, bytes]):
    assert split_base(url) == parts


@pytest.mark.parametrize("url", ["api.openai.com", "ftp://a", "https://", "", "//a", "http://a:x"])
def test_what_is_no_base_url_is_refused(url: str):
    with pytest.raises(ValueError, match=r"address|port|Port"):
        split_base(url)


@pytest.mark.parametrize(
    ("scheme", "host", "port", "header"),
    [
        ("https", "a.b", 443, b"a.b"),
        ("http", "a.b", 80, b"a.b"),
        ("http", "a.b", 443, b"a.b:443"),
        ("https", "::1", 443, b"[::1]"),
        ("https", "::1", 1, b"[::1]:1"),
        ("https", "bücher.example", 443, b"xn--bcher-kva.example"),
    ],
)
def test_host_header(scheme: str, host: str, port: int, header: bytes):
    assert host_header(scheme, host, port) == header


@pytest.mark.parametrize(
    ("base", "path", "joined"),
    [
        (b"", b"/v1/x", b"/v1/x"),
        (b"/api/v1", b"/v1/x", b"/api/v1/x"),
        (b"/api/v1", b"/x", b"/api/v1/x"),
        (b"/api", b"/v1/x", b"/api/v1/x"),
        (b"/v1", b"/v1", b"/v1"),
        (b"/v1", b"/v1beta/x", b"/v1/v1beta/x"),
        (b"/v1", b"/v10/x", b"/v1/v10/x"),
        (b"/v1beta", b"/v1beta/models", b"/v1beta/models"),
        (b"/v1", b"/v2/x", b"/v1/v2/x"),
        (b"/api/paas/v4", b"/chat/completions", b"/api/paas/v4/chat/completions"),
        (b"/openai", b"/openai/x", b"/openai/openai/x"),
        (b"/v1", b"/v1/%2e%2e/..//x", b"/v1/%2e%2e/..//x"),
    ],
)
def test_paths_are_joined_with_the_version_once_and_else_byte_for_byte(
    base: bytes, path: bytes, joined: bytes
):
    """Reliability 11, 12."""
    assert join_path(base, path) == joined


@pytest.mark.parametrize(
    ("prefix", "path", "rest"),
    [
        (b"", b"/x", b"/x"),
        (b"/a", b"/a/x", b"/x"),
        (b"/a", b"/a", b"/"),
        (b"/a", b"/a/", b"/"),
        (b"/a", b"/ab", None),
        (b"/a", b"/A/x", None),
        (b"/a", b"//a/x", None),
        (b"/a", b"/%61/x", None),
    ],
)
def test_prefix_is_whole_segments(prefix: bytes, path: bytes, rest: bytes | None):
    assert strip_prefix(prefix, path) == rest


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/x?a", b"/x?a"),
        (b"//evil/x", b"//evil/x"),
        (b"/x?u=http://evil/", b"/x?u=http://evil/"),
        (b"http://evil/x?a=1", b"/x?a=1"),
        (b"http://evil", b"/"),
        (b"http://evil?a=/b", b"/?a=/b"),
        (b"http://user@evil:1/x", b"/x"),
        (b"*", b"/*"),
        (b"x", b"/x"),
    ],
)
def test_host_of_an_absolute_target_counts_for_nothing(target: bytes, path: bytes):
    """Reliability 10."""
    assert origin_form(target) == path
