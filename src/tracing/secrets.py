"""The secrets that pass: masked before anything is written, known by number to the recorder.

The value itself goes to the recorder over its private pipe, once per distinct value; the journal
holds the number. With it the recorder finds a secret that an upstream echoes in a compressed body
or an error text, and sees that a credential was replaced without knowing more than that.
"""

from __future__ import annotations

import hashlib
import hmac
import marshal
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..utils.redaction import (
    CREDENTIAL_HEADERS,
    CREDENTIAL_QUERY,
    MASK,
    URL_HEADERS,
    Header,
    credential,
    is_secret_header,
    redact_query,
    redact_target,
    searched_values,
)
from .records import MARSHAL_VERSION, MASKED

SALT_NAME = ".salt"
SALT_BYTES = 32

_PLAIN, _SECRET, _LENGTH, _URL, _UNKNOWN = 0, 1, 2, 3, 4
_KNOWN_NAMES = 4096
_KNOWN_CHANGES = 1024
_KNOWN_SECRETS = 4096


class Secret:
    """One distinct secret value under one name."""

    __slots__ = ("bytes", "fingerprint", "masked", "needles", "number", "texts")

    def __init__(
        self, number: int, masked: Header, texts: list[bytes], fingerprint: str | None
    ) -> None:
        self.number = number
        self.masked = masked  # the header as the journal holds it
        self.texts = texts  # what to hide elsewhere, longest first
        # What to look for: a text within another finds both.
        self.needles = tuple(t for t in texts if not any(o in t and o != t for o in texts))
        self.bytes = frozenset(b"".join(self.needles))
        self.fingerprint = fingerprint  # of a credential


class MaskedHead:
    """Headers with nothing secret in them, and what was found on the way. Defaults stand on the
    class: on the hot path most are never written."""

    headers: tuple[Header, ...]
    secrets: tuple[Secret, ...] = ()
    fingerprint: str | None = None
    content_length: int | None = None

    def copy(self) -> MaskedHead:
        """One of its own, to be added to."""
        head = MaskedHead()
        head.headers, head.secrets = self.headers, self.secrets
        head.fingerprint, head.content_length = self.fingerprint, self.content_length
        return head

    def numbers(self) -> tuple[int, ...]:
        """The secrets' numbers."""
        return tuple([secret.number for secret in self.secrets])


