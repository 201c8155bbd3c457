"""Settings brought together: command line over environment over file over defaults.

    flags ─┐
    LLMTAP_… ─┼─ sources ── upstreams ── validate ── checks ── Loaded
    file ──┘   (raw trees)  (shorthands)  (types)   (what only the whole tells)

Every step adds to one list of problems and goes on with what is sound, so that all mistakes are
told at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from .checks import check
from .document import Document, read_document
from .errors import ConfigError, Loc, Problem, dotted
from .explain import explain
from .settings import Settings
from .sources import SHORTHANDS, Source, command_line, config_file, environment
from .tree import has, leaves, take_out
from .upstreams import one_upstream, with_types

DEFAULT_CONFIG = "config.yaml"


@dataclass(slots=True, frozen=True)
class Loaded:
    """`settings`, and `origins`: dotted key to `cli --port`, `env LLMTAP_PORT`, `config.yaml:3` or
    `default`. `opaque`: keys whose value came out of a variable. `config`: the file, if any."""

    settings: Settings
    origins: Mapping[str, str]
    opaque: frozenset[str]
    config: Path | None


def load_settings(
    overrides: Mapping[str, object],
    env: Mapping[str, str],
    path: Path | None = None,
    only: frozenset[str] | None = None,
) -> Loaded:
    """The effective settings. `overrides`: flags by setting name, None where not given.

    `path` is the config file; without it LLMTAP_CONFIG, then `./config.yaml` where it exists.
    `only`: for who needs no others than these, mistakes in others are passed over. Raises
    `ConfigError` with one line for every mistake. Binds and creates nothing.
    """
    document, file = _document(path, env)
    known = document.variables | {"LLMTAP_CONFIG", *(f"LLMTAP_{key.upper()}" for key in SHORTHANDS)}
    from_env, env_problems = environment(env, known)
    problems = [*env_problems, *document.problems]
    shorthand, more = one_upstream(overrides, env, [from_env, config_file(document)])
    sources = [command_line(overrides), shorthand, from_env, config_file(document)]
    for source in sources:
        with_types(source)
    unread = [*document.unread, *(problem.loc for problem in more)]
    if document.broken:
        unread.append(("upstreams",))  # it would have been there
    return _Reading(sources, [*problems, *more], unread).result(
        file, only if not document.broken else None
    )


def _document(path: Path | None, env: Mapping[str, str]) -> tuple[Document, Path | None]:
    named = str(path) if path is not None else env.get("LLMTAP_CONFIG", "")
    if not named and not Path(DEFAULT_CONFIG).exists():
        return Document("defaults"), None
    file = Path(named or DEFAULT_CONFIG)
    return read_document(file.expanduser(), named or DEFAULT_CONFIG, env), file


class _Reading:
    """One attempt at making settings out of sources, highest first."""

    def __init__(self, sources: list[Source], problems: list[Problem], unread: list[Loc]) -> None:
        self._sources = sources
        self._problems = problems
        self._pruned = unread

    def result(self, file: Path | None, only: frozenset[str] | None) -> Loaded:
        settings = self._validate()
        if settings is not None:
            settings, found = check(settings, self._place)
            self._add(found)
        if only is not None and settings is not None:
            others = Settings.model_fields.keys() - only
            self._problems = [p for p in self._problems if not p.loc or p.loc[0] not in others]
        if self._problems or settings is None:
            raise ConfigError(self._lines())
        origins = {dotted(loc): self._origin(loc) for loc in leaves(settings)}
        opaque = frozenset(dotted(loc) for loc in leaves(settings) if self._opaque(loc))
        return Loaded(settings, origins, opaque, file)

    def _validate(self) -> Settings | None:
        """Validated, after taking out what is wrong: later checks want something to look at."""
        for _ in range(4):
            try:
                return _read(self._sources)
            except ValidationError as error:
                for detail in error.errors(include_url=False):
                    loc = detail["loc"]
                    text = explain(detail, Settings, opaque=self._opaque(loc))
                    self._add([Problem(loc, text)])
                    self._prune(loc)
        return None

    def _add(self, problems: list[Problem]) -> None:
        """Leaves out what only follows from an earlier mistake at, in or around the same key."""
        for problem in problems:
            loc = problem.loc
            if not any(_follows(problem, p) for p in self._pruned):
                self._problems.append(replace(problem, place=problem.place or self._place(loc)))

    def _prune(self, loc: Loc) -> None:
        self._pruned.append(loc)
        taken = 0
        while loc and not taken:
            taken = sum(take_out(source.values, loc) for source in self._sources)
            loc = loc[:-1]

    def _source(self, loc: Loc) -> Source | None:
        """The highest source that has `loc`, or the nearest thing around it."""
        while loc:
            for source in self._sources:
                if has(source.values, loc):
                    return source
            loc = loc[:-1]
        return None

    def _place(self, loc: Loc) -> str:
        source = self._source(loc)
        return source.place(loc) if source else ""

    def _opaque(self, loc: Loc) -> bool:
        source = self._source(loc)
        return source is not None and source.opaque(loc)

    def _origin(self, loc: Loc) -> str:
        for source in self._sources:
            if has(source.values, loc):
                place = source.place(loc)
                return f"cli {place}" if place.startswith("--") else place
        return "default"

    def _lines(self) -> list[str]:
        ordered = sorted(self._problems, key=lambda problem: _order(problem.place or ""))
        return list(dict.fromkeys(_line(problem) for problem in ordered))


def _read(sources: list[Source]) -> Settings:
    """`Settings` out of `sources`, which pydantic-settings merges key by key, lists as a whole."""
    bound = type("Settings", (Settings,), {"sources": tuple(sources), "__module__": __name__})
    read = bound()
    return Settings.model_construct(**{name: getattr(read, name) for name in Settings.model_fields})


def _follows(problem: Problem, earlier: Loc) -> bool:
    """Whether a mistake at `earlier`, since taken out, is enough to explain `problem`."""
    loc = problem.loc
    if problem.text.startswith("is missing") and loc[:-1] == earlier[:-1]:
        return True  # perhaps the misspelt key was the one that is missed
    return loc[: len(earlier)] == earlier or earlier[: len(loc)] == loc


def _order(place: str) -> tuple[bool, bool, str, int]:
    label, _, line = place.partition(":")
    number = line.partition(":")[0]
    return (
        not place.startswith("-"),
        not place.startswith("env"),
        label,
        int(number) if number.isdigit() else 0,
    )


def _line(problem: Problem) -> str:
    """`config.yaml:12 timeouts.x: problem`; the flag or variable of a key says which it is."""
    place = problem.place or ""
    last = str(problem.loc[-1]).upper() if problem.loc else ""
    spelt = place.startswith("-") or (place.startswith("env ") and place.endswith(last))
    key = "" if spelt else dotted(problem.loc)
    return f"{' '.join(part for part in (place, key) if part)}: {problem.text}"
