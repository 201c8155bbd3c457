"""Every setting, its type, its default and what it is for.

Frozen, and an unknown key is an error. Constructing `Settings` reads nothing but its arguments;
`loading.load_settings` brings command line, environment and file together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FilePath, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .values import (
    AbsolutePath,
    BaseURL,
    ClientSecret,
    Count,
    DatabaseURL,
    Dollars,
    Glob,
    Grace,
    Headers,
    Host,
    KeyHash,
    Level,
    Limit,
    Name,
    Port,
    Prefix,
    ProxyURL,
    Seconds,
    Secret,
    Size,
    SizeOrNone,
)


class Section(BaseModel):
    """A group of settings: frozen, unknown keys refused, inputs never echoed by errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Timeouts(Section):
    """Seconds; none of them ends an answer that keeps coming, except `total_s`."""

    connect_s: Seconds = Field(default=5.0, description="connecting to the upstream, TLS included")
    headers_s: Seconds = Field(
        default=600.0, description="from the request sent to the answer's headers"
    )
    idle_s: Seconds = Field(default=300.0, description="silence between two pieces of an answer")
    total_s: Seconds | None = Field(
        default=None, description="the whole exchange; null is no limit"
    )
    pool_s: Seconds = Field(
        default=5.0, description="waiting for a free upstream connection, then 503"
    )
    client_write_s: Seconds = Field(
        default=60.0, description="a client that does not read its answer"
    )
    request_head_s: Seconds = Field(
        default=10.0, description="a client that is slow with its headers"
    )
    request_body_s: Seconds = Field(
        default=60.0, description="a client that stalls or drips in its upload"
    )
    keep_alive_s: Seconds = Field(
        default=75.0, description="an idle client connection is kept open"
    )


class Limits(Section):
    """Counts and sizes; what exceeds them is refused with 4xx or 503, never cut in silence."""

    connections: Limit = Field(default=4000, description="client connections at once")
    in_flight: Limit = Field(default=2000, description="requests being served at once, then 503")
    header_bytes: Size = Field(default=65536, description="a request's header block")
    header_count: Limit = Field(default=100, description="a request's header lines")
    url_bytes: Size = Field(default=16384, description="a request's path and query")
    body_bytes: Size = Field(default=67108864, description="a request's body, then 413")
    upstream_connections: Limit = Field(default=2000, description="connections to one upstream")
    upstream_idle: Count = Field(default=100, description="of those, kept open while idle")
    upstream_idle_s: Seconds = Field(default=15.0, description="seconds an idle one is reused")
    websocket_message_bytes: Size = Field(
        default=16777216, description="a WebSocket's message, over its fragments, then close 1009"
    )
    replay_bytes: SizeOrNone = Field(
        default=1048576, description="request body kept for a retry; above it, none"
    )


class Drain(Section):
    """Seconds given to what is running when the proxy is told to stop."""

    streams_s: Grace = Field(default=30.0, description="for answers to end")
    flush_s: Grace = Field(default=5.0, description="for traces to be written")


class Retries(Section):
    """How often a request is tried again."""

    connect: Count = Field(default=2, description="after a failed connect: nothing was sent")
    answers: Count = Field(
        default=0, description="after an answer of one of `statuses`; clients do so themselves"
    )
    statuses: tuple[Annotated[int, Field(ge=400, le=599)], ...] = Field(
        default=(429, 503, 529), description="which answers are asked for again"
    )
    total_s: Seconds = Field(default=60.0, description="no more of these tries after so long")


class Price(Section):
    """What a model costs, where the table that comes with the program is wrong or does not know.

    In US dollars per million tokens; a kind without a price costs as what it is part of: cached
    tokens as `input`, an hour's writing as `cache_write`, reasoning as `output`.
    """

    model: Glob = Field(description="the model's name, or with * a pattern; case does not matter")
    upstream: Glob = Field(default="*", description="only for upstreams of this name or pattern")
    input: Dollars = Field(description="tokens of the request")
    output: Dollars | None = Field(
        default=None, description="tokens of the answer; without it only embeddings are priced"
    )
    cache_read: Dollars | None = Field(default=None, description="input read from a cache")
    cache_write: Dollars | None = Field(default=None, description="input written to a cache")
    cache_write_1h: Dollars | None = Field(default=None, description="the same, for an hour")
    reasoning: Dollars | None = Field(default=None, description="output that was thinking")

    def as_texts(self) -> dict[str, str | None]:
        """For a process that does its own sums: what is not given is None."""
        found = self.model_dump()
        return {name: None if value is None else str(value) for name, value in found.items()}


class StoreSettings(Section):
    """The database of all traces, made from their files; absent: there is none."""

    database_url: DatabaseURL | None = Field(
        default=None,
        repr=False,
        description="postgresql://user:password@host/name; null: SQLite beside the traces",
    )


class Web(Section):
    """The query API, in a process of its own; absent: there is none. It needs a store."""

    host: Host = Field(default="127.0.0.1", description="address to listen on")
    port: Port = Field(default=3001, description="port to listen on; 0 takes a free one")
    admin_key: ClientSecret | None = Field(
        default=None, description="sees all; a key of auth sees its own requests"
    )
    admin_key_hash: KeyHash | None = Field(
        default=None, description="the same as sha256:…, as llmtap keys new prints it"
    )
    hosts: tuple[Host, ...] = Field(
        default=(), description="further names that browsers may call it by"
    )
    query_s: Seconds = Field(
        default=20.0, description="what the store has not answered by then is ended, with a 503"
    )

    @model_validator(mode="after")
    def _one_admin(self) -> Self:
        if self.admin_key is not None and self.admin_key_hash is not None:
            raise ValueError("has two admin keys; keep one of admin_key and admin_key_hash")
        return self

    @property
    def has_admin(self) -> bool:
        """Whether there is a key that sees all."""
        return self.admin_key is not None or self.admin_key_hash is not None