class SecretTable:
    """Masks headers and targets, remembering each distinct secret (bounded).

    `tell` gets each new secret's number and its texts (marshal of a list of bytes).
    """

    def __init__(
        self, salt: bytes, extra: frozenset[bytes], tell: Callable[[int, bytes], None]
    ) -> None:
        self._salt = salt
        self._extra = extra
        self._tell = tell
        self._names: dict[bytes, int] = {}
        self._secrets: dict[Header, Secret] = {}
        self._last_number = 0
        self._changes: dict[
            tuple[tuple[Header, ...], ...], tuple[tuple[Header, ...], MaskedHead]
        ] = {}

    def mask_headers(self, headers: Sequence[Header], *, remember: bool = True) -> MaskedHead:
        """Hot, twice per exchange: one dict look-up per header that is not secret.

        `remember` False is for answers: what a server sets (cookies) is not looked for elsewhere.
        """
        head = MaskedHead()
        kind_of = self._names.get
        masked: list[Header] | None = None
        for header in headers:
            kind = kind_of(header[0], _UNKNOWN)
            if kind:
                clean = self._masked(header, kind, head, remember=remember)
                if clean is not header:
                    if masked is None:
                        masked = list(headers)
                    masked[masked.index(header)] = clean
        head.headers = tuple(headers if masked is None else masked)
        return head

    def mask(self, headers: tuple[Header, ...]) -> tuple[Header, ...]:
        """Headers with nothing secret in them."""
        kind_of = self._names.get
        for header in headers:
            if kind_of(header[0], _UNKNOWN) != _PLAIN:
                return self.mask_headers(headers).headers
        return headers

    def mask_changes(
        self, gone: tuple[Header, ...], new: tuple[Header, ...]
    ) -> tuple[tuple[Header, ...], MaskedHead]:
        """`mask` of what was not sent on, `mask_headers` of what was sent in addition. Mostly they
        are Host and the same keys, which come again and again: the answer is shared, not to be
        added to. Hot: once per exchange."""
        known = self._changes.get((gone, new))
        if known is None:
            known = self.mask(gone), self.mask_headers(new)
            if len(self._changes) >= _KNOWN_CHANGES:
                self._changes.clear()
            self._changes[gone, new] = known
        return known

    def _masked(self, header: Header, kind: int, head: MaskedHead, *, remember: bool) -> Header:
        """The header as the journal may hold it, of a kind that needs a look."""
        if kind == _UNKNOWN:
            kind = self._classify(header[0])
        if kind == _LENGTH:
            head.content_length = int(header[1]) if header[1].isdigit() else None
        elif kind == _URL:
            url = redact_target(header[1])[0]
            return header if url == header[1] else (header[0], MASKED + b"?" + url)
        elif kind == _SECRET:
            if not remember:
                return header[0], MASKED
            secret = self._secrets.get(header) or self._remember(header)
            head.secrets += (secret,)
            head.fingerprint = head.fingerprint or secret.fingerprint
            return secret.masked
        return header

    def field(self, value: bytes) -> Secret:
        """A secret found in a body, under a name that tells."""
        header = (b"$", value)
        return self._secrets.get(header) or self._remember(header, [value])

    def mask_target(self, target: bytes, head: MaskedHead) -> bytes:
        """A request target or URL with its secret parameters masked; `head` learns of them."""
        path, mark, query = target.partition(b"?")
        if not mark or b"=" not in query:
            return target
        masked, texts = redact_query(query, self._extra)
        if masked == query:
            return target
        header = (b"?", query)
        secret = self._secrets.get(header) or self._remember(header, texts)
        head.secrets += (secret,)
        head.fingerprint = head.fingerprint or secret.fingerprint
        return path + mark + masked

    def _classify(self, name: bytes) -> int:
        if len(self._names) >= _KNOWN_NAMES:
            self._names.clear()
        lower = name.lower()
        kind = _SECRET if is_secret_header(lower, self._extra) else _PLAIN
        if lower == b"content-length":
            kind = _LENGTH
        elif kind == _PLAIN and lower in URL_HEADERS:
            kind = _URL
        self._names[name] = kind
        return kind

    def _remember(self, header: Header, texts: list[bytes] | None = None) -> Secret:
        if len(self._secrets) >= _KNOWN_SECRETS:
            for old in list(self._secrets)[: _KNOWN_SECRETS // 2]:
                del self._secrets[old]
            self._changes.clear()  # their numbers are forgotten elsewhere, too
        self._last_number = number = self._last_number + 1 & 0xFFFFFFFF
        if texts is None:
            texts = searched_values(header[0].lower(), header[1])
        masked = (header[0], MASKED + b"%d" % number)
        secret = Secret(number, masked, texts, self._fingerprint(header))
        self._secrets[header] = secret
        # Of one that is too short to be looked for too: else it would be taken for unknown, and
        # with it nothing of this exchange would be looked for.
        self._tell(number, marshal.dumps(texts, MARSHAL_VERSION))
        return secret

    def _fingerprint(self, header: Header) -> str | None:
        """As the journal has it: see `fingerprint_of`."""
        name = header[0].lower()
        if name in CREDENTIAL_HEADERS:
            value = credential(header[1])
        elif name == b"?":
            values = (part.partition(b"=") for part in header[1].split(b"&"))
            value = next((v for n, _, v in values if n in CREDENTIAL_QUERY), b"")
        else:
            return None
        return fingerprint_of(self._salt, value) if value else None


def fingerprint_of(salt: bytes, credential: bytes) -> str:
    """Salted, so that nobody can try keys against it. Whole, so that whoever presents the key can
    be told its running requests and nobody else's; traces have its first digits."""
    return hmac.new(salt, credential, hashlib.sha256).hexdigest()


def hide(data: bytes, secrets: tuple[Secret, ...]) -> tuple[bytes, list[tuple[int, int, int]]]:
    """`data` with every text of the secrets replaced by the mask, and where each one stood: offset
    in the result, number of the secret, index of the text."""
    spots: list[tuple[int, int, int]] = []
    for secret in secrets:
        for index, text in enumerate(secret.texts):
            at = data.find(text)
            while at >= 0:
                grown = len(MASK) - len(text)
                spots = [(o + grown if o > at else o, n, i) for o, n, i in spots]
                spots.append((at, secret.number, index))
                data = data[:at] + MASK + data[at + len(text) :]
                at = data.find(text, at + len(MASK))
    spots.sort()
    return data, spots


def load_salt(trace_dir: Path) -> bytes:
    """The folder's salt, made once. Where it cannot be kept, one for this run."""
    path = trace_dir / SALT_NAME
    fresh = os.urandom(SALT_BYTES)
    draft = trace_dir / f"{SALT_NAME}.{os.getpid()}"
    try:
        if not path.exists():
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, 0o600)
                file.write(fresh)
            _link_once(draft, path)
        salt = path.read_bytes()
    except OSError:
        return fresh
    return salt if len(salt) >= 16 else fresh


def _link_once(draft: Path, path: Path) -> None:
    """Several workers may begin at once: the first link wins."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
