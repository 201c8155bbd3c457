"""Which agent run a request belongs to.

First that is there: a header or field that names the session; else lineage: the latest request of
the same client and model whose messages are a prefix of these. Never a hash of the first message:
many agents begin every session with the same text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

# (source, where) in the order of the schema; `metadata.user_id` comes after the first two.
_OWN = (b"x-llmtap-session", b"x-claude-code-session-id")
_HEADERS = (b"session-id", b"session_id", b"x-session-id", b"x-session-affinity")
_NAMES = frozenset((*_OWN, *_HEADERS))
_FIELDS = frozenset(("metadata", "prompt_cache_key", "conversation"))
_SESSION_UUID = re.compile(r"_session_([0-9a-fA-F-]{8,64})$")
_CACHE_MARK = re.compile(rb',?"cache_control":\{[^{}]*\}')

_CONVERSATIONS = ("messages", "input", "contents")
_CLIENTS = 512
_PREFIXES = 2048
_ID_CHARS = 200


def named_session(  # noqa: PLR0911 - one return per place, in the schema's order
    headers: Mapping[bytes, bytes], body: object | None
) -> tuple[str | None, str | None]:
    """(id, source) as the request itself names it; (None, None) if it does not."""
    named = not _NAMES.isdisjoint(headers)
    if named and (found := _header(headers, _OWN)):
        return found
    fields = body if isinstance(body, dict) else {}
    if not named and _FIELDS.isdisjoint(fields):
        return None, None
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and (user := _user_id(metadata.get("user_id"))):
        return user, "metadata.user_id"
    if named and (found := _header(headers, _HEADERS)):
        return found
    key = fields.get("prompt_cache_key")
    if isinstance(key, str) and key:
        return key[:_ID_CHARS], "prompt_cache_key"
    conversation = fields.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    if isinstance(conversation, str) and conversation:
        return conversation[:_ID_CHARS], "conversation"
    return None, None


def _header(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> tuple[str, str] | None:
    for name in names:
        if value := headers.get(name):
            return value.decode("latin-1")[:_ID_CHARS], name.decode()
    return None


def _user_id(value: object) -> str | None:
    """The session in Anthropic's `metadata.user_id`: JSON, or `user_…_session_<uuid>`."""
    if not isinstance(value, str):
        return None
    if value.startswith("{"):
        try:
            fields = orjson.loads(value)
        except ValueError:
            return None
        found = fields.get("session_id")
        return found[:_ID_CHARS] if isinstance(found, str) and found else None
    match = _SESSION_UUID.search(value)
    return match[1] if match else None


class Lineage:
    """Remembers the messages of past requests by a running hash, bounded, and finds whose
    conversation a request continues.

    The hashes are Python's own, salted per process: they are never written.
    """

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], dict[int, tuple[str, str]]] = {}

    def place(
        self, client: str, model: str | None, body: object | None, trace: str, session: str | None
    ) -> tuple[str | None, str | None]:
        """(session id, parent trace) of a request, which is remembered; `session` is its id if it
        names one. The session of one that continues nothing begins with itself."""
        messages = _messages(body)
        if not messages:
            return session, None
        known = self._table((client, model or ""))
        running = 0
        parent: tuple[str, str] | None = None
        for message in messages[:-1]:
            running = hash((running, _canonical(message)))
            parent = known.get(running, parent)  # the longest wins
        running = hash((running, _canonical(messages[-1])))
        own = session or (parent[1] if parent else trace)
        if len(known) >= _PREFIXES:
            for old in list(known)[: _PREFIXES // 2]:
                del known[old]
        known.pop(running, None)
        known[running] = (trace, own)
        return own, parent[0] if parent else None

    def _table(self, key: tuple[str, str]) -> dict[int, tuple[str, str]]:
        table = self._clients.get(key)
        if table is None:
            if len(self._clients) >= _CLIENTS:
                del self._clients[next(iter(self._clients))]
            table = self._clients[key] = {}
        return table


def _messages(body: object | None) -> list[object]:
    """The conversation so far, in whichever field it is: chat and messages, responses, Gemini."""
    if isinstance(body, dict):
        for name in _CONVERSATIONS:
            if isinstance(found := body.get(name), list):
                return found
    return []


def _canonical(message: object) -> bytes:
    """A message's bytes without cache marks: clients move those from turn to turn."""
    try:
        written = orjson.dumps(message)
    except TypeError:
        return repr(message)[:10_000].encode("utf-8", "replace")
    if _is_plain(message) or b'"cache_control"' not in written:
        return written
    return _CACHE_MARK.sub(b"", written)


def _is_plain(message: object) -> bool:
    """A role and a text, nothing else: there is no place for a mark, so it need not be sought."""
    return (
        isinstance(message, dict)
        and len(message) == 2
        and "role" in message
        and isinstance(message.get("content"), str)
    )
