"""Who looks: the admin, or one of the clients by its key. Nobody else gets past here.

    Authorization: Bearer KEY   or   X-API-Key: KEY

A key in a query string would stand in histories and logs: it is not read there.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from starlette.requests import Request

from ..keys.keyring import ClientKey, Keyring
from ..tracing.secrets import SALT_NAME, fingerprint_of
from ..utils.addresses import is_loopback, network_of
from .errors import Refusal

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="llmtap"'}
_FAILURES = 10  # at once from one address,
_FORGIVEN_S = 6.0  # and one more each
_REMEMBERED = 10_000  # in each table; the oldest is forgotten
_TOGETHER = 100  # at once from all addresses,
_ANSWERED_S = 0.05  # and one more each
_LONGEST_S = 5.0  # that one waits for its answer: 100 of them, the API has room for 256 requests


@dataclass(slots=True, frozen=True)
class Viewer:
    """`label`: of the key, whose requests are all that is seen unless `admin`. `fingerprint`: of
    the key, whole, as running requests have it in the journal; None where that is not known.
    `digest`: of the key, by which it is looked for again."""

    admin: bool
    label: str = ""
    fingerprint: str | None = None
    digest: bytes = field(default=b"", repr=False)

    @property
    def only_key(self) -> str | None:
        """As the store's reader takes it: None sees all."""
        return None if self.admin else self.label


class Failures:
    """Wrong keys from one address, which are bounded; an IPv6 network counts as one.

    One who tries wrong keys must not lock out those behind the same address, a company's or a
    reverse proxy's: a key that was let in from there before is let in at any time, and the same
    wrong key once more, as of a client that was forgotten somewhere, is no new guess. Only who
    comes from there for the first time has to wait, since letting it in would answer a guess.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free_at: OrderedDict[str, float] = OrderedDict()
        self._tried: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._welcome: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until another key may be tried; 0: now."""
        ahead = self._free_at.get(network_of(address), 0.0) - self._clock()
        return max(0.0, ahead - (_FAILURES - 1) * _FORGIVEN_S)

    def note(self, address: str, digest: bytes) -> bool:
        """One more wrong key; `digest`: its SHA-256. True: it is a new guess."""
        name, now = network_of(address), self._clock()
        new = (name, digest) not in self._tried
        if new:
            self._free_at[name] = max(self._free_at.pop(name, now), now) + _FORGIVEN_S
            _bound(self._free_at)
        _remember(self._tried, (name, digest))
        return new

    def is_welcome(self, address: str, digest: bytes) -> bool:
        """Whether this key was let in from there before, and lately."""
        return (network_of(address), digest) in self._welcome

    def welcome(self, address: str, digest: bytes) -> None:
        """It is let in."""
        _remember(self._welcome, (network_of(address), digest))


class Pace:
    """Wrong keys from all addresses together: beyond some at once their answers come one after the
    other. A right key is never made to wait, or many who guess would lock out all who know; so who
    takes silence for a no is not slowed by this, only by what each address may try."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_at = 0.0

    def delay_s(self) -> float | None:
        """Of the answer to one more wrong key; None: too many wait already, refuse it."""
        now = self._clock()
        next_at = max(self._next_at, now) + _ANSWERED_S
        delay = next_at - now - _TOGETHER * _ANSWERED_S
        if delay > _LONGEST_S:
            return None
        self._next_at = next_at
        return max(delay, 0.0)


def _remember(table: OrderedDict[tuple[str, bytes], None], name: tuple[str, bytes]) -> None:
    table[name] = None
    table.move_to_end(name)
    _bound(table)


def _bound(table: OrderedDict[str, float] | OrderedDict[tuple[str, bytes], None]) -> None:
    if len(table) > _REMEMBERED:
        table.popitem(last=False)


class Door:
    """Identifies. `admin`: SHA-256 of the admin's key. `open`: there are no keys at all, and
    whoever comes from this machine sees everything."""

    def __init__(
        self,
        admin: bytes | None,
        keys: list[ClientKey],
        trace_dir: Path,
        *,
        is_open: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_open = is_open
        self._admin = admin
        self._ring = Keyring(keys)
        self._salt_file = trace_dir / SALT_NAME
        self._salt = b""
        self._failures = Failures(clock)
        self._pace = Pace(clock)

    def replace_keys(self, keys: list[ClientKey]) -> None:
        """All client keys there are now."""
        self._ring = Keyring(keys)

    def viewer(self, request: Request) -> Viewer:
        """Raises Refusal: 401, 403, 429."""
        address = request.client.host if request.client is not None else ""
        if self.is_open:
            if not is_loopback(address):
                raise Refusal(
                    403, "not_open", "without a web.admin_key only this machine is served"
                )
            return Viewer(admin=True)
        presented = _presented(request)
        wait_s = self._failures.wait_s(address)
        for key in presented:
            viewer = self._known(key)
            if viewer is not None and (
                not wait_s or self._failures.is_welcome(address, viewer.digest)
            ):
                self._failures.welcome(address, viewer.digest)
                return viewer
        if wait_s:
            raise _too_many(wait_s)
        if not presented:
            text = "give an API key as Authorization: Bearer or as X-API-Key"
            raise Refusal(401, "no_api_key", text, _CHALLENGE)
        delay_s = self._judged(address, presented)
        if delay_s is None:
            raise _too_many(_LONGEST_S)
        text = "the API key is not known here"
        raise Refusal(401, "invalid_api_key", text, _CHALLENGE, delay_s=delay_s)

    def _judged(self, address: str, wrong: list[bytes]) -> float | None:
        """Note wrong keys. How long their answer has to wait; None: it is refused."""
        new = [self._failures.note(address, sha256(key).digest()) for key in wrong]
        return self._pace.delay_s() if any(new) else 0.0

    def still_knows(self, viewer: Viewer) -> bool:
        """Whether the key by which somebody was let in would let in today: it may have been taken
        away, given to another label, or have expired."""
        if viewer.admin:
            return True
        key = self._ring.at(viewer.digest)
        return key is not None and key.label == viewer.label and not _is_expired(key)

    def _known(self, presented: bytes) -> Viewer | None:
        digest = sha256(presented).digest()
        if self._admin is not None and compare_digest(digest, self._admin):
            return Viewer(admin=True, digest=digest)
        key = self._ring.at(digest)
        if key is None or _is_expired(key):
            return None
        return Viewer(
            admin=False,
            label=key.label,
            fingerprint=self._fingerprint(presented),
            digest=digest,
        )

    def _fingerprint(self, presented: bytes) -> str | None:
        if not self._salt:
            try:
                self._salt = self._salt_file.read_bytes()
            except OSError:
                return None
        return fingerprint_of(self._salt, presented)


def _too_many(wait_s: float) -> Refusal:
    after = {"Retry-After": str(int(wait_s) + 1)}
    return Refusal(429, "too_many_failures", "too many wrong keys; wait", after)


def _is_expired(key: ClientKey) -> bool:
    return key.expires_ns is not None and key.expires_ns <= time.time_ns()


def _presented(request: Request) -> list[bytes]:
    found = [value.encode("latin-1") for value in request.headers.getlist("x-api-key")]
    for value in request.headers.getlist("authorization"):
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "bearer":
            found.append(rest.strip().encode("latin-1"))
    return [key for key in found if key][:2]
