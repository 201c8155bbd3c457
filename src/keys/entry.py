"""One client key as it is written in a config or keys file."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from ..config.settings import Section
from ..config.values import ClientSecret, KeyHash, Name
from .hashing import digest_of
from .keyring import ClientKey


def _moment(value: object) -> object:
    """A date counts to its end; what names no time zone is UTC."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value + timedelta(days=1), time(), UTC)
    raise ValueError("is no date; write 2027-01-31 or 2027-01-31T12:00:00Z")


def _parsed(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("is no date; write 2027-01-31 or 2027-01-31T12:00:00Z") from error


class KeyEntry(Section):
    """A client key with what it may do."""

    label: Name = Field(description="who it is, in traces and limits; no secret")
    key: ClientSecret | None = Field(
        default=None, description="the key as text, from ${VAR}; or give its hash"
    )
    hash: KeyHash | None = Field(default=None, description="sha256:…, as llmtap keys new prints it")
    expires: Annotated[datetime, BeforeValidator(_moment)] | None = Field(
        default=None, description="refused from then on; a date counts to its end, UTC"
    )
    models: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="globs of the models it may use; none: all"
    )
    upstreams: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="names of the upstreams it may use; none: all"
    )
    tier: Name | None = Field(default=None, description="a name that limits refer to")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.key is None) == (self.hash is None):
            raise ValueError("needs one of key and hash; make them with: llmtap keys new")
        return self

    def client_key(self) -> ClientKey:
        """What is looked up: without the key itself."""
        return ClientKey(
            self.label,
            self._digest(),
            int(self.expires.timestamp() * 1e9) if self.expires is not None else None,
            self.models,
            frozenset(self.upstreams) if self.upstreams is not None else None,
            self.tier,
        )

    def _digest(self) -> bytes:
        if self.key is not None:
            return sha256(self.key.get_secret_value().encode()).digest()
        digest = digest_of(self.hash.get_secret_value()) if self.hash is not None else None
        assert digest is not None  # noqa: S101  the validators have seen to it
        return digest
