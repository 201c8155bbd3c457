"""The kinds of value that settings are made of: each with the check that its name promises."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from ..utils.addresses import is_metadata
from ..utils.redaction import redact_query

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2 token
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*((?:[kmg]i?)?b?)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1} | {
    prefix + mark + byte: (1024 if mark else 1000) ** power
    for power, prefix in enumerate("kmg", 1)
    for mark in ("", "i")
    for byte in ("", "b")
}
LEAST_KEY_LENGTH = 16
KEY_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})")
_FRAMING = frozenset(
    {"connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
RESERVED_PATHS = frozenset({"/health", "/liveness", "/readiness"})


def _no_bool(value: object) -> object:
    """YAML's `yes` must not become the number 1."""
    if isinstance(value, bool):
        # pydantic collects a ValueError and lets a TypeError through
        raise ValueError(f"is {str(value).lower()}; give a number")  # noqa: TRY004
    return value


def _size(value: object) -> object:
    """`64MB`, `1 MiB` as bytes; anything else is left to the type's own check."""
    if not isinstance(value, str):
        return _no_bool(value)
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError("is no size; write bytes, or a number with kB, MB, GB, KiB, MiB or GiB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _dollars(value: object) -> object:
    """`2.5`, `"$2.50"`; anything else is left to the type's own check."""
    if isinstance(value, str):
        value = value.strip().removeprefix("$")
    return _no_bool(value)


def _glob(value: str) -> str:
    if not value or value != value.strip() or _CONTROL.search(value):
        raise ValueError("is empty or holds blanks at its ends; give a name, or a pattern with *")
    return value


def _base_url(value: str) -> str:
    parts = _address(value, ("http", "https"))
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or password; take it out and use api_key or headers")
    if "#" in value:
        raise ValueError("holds a fragment; end it before the #")
    if is_metadata(parts.hostname or ""):  # reliability 107
        raise ValueError("is where a cloud keeps its machines' credentials; give an API's address")
    if redact_query(parts.query.encode())[0] != parts.query.encode():
        raise ValueError("holds a key in its query; take it out and use api_key")
    path, mark, query = value.partition("?")
    return path.rstrip("/") + mark + query


def _address(value: str, schemes: tuple[str, ...]) -> SplitResult:
    """A URL's parts: one of `schemes`, a host, a sane port. Messages never hold the value."""
    if _CONTROL.search(value) or " " in value:
        raise ValueError("holds a space or a control character; write it without")
    expected = " or ".join(f"{scheme}://" for scheme in schemes[:2])
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(
            "is no valid address; write it as https://host or https://host:port"
        ) from error
    if "://" not in value:
        raise ValueError(f"has no scheme; begin it with {expected}")
    if parts.scheme not in schemes:
        raise ValueError(f"has a scheme that is not served; begin it with {expected}")
    if not parts.hostname:
        raise ValueError("names no host; write it as https://host or https://host:port")
    if port == 0:
        raise ValueError("has port 0; give the port that the server listens on")
    return parts


def _proxy(value: str) -> str:
    _address(value, _PROXY_SCHEMES)
    return value


def _database_url(value: str) -> str:
    scheme = value.partition("://")[0].partition("+")[0]
    if "://" not in value or scheme not in {"postgresql", "postgres", "sqlite"}:
        raise ValueError("is of no database that is served; write postgresql://host/name")
    if _CONTROL.search(value):
        raise ValueError("holds a control character; check the variable it comes from")
    try:
        port = urlsplit(value).port
    except ValueError:
        raise ValueError(
            "is no address; the port is a number to 65535, and @ : / in a password"
            " are written %40 %3A %2F"
        ) from None
    if port == 0:
        raise ValueError("has port 0; leave it out for 5432")
    return value


def _prefix(value: str) -> str:
    value = value.rstrip("/") if value != "/" else value
    if value == "":
        return value
    if not value.startswith("/"):
        raise ValueError("does not begin with a slash; write it as /name")
    if value == "/":
        raise ValueError("is only a slash; leave it out for the default upstream")
    if not _PREFIX.fullmatch(value) or any(part in {".", ".."} for part in value.split("/")):
        raise ValueError("is no plain path; write it as /name")
    if value in RESERVED_PATHS:
        raise ValueError("is a path of the proxy's own; choose another")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("may hold letters, digits, dot, dash and underscore only")
    return value


def _host(value: str) -> str:
    value = value.removeprefix("[").removesuffix("]")
    if not value or _CONTROL.search(value) or any(mark in value for mark in " /@"):
        raise ValueError("is no host; give a name or an address such as 127.0.0.1")
    return value


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text:
        raise ValueError("is empty; give a key or leave it out")
    if _CONTROL.search(text) or text != text.strip():
        raise ValueError(
            "holds a line break or blank that no key has; check the variable it comes from"
        )
    if not text.isascii():
        raise ValueError(
            "holds characters that cannot be sent in a header; check the variable it comes from"
        )
    return value


def _client_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if KEY_HASH.fullmatch(text) or text.startswith("sha256:"):
        raise ValueError("is a hash; write it as hash:")
    if len(text) < LEAST_KEY_LENGTH:
        raise ValueError(
            f"is shorter than {LEAST_KEY_LENGTH} characters; make one with: llmtap keys new"
        )
    if " " in text:
        raise ValueError("holds a blank, which no key has; check where it comes from")
    return value


def _key_hash(value: SecretStr) -> SecretStr:
    if KEY_HASH.fullmatch(value.get_secret_value().strip()) is None:
        raise ValueError("is no hash; write sha256: and 64 hex digits, as llmtap keys new prints")
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("holds a name that is no header name; use letters, digits and dashes")
        if name.lower() in _FRAMING:
            raise ValueError(f"holds {name.lower()}, which the proxy sets itself; take it out")
        if _CONTROL.search(text.replace("\t", " ")):
            raise ValueError(
                f"{name} holds a line break or control character; write it on one line"
            )
    return value


def _level(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _path(value: Path) -> Path:
    """Made absolute at once: a later change of folder must not move it."""
    return Path.cwd() / value.expanduser()


Port = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=65535)]
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=0)]
Limit = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]
Size = Annotated[int, BeforeValidator(_size), Field(ge=1)]
SizeOrNone = Annotated[int, BeforeValidator(_size), Field(ge=0)]
Seconds = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, allow_inf_nan=False)]
Grace = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, allow_inf_nan=False)]
Dollars = Annotated[Decimal, BeforeValidator(_dollars), Field(ge=0, le=1_000_000)]
Glob = Annotated[str, AfterValidator(_glob)]
BaseURL = Annotated[str, AfterValidator(_base_url)]
DatabaseURL = Annotated[str, AfterValidator(_database_url)]
ProxyURL = Annotated[str, AfterValidator(_proxy)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Name = Annotated[str, AfterValidator(_name)]
Host = Annotated[str, AfterValidator(_host)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
ClientSecret = Annotated[Secret, AfterValidator(_client_key)]
"""A key of ours, as clients present it."""
KeyHash = Annotated[SecretStr, AfterValidator(_key_hash)]
"""`sha256:…`: what is kept of such a key."""
Headers = Annotated[dict[str, str], AfterValidator(_headers)]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)]
AbsolutePath = Annotated[Path, AfterValidator(_path)]
