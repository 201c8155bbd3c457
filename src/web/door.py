"""Who looks: the admin, or one of the clients by its key. Nobody else gets past here.

    Authorization: Bearer KEY   or   X-API-Key: KEY

A key in a query string would stand in histories and logs: it is not read there.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from starlette.requests import Request

from ..keys.keyring import ClientKey, Keyring
from ..tracing.secrets import SALT_NAME, fingerprint_of
from ..utils.addresses import is_loopback
from .errors import Refusal

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="llmtap"'}
_FAILURES = 10  # at once from one address,
_FORGIVEN_S = 6.0  # and one more each
_ADDRESSES = 10_000


@dataclass(slots=True, frozen=True)
class Viewer:
    """`label`: of the key, whose requests are all that is seen unless `admin`. `fingerprint`: of
    the key, whole, as running requests have it in the journal; None where that is not known."""

    admin: bool
    label: str = ""
    fingerprint: str | None = None

    @property
    def only_key(self) -> str | None:
        """As the store's reader takes it: None sees all."""
        return None if self.admin else self.label


class Failures:
    """Wrong keys from one address, which are bounded; an IPv6 network counts as one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until another key may be tried; 0: now."""
        ahead = self._free_at.get(_network(address), 0.0) - self._clock()
        return max(0.0, ahead - (_FAILURES - 1) * _FORGIVEN_S)

    def note(self, address: str) -> None:
        """One more."""
        name, now = _network(address), self._clock()
        self._free_at[name] = max(self._free_at.pop(name, now), now) + _FORGIVEN_S
        if len(self._free_at) > _ADDRESSES:
            self._free_at.popitem(last=False)


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
        wait_s = self._failures.wait_s(address)
        if wait_s:
            after = {"Retry-After": str(int(wait_s) + 1)}
            raise Refusal(429, "too_many_failures", "too many wrong keys; wait", after)
        presented = _presented(request)
        for key in presented:
            viewer = self._known(key)
            if viewer is not None:
                return viewer
        if not presented:
            text = "give an API key as Authorization: Bearer or as X-API-Key"
            raise Refusal(401, "no_api_key", text, _CHALLENGE)
        self._failures.note(address)
        raise Refusal(401, "invalid_api_key", "the API key is not known here", _CHALLENGE)

    def _known(self, presented: bytes) -> Viewer | None:
        if self._admin is not None and compare_digest(sha256(presented).digest(), self._admin):
            return Viewer(admin=True)
        key = self._ring.find(presented)
        if key is None or (key.expires_ns is not None and key.expires_ns <= time.time_ns()):
            return None
        return Viewer(admin=False, label=key.label, fingerprint=self._fingerprint(presented))

    def _fingerprint(self, presented: bytes) -> str | None:
        if not self._salt:
            try:
                self._salt = self._salt_file.read_bytes()
            except OSError:
                return None
        return fingerprint_of(self._salt, presented)


def _presented(request: Request) -> list[bytes]:
    found = [value.encode("latin-1") for value in request.headers.getlist("x-api-key")]
    for value in request.headers.getlist("authorization"):
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "bearer":
            found.append(rest.strip().encode("latin-1"))
    return [key for key in found if key][:2]


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(int(found) >> 64) if isinstance(found, IPv6Address) else address
