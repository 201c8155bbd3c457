"""A traced request, to be made again: where to, with which headers, the secrets as placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..utils.redaction import MASK_TEXT
from .wire import Sent, sent

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# What the tool that sends it makes itself, or what belongs to a connection.
_NOT_SENT = frozenset({"host", "content-length", "expect", *HOP_BY_HOP})
_KEYS = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "ollama": "OLLAMA_API_KEY",
}
_KEY_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key"})


@dataclass(slots=True, frozen=True)
class Secret:
    """A value that the trace does not hold: the environment variable to take it from."""

    name: str


Value = tuple[str | Secret, ...]
"""A text with the secrets in it."""


@dataclass(slots=True, frozen=True)
class Again:
    """The request. `framed`: it has a body, be it an empty one. `notes`: in what it is not the one
    that was made."""

    id: str
    method: str
    url: Value
    headers: tuple[tuple[str, Value], ...]
    body: Sent
    framed: bool
    notes: tuple[str, ...]


def again(document: Mapping[str, Any], to: str | None = None, beside: Path | None = None) -> Again:
    """The request as the upstream got it; with `to`, the URL of a proxy, as the client made it."""
    request, forwarded = document["request"], document["forwarded"]
    direct = forwarded if to is None else None
    key = _KEYS.get(document["summary"]["provider"], "API_KEY")
    body = sent(request["body"], beside)
    headers = tuple(_headers(request, direct, key, encoded=body.note is None))
    notes = [body.note] if body.note else []
    if direct is not None and direct["body_changed"]:
        notes.append("the proxy changed the body; this is the one that it received")
    notes += _unknown(direct)
    url = _with_secrets(_url(request, direct, to), Secret(key))
    framed = any(
        name.lower() in {"content-length", "transfer-encoding"} for name, _ in request["headers"]
    )
    return Again(document["id"], request["method"], url, headers, body, framed, tuple(notes))


def _url(request: Mapping[str, Any], direct: Mapping[str, Any] | None, to: str | None) -> str:
    if direct is not None:
        return str(direct["url"])
    target = request["path"] + ("" if request["query"] is None else f"?{request['query']}")
    if to is None:
        host = next((v for name, v in request["headers"] if name.lower() == "host"), "localhost")
        to = f"http://{host}"
    parts = urlsplit(to)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{target}"


def _headers(
    request: Mapping[str, Any], direct: Mapping[str, Any] | None, key: str, *, encoded: bool
) -> Iterator[tuple[str, Value]]:
    changes = direct["header_changes"] if direct is not None else []
    removed = {change["name"].lower() for change in changes if change["change"] == "removed"}
    names = set()
    for name, value in request["headers"]:
        lower = name.lower()
        skipped = lower in removed or (lower == "content-encoding" and not encoded)
        if lower not in _NOT_SENT and not skipped:
            names.add(lower)
            yield name, _header_value(lower, value, key)
    for change in changes:
        lower = change["name"].lower()
        if change["change"] == "added" and lower in _KEY_HEADERS - names:
            yield change["name"], _header_value(lower, MASK_TEXT, key)


def _unknown(direct: Mapping[str, Any] | None) -> Iterator[str]:
    for change in direct["header_changes"] if direct is not None else []:
        name = change["name"]
        if change["change"] != "removed" and name.lower() not in _KEY_HEADERS | _NOT_SENT:
            yield f"the proxy set the header {name}; its value is not in the trace"


def _header_value(lower: str, value: str, key: str) -> Value:
    """The value; of a masked one the variable it is to be taken from."""
    if MASK_TEXT not in value:
        return (value,)
    if lower == "authorization":
        bearer = "ANTHROPIC_AUTH_TOKEN" if key == "ANTHROPIC_API_KEY" else key
        return (
            ("Bearer ", Secret(bearer))
            if value == MASK_TEXT
            else _with_secrets(value, Secret(bearer))
        )
    if lower in _KEY_HEADERS:
        return (Secret(key),)
    return _with_secrets(value, Secret(re.sub(r"[^A-Z0-9]", "_", lower.upper())))


def _with_secrets(text: str, secret: Secret) -> Value:
    first, *others = text.split(MASK_TEXT)
    pieces: list[str | Secret] = [first]
    for other in others:
        pieces += [secret, other]
    return tuple(piece for piece in pieces if piece != "")


def secrets_of(request: Again) -> list[str]:
    """The variables it needs, each once."""
    values = [request.url, *(value for _, value in request.headers)]
    names = [piece.name for value in values for piece in value if isinstance(piece, Secret)]
    return list(dict.fromkeys(names))
