"""What is a secret on the wire, and how it is masked: one table for traces, logs and errors.

Standard library only. The mask is a fixed text: no first or last characters of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote_to_bytes

Header = tuple[bytes, bytes]

MASK = b"[REDACTED]"
MASK_TEXT = MASK.decode()

CREDENTIAL_HEADERS: tuple[bytes, ...] = (
    b"authorization",
    b"x-api-key",
    b"x-goog-api-key",
    b"api-key",
    b"x-client-api-key",
)
CREDENTIAL_QUERY: tuple[bytes, ...] = (b"key", b"api_key")

SECRET_HEADERS: frozenset[bytes] = frozenset(
    (
        *CREDENTIAL_HEADERS,
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
        b"x-amz-security-token",
        b"sec-websocket-protocol",  # browsers put `openai-insecure-api-key.<key>` there
    )
)

# Names of fields, parameters and headers that tell of a secret, word by word: however they are put
# together (`api_key`, `apiKey`, `API-KEY`) and in any case.
TELLING_NAMES: tuple[tuple[str, ...], ...] = (
    ("api", "key"),
    ("x", "api", "key"),
    ("authorization",),
    ("authorization", "token"),
    ("proxy", "authorization"),
    ("access", "token"),
    ("refresh", "token"),
    ("id", "token"),
    ("client", "secret"),
    ("secret", "key"),
    ("password",),
)
TELLING_PATTERN = "|".join("[-_]?".join(words) for words in TELLING_NAMES)
"""A regular expression without groups, for ASCII letters of any case."""
_TELLING = frozenset("".join(words).encode() for words in TELLING_NAMES)
_SECRET_QUERY = _TELLING | {b"key", b"sig", b"signature"}

# Headers that hold a URL, which may hold a secret parameter.
URL_HEADERS: frozenset[bytes] = frozenset(
    (b"location", b"content-location", b"referer", b"refresh", b"link")
)

# Shorter values ("key=1", "dummy") are masked where they stand, but not searched for elsewhere:
# replacing every "1" of a body would destroy it and protect nothing.
SEARCHED_LENGTH = 8

# Names that hold "token" and are figures: x-ratelimit-remaining-tokens, x-tokens-used, …
_FIGURES = re.compile(rb"ratelimit|rate-limit|tokens|token-(?:count|usage|limit)|usage")
_SCHEME = re.compile(rb"^(?:bearer|basic|token|apikey|key)[ ]+(\S.*)$", re.IGNORECASE | re.DOTALL)


@lru_cache(maxsize=4096)
def is_secret_header(lowername: bytes, extra: frozenset[bytes] = frozenset()) -> bool:
    """Whether the value of a header of this (lower-case) name must never be written.

    `extra`: further names from the configuration, lower case.
    """
    if lowername in SECRET_HEADERS or lowername in extra:
        return True
    if b"secret" in lowername or _flat(lowername) in _TELLING:
        return True
    return b"token" in lowername and not _FIGURES.search(lowername)


def redact_headers(
    headers: Iterable[Header], extra: frozenset[bytes] = frozenset()
) -> tuple[list[Header], list[bytes]]:
    """Headers with their secret values masked, and the secret values to search for elsewhere."""
    masked: list[Header] = []
    secrets: list[bytes] = []
    for name, value in headers:
        lower = name.lower()
        secret = is_secret_header(lower, extra)
        if secret:
            secrets += searched_values(lower, value)
        masked.append((name, MASK if secret else value))
    return masked, secrets


def searched_values(lowername: bytes, value: bytes) -> list[bytes]:
    """The texts that give a secret header away where they turn up: the whole value, the part
    after `Bearer`, each cookie's value, a subprotocol's key. Longest first, none shorter than
    `SEARCHED_LENGTH`."""
    values = {value.strip()}
    values.add(credential(value))
    if lowername == b"sec-websocket-protocol":
        offered = [part.strip().partition(b".") for part in value.split(b",")]
        values = {rest for name, _, rest in offered if b"key" in name or b"token" in name}
    if lowername in (b"cookie", b"set-cookie"):
        pairs = value.split(b";") if lowername == b"cookie" else value.split(b";", 1)[:1]
        values.update(pair.partition(b"=")[2].strip() for pair in pairs)
    return sorted((v for v in values if len(v) >= SEARCHED_LENGTH), key=len, reverse=True)


def credential(value: bytes) -> bytes:
    """The credential of an `Authorization`-like value without its scheme: `Bearer X` gives X."""
    value = value.strip()
    found = _SCHEME.match(value)
    return found[1].strip() if found else value


def redact_query(query: bytes, extra: frozenset[bytes] = frozenset()) -> tuple[bytes, list[bytes]]:
    """A raw query (without `?`) with its secret parameters masked, everything else verbatim, and
    the secret values as they were sent and percent-decoded."""
    if b"=" not in query:
        return query, []
    secrets: list[bytes] = []
    parts = query.split(b"&")
    for index, part in enumerate(parts):
        name, equals, value = part.partition(b"=")
        if equals and value and _is_secret_parameter(name, extra):
            parts[index] = name + b"=" + MASK
            secrets += {value, unquote_to_bytes(value.replace(b"+", b" "))}
    if not secrets:
        return query, []
    return b"&".join(parts), [s for s in secrets if len(s) >= SEARCHED_LENGTH]


@lru_cache(maxsize=512)
def _is_secret_parameter(name: bytes, extra: frozenset[bytes]) -> bool:
    name = unquote_to_bytes(name).lower()
    return _flat(name) in _SECRET_QUERY or name in extra


def _flat(lowername: bytes) -> bytes:
    return lowername.translate(None, b"-_")


def is_telling(name: str) -> bool:
    """Whether a field of this name holds a secret."""
    return _flat(name.lower().encode("utf-8", "replace")) in _TELLING


def redact_target(target: bytes) -> tuple[bytes, list[bytes]]:
    """`redact_query` for a request target or URL: `path?query`, a fragment left alone."""
    path, mark, query = target.partition(b"?")
    if not mark:
        return target, []
    masked, secrets = redact_query(query)
    return (path + mark + masked, secrets) if masked != query else (target, secrets)


# What a secret looks like where nobody told us its value: logs and error texts.
_SHAPES = re.compile(
    r"(?P<query>[?&](?:key|sig|signature|" + TELLING_PATTERN + r")=)[^&\s\"'#]+"
    r"|(?P<scheme>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{6,}"
    r"|(?P<header>\b(?:authorization|proxy-authorization|x-api-key|api-key|x-goog-api-key"
    r"|x-client-api-key|set-cookie|cookie)[\"']?\s*[:=]\s*[\"']?(?:(?:Bearer|Basic)\s+)?)[^\s\"',;]+"
    r"|\bsk-[A-Za-z0-9_-]{8,}|\bAIza[A-Za-z0-9_-]{20,}",
    re.IGNORECASE,
)


def redact_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Text with these secrets masked, and whatever has the shape of one."""
    for secret in secrets:
        if secret and secret in text:
            text = text.replace(secret, MASK_TEXT)
    return _SHAPES.sub(_keep_label, text)


def _keep_label(found: re.Match[str]) -> str:
    label = found["query"] or found["scheme"] or found["header"] or ""
    return label + MASK_TEXT
