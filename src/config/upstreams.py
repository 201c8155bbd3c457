"""From what was written about upstreams to complete ones: shorthands, types, addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..utils.suggesting import did_you_mean
from .errors import Loc, Problem
from .explain import show
from .providers import guess_type, provider, provider_types
from .settings import UpstreamSettings
from .sources import ENV_PREFIX, SHORTHANDS, Source, flag

NO_UPSTREAM = "none given; pass --type openai or --base-url URL, or list upstreams in config.yaml"


def one_upstream(
    overrides: Mapping[str, object], env: Mapping[str, str], below: Sequence[Source]
) -> tuple[Source, list[Problem]]:
    """The upstream that `base_url`, `type` and `api_key` of flags or environment describe.

    With an address or a type it stands in place of all upstreams from `below`; a key alone goes
    to the one of them without a prefix, and to no other: it is that provider's key.
    """
    given = {key: found for key in SHORTHANDS if (found := _shorthand(key, overrides, env))}
    values = {key: value for key, (value, _) in given.items()}
    places = {key: place for key, (_, place) in given.items()}
    if not values:
        return Source({}, lambda _: ""), []
    if set(values) != {"api_key"}:
        place = places.get("base_url") or places["type"]
        return Source({"upstreams": [values]}, lambda loc: places.get(str(loc[-1]), place)), []
    source = next((source for source in below if "upstreams" in source.values), None)
    default = _default_index(source.values["upstreams"]) if source else None
    if source is None or default is None:
        text = "there is no upstream without a prefix to send it to; give --type or --base-url"
        return Source({}, lambda _: ""), [Problem(("upstreams",), text, places["api_key"])]
    return _with_key(source, default, values["api_key"], places["api_key"]), []


def _shorthand(
    key: str, overrides: Mapping[str, object], env: Mapping[str, str]
) -> tuple[object, str] | None:
    if overrides.get(key) is not None:
        return overrides[key], flag(key)
    name = ENV_PREFIX + key.upper()
    return (env[name], f"env {name}") if env.get(name) else None


def _default_index(upstreams: object) -> int | None:
    if not isinstance(upstreams, list):
        return None
    plain = [i for i, u in enumerate(upstreams) if isinstance(u, dict) and not u.get("prefix")]
    return plain[0] if plain else None


def _with_key(source: Source, index: int, key: object, place: str) -> Source:
    upstreams = source.values["upstreams"]
    if not isinstance(upstreams, list):
        return source
    changed = [{**item, "api_key": key} if i == index else item for i, item in enumerate(upstreams)]
    loc: Loc = ("upstreams", index, "api_key")
    return Source(
        {"upstreams": changed},
        lambda at: place if at == loc else source.place(at),
        source.opaque,
    )


def with_types(source: Source) -> None:
    """Gives every raw upstream that has an address and no type the type of that address."""
    upstreams = source.values.get("upstreams")
    for item in upstreams if isinstance(upstreams, list) else []:
        if isinstance(item, dict) and "type" not in item and isinstance(item.get("base_url"), str):
            item["type"] = guess_type(item["base_url"])


def with_addresses(upstreams: Sequence[UpstreamSettings]) -> tuple[UpstreamSettings, ...]:
    """Each upstream with its `base_url`, from its type where none was written."""
    known = provider_types()
    return tuple(
        (
            up.model_copy(update={"base_url": provider(up.type).default_base_url})
            if up.base_url is None and up.type in known
            else up
        )
        for up in upstreams
    )


def check_upstreams(upstreams: Sequence[UpstreamSettings]) -> Iterator[Problem]:
    """What is wrong with each of them (addresses filled in), and with all of them together."""
    if not upstreams:
        yield Problem(("upstreams",), NO_UPSTREAM)
    names: dict[str, int] = {}
    prefixes: dict[str, int] = {}
    for index, upstream in enumerate(upstreams):
        here = ("upstreams", index)
        if upstream.type not in provider_types():
            hint = did_you_mean(upstream.type, provider_types())
            yield Problem((*here, "type"), f"unknown provider {show(upstream.type)}; {hint}")
        elif upstream.base_url is None:
            text = f"is missing; {upstream.type} has no public address of its own: give one"
            yield Problem((*here, "base_url"), text)
        if names.setdefault(upstream.name, index) != index:
            text = f"is '{upstream.name}' twice; give each upstream a name of its own"
            yield Problem((*here, "name"), text)
        if prefixes.setdefault(upstream.prefix, index) != index:
            yield Problem((*here, "prefix"), _same_prefix(upstream.prefix))


def _same_prefix(prefix: str) -> str:
    if not prefix:
        return "is missing, and only one upstream can do without; write prefix: /name"
    return f"is '{prefix}' twice; give each upstream a prefix of its own"