class UpstreamSettings(Section):
    """One API that requests go to. `base_url` is filled from the type's own when loaded."""

    name: Name = Field(
        default="", validate_default=False, description="in traces; default: the type"
    )
    type: Name = Field(default="generic", description="which provider's language it speaks")
    base_url: BaseURL | None = Field(
        default=None, description="where it is; default: the type's own"
    )
    prefix: Prefix = Field(
        default="", description="path it is served under; none: the default upstream"
    )
    api_key: Secret | None = Field(
        default=None, description="sent in place of the client's own key"
    )
    transport: Literal["http1", "httpx"] = Field(
        default="http1", description="httpx for HTTP/2 and outgoing proxies, http1 for speed"
    )
    http2: bool = Field(default=False, description="speak HTTP/2 where the upstream does")
    proxy: ProxyURL | None = Field(
        default=None, repr=False, description="an outgoing http or socks5 proxy"
    )
    ca_file: FilePath | None = Field(default=None, description="certificates to trust, PEM")
    headers: Headers = Field(default={}, repr=False, description="added to each request")

    @model_validator(mode="before")
    @classmethod
    def _imply(cls, data: object) -> object:
        """The name follows the type; HTTP/2 and proxies bring the transport that can do them."""
        if not isinstance(data, Mapping):
            return data
        implied = {"name": data.get("type", "generic")}
        if data.get("http2") or data.get("proxy"):
            implied["transport"] = "httpx"
        return {**implied, **data}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.transport == "http1" and (self.http2 or self.proxy):
            what = "http2" if self.http2 else "proxy"
            raise ValueError(f"transport http1 cannot do {what}; write transport: httpx")
        return self


@dataclass(slots=True, frozen=True)
class MiddlewareSpec:
    """One member of the chain, as written: its name or import path, raw options, and the place."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    where: str = ""


def _middleware(item: object) -> object:
    """`name`, `{name: {options}}` or `{use: "module:Class", **options}` as a `MiddlewareSpec`."""
    if isinstance(item, MiddlewareSpec):
        return item
    if isinstance(item, str) and item:
        return MiddlewareSpec(item)
    if not isinstance(item, Mapping) or not all(isinstance(key, str) for key in item):
        raise ValueError("is no middleware; write - name or - name: {option: value}")
    if isinstance(item.get("use"), str):
        return MiddlewareSpec(item["use"], {k: v for k, v in item.items() if k != "use"})
    if len(item) != 1:
        raise ValueError("needs one name; write - name: {option: value}")
    ((name, options),) = item.items()
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"has options that are no mapping; write - {name}: {{option: value}}")
    return MiddlewareSpec(name, options or {})


# In YAML `timeouts:` with every line below it commented out is a null.
_EMPTY_IS_DEFAULT = BeforeValidator(lambda value: {} if value is None else value)
_NO_LIST_IS_EMPTY = BeforeValidator(lambda value: () if value is None else value)
Middleware = Annotated[MiddlewareSpec, BeforeValidator(_middleware)]


class Settings(BaseSettings):
    """The effective settings of one proxy process."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, env_prefix="LLMTAP_"
    )

    host: Host = Field(default="127.0.0.1", description="address to listen on")
    port: Port = Field(default=3000, description="port to listen on; 0 takes a free one")
    allow_open: bool = Field(
        default=False, description="listen beyond this machine though nothing asks for a key"
    )
    log_level: Level = Field(default="info", description="debug, info, warning or error")
    workers: Limit = Field(default=1, description="processes; each serves the same port")
    reload: bool = Field(default=False, description="start again when code or config changes")
    quiet: bool = Field(default=False, description="no start lines, no line per request")
    trace_dir: AbsolutePath = Field(
        default=Path("traces"), validate_default=True, description="folder of the traces"
    )
    upstreams: tuple[UpstreamSettings, ...] = Field(
        default=(), description="the APIs to forward to"
    )
    timeouts: Annotated[Timeouts, _EMPTY_IS_DEFAULT] = Timeouts()
    limits: Annotated[Limits, _EMPTY_IS_DEFAULT] = Limits()
    drain: Annotated[Drain, _EMPTY_IS_DEFAULT] = Drain()
    retries: Annotated[Retries, _EMPTY_IS_DEFAULT] = Retries()
    store: StoreSettings | None = Field(
        default=None, description="a database of all traces: {} is SQLite beside them"
    )
    web: Web | None = Field(
        default=None, description="the query API: {} serves it on port 3001, and brings a store"
    )
    middlewares: tuple[Middleware, ...] = Field(
        default=(MiddlewareSpec("trace"),), description="the chain, first is outermost"
    )

    prices: Annotated[tuple[Price, ...], _NO_LIST_IS_EMPTY] = Field(
        default=(), max_length=500, description="own prices, before all others; first that fits"
    )

    def trace_folder(self) -> Path:
        """Where the traces go: the trace middleware's own folder, else `trace_dir`."""
        for spec in self.middlewares:
            if spec.name == "trace" and isinstance(spec.options.get("dir"), str | Path):
                return Path.cwd() / Path(str(spec.options["dir"])).expanduser()
        return self.trace_dir

    sources: ClassVar[tuple[PydanticBaseSettingsSource, ...]] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments alone, or the `sources` of a loading, which know their places."""
        return cls.sources or (init_settings,)
